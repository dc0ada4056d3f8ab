"""What SES refuses, with its own texts."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.addresses import bare_address, flaw_of
from simulator.checks import ONCE_ONLY, Envelope, check
from simulator.header_section import MAX_HEADER_BYTES
from simulator.refusals import INVALID, Refused
from simulator.send_call import V1_MAX_ENCODED_BYTES, SendCall

FIXTURES = Path(__file__).parents[2] / "contract" / "fixtures" / "ses"
RAW = b"From: Ann <ann@example.com>\r\nTo: bob@example.com\r\nSubject: hi\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n"


def checked(raw: bytes = RAW, source=None, destinations=None, configuration_set=None, tags=None) -> Envelope:
    return check(SendCall(raw, source, destinations, configuration_set, tags, V1_MAX_ENCODED_BYTES))


def text_of(*args, **kwargs) -> str:
    with pytest.raises(Refused) as caught:
        checked(*args, **kwargs)
    assert caught.value.refusal is INVALID
    return caught.value.text


def test_headers_are_the_envelope_when_none_is_given():
    raw = b"From: a@x.org\nTo: Friends: b@x.org, C <c@x.org>;\nCc:\n d@x.org\nBcc: e@x.org\n\n"
    envelope = checked(raw)
    assert (envelope.source, envelope.destinations) == ("a@x.org", ("b@x.org", "c@x.org", "d@x.org", "e@x.org"))


def test_the_given_envelope_wins_over_the_headers():
    envelope = checked(source="Other <other@example.com>", destinations=("z@example.com",))
    assert (envelope.source, envelope.destinations) == ("other@example.com", ("z@example.com",))


def test_an_empty_message_with_an_envelope_is_accepted():
    assert checked(b"", "a@example.com", ("b@example.com",)).subject is None


def test_what_is_missing_is_named():
    assert text_of(b"", None, ("b@example.com",)) == "Missing required header 'From'."
    assert text_of(b"", "a@example.com") == "Missing required header 'To'."
    assert text_of(b"From:\r\n\r\n", None, ("b@example.com",)) == "Missing required header 'From'."


def test_fifty_recipients_pass_and_fifty_one_do_not():
    fifty = tuple(f"r{number}@example.com" for number in range(50))
    assert len(checked(destinations=fifty).destinations) == 50
    assert text_of(destinations=(*fifty, "one@example.com")) == "Recipient count exceeds 50."
    headers = b"From: a@example.com\r\nTo: " + b", ".join(b"r%d@example.com" % number for number in range(51))
    assert text_of(headers + b"\r\n\r\n") == "Recipient count exceeds 50."


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("bob", "Missing final '@domain'"),
        ("bob@", "Missing final '@domain'"),
        ("", "Missing final '@domain'"),
        ("<>", "Missing final '@domain'"),
        ("@example.com", "Missing local name"),
        ("bo b@example.com", "Local address contains control or whitespace"),
        ("dån@example.com", "Local address contains control or whitespace"),
        ("bob@exämple.com", "Domain contains control or whitespace"),
        ("bob@exa mple.com", "Domain contains control or whitespace"),
        ("bob\r\nRCPT@example.com", "Local address contains control or whitespace"),
        ("a@b@example.com", "Local address contains illegal character"),
        ("bob@exa!mple.com", "Domain contains illegal character"),
        (".bob@example.com", "Local address starts with dot"),
        ("bob@.example.com", "Domain starts with dot"),
        ("bob@example..com", "Domain contains dot-dot"),
    ],
)
def test_one_malformed_address_refuses_the_call(address, text):
    assert text_of(destinations=("good@example.com", address)) == text


@pytest.mark.parametrize("address", ["a+b@example.com", '"a b"@example.com', "o'hara@x", "a@[192.0.2.1]", "a_@x_y.org"])
def test_unusual_addresses_are_good(address):
    assert bare_address(address) == address


@given(st.text(max_size=60))
def test_no_address_breaks_the_check(address):
    assert isinstance(flaw_of(address), str | None)


def test_the_size_is_measured_on_the_base64():
    largest = RAW + b"x" * (V1_MAX_ENCODED_BYTES // 4 * 3 - len(RAW))
    checked(largest)
    assert text_of(largest + b"x") == "Message length is more than 10485760 bytes long: '10485764'."


def test_the_tag_texts_are_those_of_the_real_service():
    table = {row["message"] for row in json.loads((FIXTURES / "error_table.json").read_bytes())}
    wrong = {
        (("", "v"),): "The tag name must be specified.",
        (("n", ""),): "The tag value must be specified.",
        (("n" * 256, "v"),): "Tag name cannot exceed 255 characters.",
        (("n", "v" * 256),): "Tag value cannot exceed 255 characters.",
        (("NA ME", "v"),): "Invalid tag name <NA ME>: only alphanumeric ASCII characters, '_',  '-' are allowed.",
        (("n", "VA=LUE"),): (
            "Invalid tag value <VA=LUE>: only alphanumeric ASCII characters, '_',  '-' , '.', '@' are allowed."
        ),
    }
    for tags, text in wrong.items():
        assert text_of(tags=tags) == text
        assert text.replace("NA ME", "NAME").replace("VA=LUE", "VALUE") in table


def test_tags_and_set_of_the_headers_count_only_when_the_call_has_none():
    raw = b"X-SES-MESSAGE-TAGS: a=1, b=2\r\nX-SES-CONFIGURATION-SET: mine\r\n" + RAW
    assert checked(raw).tags == (("a", "1"), ("b", "2"))
    assert checked(raw).configuration_set == "mine"
    assert checked(raw, tags=(("c", "3"),), configuration_set="other").tags == (("c", "3"),)
    assert checked(raw, configuration_set="other").configuration_set == "other"


def test_a_repeated_once_only_header_is_refused_by_its_written_name():
    assert text_of(RAW.replace(b"Subject: hi", b"List-Unsubscribe: <a>\r\nlist-unsubscribe: <b>")) == (
        "Duplicate header 'List-Unsubscribe'."
    )
    checked(b"Received: a\r\nReceived: b\r\n" + RAW)


def test_the_once_only_headers_are_those_of_the_documentation():
    assert {name.lower() for name in json.loads((FIXTURES / "once_only_headers.json").read_bytes())} == ONCE_ONLY


def test_header_sections_that_start_badly_or_never_end_are_refused():
    assert text_of(b": x\r\n" + RAW) == "Empty header names are illegal."
    assert text_of(b"X: " + b"y" * MAX_HEADER_BYTES + b"\r\n" + RAW) == "Header section too long."


@pytest.mark.parametrize("header", [b"To: <", b"From: =?x?q?=?= <", b"To: a@[", b"To: " + b"(" * 3000, b"To: \x00\xff"])
def test_hostile_headers_are_refused_not_an_error(header):
    with pytest.raises(Refused):
        checked(header + b"\r\n\r\n", "a@example.com" if header[:1] == b"T" else None)


@given(st.binary(max_size=400))
def test_no_message_breaks_the_check(raw):
    try:
        checked(raw)
        checked(b"From: a@example.com\r\nTo: " + raw)
    except Refused:
        pass
