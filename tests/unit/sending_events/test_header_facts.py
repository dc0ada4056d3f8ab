"""What events tell of a header section."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sending_events.header_facts import facts_of


def fields_of(section: bytes) -> list[tuple[str, str]]:
    facts = facts_of(section, is_truncated=False)
    return [(one["name"], one["value"]) for one in orjson.loads(orjson.dumps(facts.fields))]


def common_of(section: bytes) -> dict:
    return facts_of(section, is_truncated=False).common


def test_headers_are_told_in_order_as_they_are_written():
    section = b"Subject: =?utf-8?q?caf=C3=A9?=\r\nX-Empty:\r\nsubject: again \r\nReceived: a\r\n"
    assert fields_of(section) == [
        ("Subject", "=?utf-8?q?caf=C3=A9?="),
        ("X-Empty", ""),
        ("subject", "again"),
        ("Received", "a"),
    ]


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_folded_value_is_told_without_its_line_ends(end):
    section = (
        b"Content-Type: multipart/mixed; " + end + b'\tboundary="x"' + end + b" ; y" + end + b"To: a@b.example" + end
    )
    assert fields_of(section) == [
        ("Content-Type", 'multipart/mixed; \tboundary="x" ; y'),
        ("To", "a@b.example"),
    ]


def test_what_is_no_header_is_left_out_with_what_belongs_to_it():
    section = (
        b" begins folded\r\nno colon\r\n and its rest\r\nodd name : x\r\n more\r\nX!#: y\r\n\r\nBody: no header\r\n"
    )
    assert fields_of(section) == [("X!#", "y")]


def test_bcc_is_told_nowhere():
    section = b"To: a@b.example\r\nBcc: secret@b.example\r\nResent-Bcc: secret@b.example\r\n"
    facts = facts_of(section, is_truncated=False)
    assert b"secret" not in orjson.dumps([facts.fields, facts.common])


def test_common_headers_are_as_people_read_them():
    section = (
        b'From: "John \\"J\\" Doe" <john@Example.com>\r\n'
        b"To: Jane Doe <jane@example.com>, mary@example.com,\r\n =?utf-8?q?Caf=C3=A9?= <cafe@example.com>\r\n"
        b'Cc: "Doe, Richard" <richard@example.com>\r\n'
        b"Reply-To: answers@example.com\r\n"
        b"Subject: =?utf-8?b?w6k=?=\r\n"
        b"Date: Wed, 27 Jan 2016 14:05:45 +0000\r\n"
    )
    assert common_of(section) == {
        "from": ['John "J" Doe <john@Example.com>'],
        "to": ["Jane Doe <jane@example.com>", "mary@example.com", "Café <cafe@example.com>"],
        "cc": ["Doe, Richard <richard@example.com>"],
        "replyTo": ["answers@example.com"],
        "subject": "é",
        "date": "Wed, 27 Jan 2016 14:05:45 +0000",
    }
    assert facts_of(section, is_truncated=False).from_domain == "example.com"


def test_only_headers_that_are_there_are_told_and_the_first_of_a_name_counts():
    assert common_of(b"Subject: one\r\nSubject: two\r\n") == {"subject": "one"}
    assert facts_of(b"Subject: one\r\n", is_truncated=True).is_truncated
    assert facts_of(b"", is_truncated=False).from_domain == ""


@given(st.binary(max_size=300))
def test_any_bytes_have_an_answer_that_is_json(section):
    facts = facts_of(b"From: x@y.example\r\nTo: " + section, is_truncated=False)
    assert isinstance(orjson.loads(orjson.dumps([facts.fields, facts.common])), list)


def test_hostile_sections_cost_linear_time(milliseconds):
    for piece in (b"a:\r\n ", b": ", b'"', b"<", b"(", b"=?x?q?", b"To: a@b, ", b" ", b"\r\n", b"\\"):
        section = b"To: " + piece * (10_000 // len(piece))
        assert milliseconds(lambda section=section: facts_of(section, is_truncated=True)) < 200
