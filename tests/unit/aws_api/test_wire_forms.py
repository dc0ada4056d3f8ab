import base64
from urllib.parse import quote, quote_plus, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_api.wire.forms import MOST_FIELDS, WrongForm, blob_of, members_of, text_of, tree_of

PADDING = b"A" * 5000


def test_a_form_becomes_a_tree_of_undecoded_values():
    assert tree_of(b"A=1&B.C=x%20y&B.D.member.2=b&B.D.member.1=a&E=&A=2&&=x") == {
        "A": b"1",
        "B": {"C": b"x%20y", "D": {"member": {"2": b"b", "1": b"a"}}},
        "E": b"",
    }


def test_members_come_in_the_order_of_their_numbers():
    tree = tree_of(b"&".join(b"L.member.%d=%d" % (number, number) for number in (10, 9, 1, 100)))
    assert members_of(tree["L"]) == [b"1", b"9", b"10", b"100"]


def test_an_empty_list_may_have_members_after_all():
    assert members_of(tree_of(b"L=&L.member.1=a")["L"]) == [b"a"]


@pytest.mark.parametrize("form", [b"&" * MOST_FIELDS, b".".join([b"a"] * 30) + b"=1", b"A=1&A.B=2", b"a" * 501])
def test_what_cannot_be_a_call_is_refused(form):
    with pytest.raises(WrongForm):
        tree_of(form)


@pytest.mark.parametrize("name", ["x", "-1", "1x", "\u0661", "1" * 10])
def test_members_have_numbers(name):
    with pytest.raises(WrongForm):
        members_of({"member": {"1": b"a", name: b"b"}})


@given(st.binary())
def test_large_values_are_decoded_as_small_ones_are(raw):
    value = raw + PADDING
    assert text_of(value) == unquote_to_bytes(value.replace(b"+", b" ")).decode("utf-8", "replace")


@given(st.lists(st.sampled_from([b"%", b"=", b"%4", b"%zz", b"%3D", b"%0A", b"\n", b"\r", b"_", b" ", b"%%"])))
def test_broken_escapes_stay_what_they_are(pieces):
    value = b"".join(pieces) + PADDING
    assert text_of(value) == unquote_to_bytes(value).decode("utf-8", "replace")


@given(st.text(), st.booleans())
def test_a_text_comes_through_a_form(text, is_large):
    text = text * (2000 if is_large else 1)
    assert text_of(quote_plus(text, errors="replace").encode()) == text.encode("utf-8", "replace").decode()


@given(st.binary(max_size=3000), st.sampled_from(["wrapped", "escaped", "bare", "plus"]), st.booleans())
def test_a_blob_comes_through_a_form_however_it_is_written(blob, form, is_large):
    blob = blob * (5 if is_large else 1)
    encoded = base64.encodebytes(blob) if form == "wrapped" else base64.b64encode(blob)
    match form:
        case "bare":
            written = encoded
        case "plus":
            written = quote(encoded, safe="+/").encode()
        case _:
            written = quote(encoded, safe="").encode()
    assert blob_of(written) == blob


@pytest.mark.parametrize("value", [b"eA=", b"%21", b"eA==eA==", b"e"])
def test_what_is_no_base64_is_refused(value):
    with pytest.raises(WrongForm):
        blob_of(value)
