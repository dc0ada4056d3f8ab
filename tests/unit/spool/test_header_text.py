"""Header values as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.header_text import decoded, text_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b" plain ", "plain"),
        ("ungefähr".encode(), "ungefähr"),
        (b"a\r\n b\n\tc", "a b c"),
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe_an?= alle", "Grüße an alle"),
        (b"=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
        (b"=?utf-8?b?R3LDvMOfZQ?=", "Grüße"),
        (b"=?utf-8?q?Gr=C3?=\r\n =?utf-8?q?=BC=C3=9Fe?=", "Grüße"),
        (b"=?utf-8?q?a?= =?iso-8859-1?q?=FC?=", "aü"),
        (b"=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c"),
        (b"x =?utf-8?q?a?= =?utf-8?q?b?= y", "x ab y"),
        (b"=?utf-8*de?q?hallo?=", "hallo"),
        (b"=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"),
        (b"=?windows-1252?q?=80?=", "€"),
        (b"=?x-nowhere?q?a=C3=BC?=", "aü"),
        (b"=?utf-8?x?a?=", "=?utf-8?x?a?="),
        (b"=?utf-8?q?a", "=?utf-8?q?a"),
        (b"=?utf-8?q?=ff=fe?=", "��"),
        (b"=?x?q?=?= <", "<"),
        (b"=?utf-8?b?!!!?=", ""),
        (b"a =? b ?=", "a =? b ?="),
        (b"\xff", "�"),
    ],
)
def test_a_value_is_decoded(value, text):
    assert text_of(value) == text


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "unicode_escape", "base64", "zlib", "undefined", "../x", "", "aliases"]
)
def test_what_is_no_charset_of_mail_is_read_as_utf_8(charset):
    assert decoded("aü\\".encode(), charset) == "aü\\"


def test_names_of_charsets_are_not_collected():
    import encodings

    before = len(encodings._cache)
    for number in range(100):
        decoded(b"x", f"nobody-knows-{number}")
    assert len(encodings._cache) == before


@given(st.text(max_size=200))
def test_what_the_standard_library_encodes_is_decoded(text):
    from email.header import Header

    line = " ".join("".join(one for one in text if one.isprintable()).split())
    value = Header(line, "utf-8").encode().encode()
    assert text_of(value) == line.strip() or "=?" in line


@given(st.binary(max_size=200))
def test_any_bytes_have_a_text(value):
    text_of(value).encode("utf-8")
    text_of(b"=?" + value + b"?=").encode("utf-8")
