"""What is read of a send: envelope, parameters, facts, and what settings of the relay let pass."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_api.ses.addresses import addresses_in, flaw_of, mailbox_of
from aws_api.ses.preparing import check_sender, prepared
from aws_api.ses.refusals import SendRefused
from aws_api.ses.send_request import SendRequest
from aws_api.ses.tags import MOST_TAGS, checked
from aws_api.wire.access_keys import AccessKey
from config.settings import Settings

HEAD = b"From: ann@example.com\r\nTo: bob@example.net\r\n"


def read(content: bytes, settings: Settings | None = None, key: AccessKey | None = None, **fields: object):
    request = SendRequest("v1", "SendRawEmail", content, **fields)  # type: ignore[arg-type]
    return prepared(request, settings or Settings(), key)


def told(content: bytes, settings: Settings | None = None, key: AccessKey | None = None) -> str:
    with pytest.raises(SendRefused) as caught:
        read(content, settings, key)
    return caught.value.reason


@pytest.mark.parametrize(
    ("content", "setting"),
    [
        (HEAD + b"Subject: a\r\nsubject: b\r\n\r\n", {"duplicate_headers": "first"}),
        (HEAD + b": nameless\r\n\r\n", {"empty_headers": "remove"}),
    ],
)
def test_what_the_relay_repairs_is_taken(content, setting):
    assert told(content)
    assert read(content, Settings(relay=setting)).envelope.recipients == ("bob@example.net",)


def test_a_message_in_a_loop_is_rejected():
    settings = Settings(smtp={"max_received_headers": 5})
    assert read(b"Received: x\r\n" * 5 + HEAD + b"\r\n", settings)
    assert "loop" in told(b"Received: x\r\n" * 6 + HEAD + b"\r\n", settings)


def test_the_limit_of_the_smtp_door_holds_here_too_with_the_line_ends_as_sent():
    settings = Settings(smtp={"max_message_bytes": 2000})
    assert read(HEAD + b"\r\n" + b"x" * (1998 - len(HEAD)), settings)
    assert told(HEAD + b"\r\n" + b"x" * 2000, settings).startswith("Message length is more than 2668 bytes long: '")
    assert "with CRLF" in told(HEAD + b"\r\n" + b"\n" * (1998 - len(HEAD)), settings)


def test_lines_that_are_no_fields_bind_keys_that_may_not_send_as_everybody():
    content = HEAD + b"no field\r\nFrom: x@other.example\r\n\r\n"
    assert read(content).envelope.sender == "ann@example.com"
    assert read(content, key=AccessKey("k", "all", ("*",)))
    assert told(content, key=AccessKey("k", "one", ("example.com",))).startswith("Line 3 of the header section")


@pytest.mark.parametrize(
    ("header", "is_allowed"),
    [
        (b"", True),
        (b"Sender: x@example.com\r\n", True),
        (b"Sender: x@example.org\r\n", False),
        (b"Return-Path: <>\r\n", True),
        (b"Return-Path: <x@example.org>\r\n", False),
        (b"Reply-To: x@example.org\r\n", True),
    ],
)
def test_everybody_who_sends_must_be_the_keys(header, is_allowed):
    key = AccessKey("k", "one", ("example.com",))
    ready = read(header + HEAD + b"\r\n", source="ann@EXAMPLE.com")
    if is_allowed:
        check_sender(ready, key, "us-east-1")
        return
    with pytest.raises(SendRefused, match="failed the check in region EU-WEST-1: ") as caught:
        check_sender(ready, key, "eu-west-1")
    assert caught.value.fault == "rejected"


@pytest.mark.parametrize(
    ("patterns", "is_allowed"),
    [
        (("*",), True),
        (("ann@example.com",), True),
        (("bob@example.com",), False),
        (("*.example.com",), False),
        (("com",), False),
        (("x.example", "EXAMPLE.com"), True),
        ((), False),
    ],
)
def test_patterns_are_those_of_smtp_users(patterns, is_allowed):
    ready = read(HEAD + b"\r\n")
    if is_allowed:
        check_sender(ready, AccessKey("k", "n", patterns), "r")
    else:
        with pytest.raises(SendRefused):
            check_sender(ready, AccessKey("k", "n", patterns), "r")


def test_more_tags_than_ses_takes_beside_ours_are_refused():
    tags = [(f"t{number}", "v") for number in range(MOST_TAGS + 1)]
    assert len(checked(tags[:-1])) == MOST_TAGS
    with pytest.raises(SendRefused, match="Message tag count exceeds 48"):
        checked(tags)
    assert checked([("a", "1"), ("a", "2")]) == (("a", "2"),)


@pytest.mark.parametrize(
    ("written", "name", "address"),
    [
        ("ann@example.com", "", "ann@example.com"),
        (" <ann@example.com> ", "", "ann@example.com"),
        ("Ann <ann@example.com>", "Ann", "ann@example.com"),
        ('"Doe, \\"A\\" Ann" <ann@example.com>', 'Doe, "A" Ann', "ann@example.com"),
        ("=?utf-8?q?Bj=C3=B6rn?= <b@example.com>", "Bj\u00f6rn", "b@example.com"),
        ('"a b"@example.com', "", '"a b"@example.com'),
        ("x@\u00fcber.example", "", "x@xn--ber-goa.example"),
    ],
)
def test_an_address_is_read_with_its_name(written, name, address):
    box = mailbox_of(written)
    assert (box.name, box.address) == (name, address)


@pytest.mark.parametrize(
    "written", ["", " ", "a@b, c@d", "a@b c@d", "x" * 3000, "a@b\r\nBcc: c@d", "<a@b", "a@b>", "a@b\0"]
)
def test_what_is_no_address_is_refused(written):
    if written == "<a@b":
        assert mailbox_of(written).address == "a@b"
        return
    with pytest.raises(SendRefused):
        mailbox_of(written)


@given(st.text(max_size=100))
def test_reading_addresses_ends_for_any_text(text):
    for read_text in (lambda: addresses_in(text), lambda: (mailbox_of(text).address,)):
        with contextlib.suppress(SendRefused):
            assert all(not flaw_of(address) and address.isascii() for address in read_text())


@given(st.binary(max_size=300))
def test_any_bytes_are_taken_or_refused(content):
    with contextlib.suppress(SendRefused):
        ready = read(content, source="a@example.com", destinations=("b@example.net",))
        assert ready.content.replace(b"\r\n", b"\n") == content.replace(b"\r\n", b"\n")


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"From: ceo@bank.example:;", "Missing final '@domain'"),
        (b"From: (ceo@bank.example)", "Missing final '@domain'"),
        (b"From: a@tenant.example\r\nSender: ceo@bank.example:;", "Missing final '@domain'"),
        (b"From: <>", "Missing required header 'From'."),
        (b"From: ", "Missing required header 'From'."),
        (b"X-A: b", "Missing required header 'From'."),
        (b"From: ceo@bank.example\0 <a@tenant.example>", "The header section has a NUL character."),
        (b"From: a@tenant.example\r\nSubject: \0", "The header section has a NUL character."),
    ],
)
def test_a_message_names_who_it_is_from_in_a_way_that_can_be_checked(head, reason):
    content = head + b"\r\nTo: b@example.net\r\n\r\nx\r\n"
    with pytest.raises(SendRefused) as caught:
        read(content, source="a@tenant.example")
    assert caught.value.reason == reason


def test_a_message_without_headers_is_from_the_calls_sender():
    for content in (b"", b"\r\ntext\r\n"):
        assert read(content, source="a@tenant.example", destinations=("b@example.net",)).envelope.sender
    ready = read(HEAD + b"Return-Path: <>\r\n\r\n")
    assert ready.envelope.sender == "ann@example.com"
