"""What the gateway reads in a header section, and the line it puts on top."""

import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_gateway import headers
from smtp_gateway.headers import HeaderFacts, protocol_name, received_line

LIMIT = 1024


def header_facts(content: bytes, start: int = 0) -> HeaderFacts:
    return headers.header_facts(content, start, max_bytes=LIMIT)


def test_the_three_facts_are_found():
    content = (
        b"Received: one\r\nRECEIVED : two\r\n\tfolded\r\nX-Received: no\r\nmessage-id: <a.b@c>\r\n"
        b"Auto-Submitted: auto-replied (vacation)\r\n\r\nReceived: body\r\n"
    )
    assert header_facts(content) == HeaderFacts(2, "a.b@c", is_auto_submitted=True, end=content.index(b"\r\n\r\n"))


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (b"Message-ID: <x@y>", "x@y"),
        (b"Message-ID:\r\n <x@y>", "x@y"),
        (b"Message-ID: x@y", "x@y"),
        (b"Message-ID: <first@y>\r\nMessage-ID: <second@y>", "first@y"),
        (b"Message-ID: <" + b"x" * 250 + b">", "x" * 250),
        (b"Message-ID: <" + b"x" * 251 + b">", ""),
        (b"Message-ID: <[", "["),
        (b"Message-ID: <a b@c>", ""),
        (b"Message-ID: <\xff@c>", ""),
        (b"Message-ID:", ""),
        (b"Message-ID", ""),
    ],
)
def test_only_a_sane_message_id_is_known(header: bytes, known: str):
    assert header_facts(header + b"\r\n\r\n").header_message_id == known


@pytest.mark.parametrize(
    ("value", "is_auto"), [(b"no", False), (b" NO ; x=y", False), (b"auto-generated", True), (b"", False)]
)
def test_auto_submitted_is_understood(value: bytes, is_auto):
    assert header_facts(b"Auto-Submitted:" + value + b"\r\n\r\n").is_auto_submitted is is_auto


@given(st.binary(max_size=300))
def test_no_content_raises(content: bytes):
    header_facts(content)
    header_facts(b"Message-ID: " + content)


def test_the_look_is_bounded():
    content = b"X: " + b"y" * LIMIT + b"\r\nReceived: far away\r\n\r\n"
    assert header_facts(content) == HeaderFacts(0, "", is_auto_submitted=False, end=LIMIT, is_too_long=True)


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\nbody\r\n" * LIMIT])
@pytest.mark.parametrize("start", [0, 100])
def test_a_header_section_over_the_limit_is_too_long_and_no_other(end: bytes, start: int):
    for too_many in (0, 1):
        section = b"X: " + b"y" * 500 + b"\r\n\tfolded: " + b"z" * (LIMIT - 516 + too_many) + b"\r\n"
        assert len(section) == LIMIT + too_many
        assert header_facts(b"T" * start + section + end, start).is_too_long is bool(too_many)


@pytest.mark.parametrize("first", [b"\r\n", b"no field\r\n", b"Subject: s\r\nno field\r\n", b"Subject: s\r\n\r\n"])
def test_a_body_is_no_header_section(first: bytes):
    assert not header_facts(first + b"Received: in the body\r\n" * LIMIT).is_too_long


def test_a_message_without_a_header_section_has_no_facts():
    assert header_facts(b"\r\nReceived: in the body\r\n\r\n").received_lines == 0


def line(**changes: object) -> bytes:
    values = {
        "client_name": "client.example",
        "client_address": "192.0.2.1",
        "hostname": "mx.test",
        "protocol": "ESMTPSA",
        "message_id": "0000-id",
        "now": 1_700_000_000.9,
    }
    return received_line(**{**values, **changes})


def test_the_received_line_is_as_rfc_5321_has_it():
    assert line() == (
        b"Received: from client.example ([192.0.2.1])\r\n\tby mx.test with ESMTPSA\r\n"
        b"\tid 0000-id; Tue, 14 Nov 2023 22:13:20 +0000"
    )
    assert b"([IPv6:2001:db8::1])" in line(client_address="2001:db8::1")


@given(st.text(max_size=300))
def test_no_client_name_breaks_the_header(name: str):
    parsed = email.message_from_bytes(line(client_name=name) + b"\r\nSubject: s\r\n\r\n", policy=email.policy.compat32)
    assert parsed.keys() == ["Received", "Subject"]
    assert line(client_name=name).isascii()


def test_the_protocol_names_are_those_of_the_registry():
    def named(*, extended=True, utf8=False, tls=False, auth=False) -> str:
        return protocol_name(is_extended=extended, is_smtputf8=utf8, has_tls=tls, is_authenticated=auth)

    assert named(extended=False) == "SMTP"
    assert named() == "ESMTP"
    assert named(tls=True) == "ESMTPS"
    assert named(auth=True) == "ESMTPA"
    assert named(tls=True, auth=True) == "ESMTPSA"
    assert named(utf8=True, tls=True, auth=True) == "UTF8SMTPSA"
