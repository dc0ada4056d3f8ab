"""Form bodies of the v1 API."""

import base64
import contextlib
from pathlib import Path
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.checks import check
from simulator.query_wire import MAX_FIELDS, decode_message, parse_form, read_send_raw_email, refused
from simulator.refusals import INVALID, Refused

FIXTURES = Path(__file__).parents[2] / "contract" / "fixtures" / "ses"


def test_the_sample_request_of_2011_is_read_with_its_envelope_from_the_headers():
    call = read_send_raw_email(parse_form((FIXTURES / "send_raw_email_2011_form_body.txt").read_bytes()))
    assert call.raw.rstrip() == (FIXTURES / "send_raw_email_2011.eml").read_bytes().rstrip()
    envelope = check(call)
    assert (envelope.source, envelope.destinations) == ("example@amazon.com", ("example@amazon.com",))


@given(st.binary(max_size=3000))
def test_any_bytes_survive_the_form(raw):
    assert decode_message(quote_plus(base64.b64encode(raw)).encode()) == raw


@given(st.binary(max_size=3000))
def test_base64_with_line_breaks_survives_the_form(raw):
    assert decode_message(quote_plus(base64.encodebytes(raw)).encode()) == raw


@given(st.binary(max_size=3000))
def test_base64_that_was_not_escaped_at_all_is_understood(raw):
    assert decode_message(base64.b64encode(raw)) == raw


def test_lower_case_escapes_and_needless_escapes_are_understood():
    assert decode_message(b"%2b%2f%2f%2B") == base64.b64decode("+//+")
    assert decode_message(b"%61GVsbG8%3d") == b"hello"


def test_base64_that_is_none_is_refused():
    with pytest.raises(Refused):
        decode_message(b"abc*")


def test_members_are_ordered_by_number_not_by_text():
    body = urlencode({f"Destinations.member.{number}": f"r{number}@example.com" for number in range(12, 0, -1)})
    call = read_send_raw_email(parse_form(body.encode() + b"&RawMessage.Data="))
    assert call.destinations == tuple(f"r{number}@example.com" for number in range(1, 13))


def test_an_empty_list_is_no_list():
    call = read_send_raw_email(parse_form(b"Source=&Destinations=&RawMessage.Data="))
    assert (call.source, call.destinations, call.tags, call.raw) == (None, None, None, b"")


def test_tags_and_configuration_set_are_read():
    fields = {
        "Tags.member.2.Name": "b",
        "Tags.member.2.Value": "2",
        "Tags.member.1.Name": "a",
        "Tags.member.1.Value": "1",
    }
    call = read_send_raw_email(parse_form(urlencode(fields).encode() + b"&ConfigurationSetName=set-1&RawMessage.Data="))
    assert call.tags == (("a", "1"), ("b", "2"))
    assert call.configuration_set == "set-1"


@pytest.mark.parametrize("name", ["Destinations.member.x", "Tags.member.", "Destinations.member.99999999999999999"])
def test_a_member_without_a_number_is_refused(name):
    with pytest.raises(Refused):
        read_send_raw_email(parse_form(name.encode() + b"=a&RawMessage.Data="))


def test_a_body_of_ampersands_is_refused():
    with pytest.raises(Refused):
        parse_form(b"&" * MAX_FIELDS)


@given(st.binary(max_size=300))
def test_no_body_breaks_the_reader(body):
    with contextlib.suppress(Refused):
        read_send_raw_email(parse_form(body + b"&RawMessage.Data="))


@given(st.text(max_size=200))
def test_error_texts_are_well_formed_xml(text):
    from xml.etree import ElementTree as ET

    body = refused(Refused(INVALID, text, {"ConfigurationSetName": text})).body
    assert isinstance(body, bytes)
    assert ET.fromstring(body)[0][1].text == "InvalidParameterValue"
