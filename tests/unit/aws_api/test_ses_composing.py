"""Properties of composed mail: what goes in comes out, and never as something else."""

import encodings
import re
from email import message_from_bytes, policy
from email.header import decode_header

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aws_api.ses.addresses import Mailbox
from aws_api.ses.composing import composed
from aws_api.ses.header_writing import text_header
from aws_api.ses.refusals import SendRefused

HEADERS = {"From", "To", "Subject", "X-A", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"}
ASCII_CONTROLS = "".join(map(chr, [*range(0x20), 0x7F]))
TEXT = st.text(max_size=300)
CHARSETS = st.sampled_from(["UTF-8", "us-ascii", "ISO-8859-1", "Shift_JIS", "UTF-16", None])


def made(subject="x", name="", header="x", data="x", charset=None):
    text = {"Data": data} if charset is None else {"Data": data, "Charset": charset}
    addresses = {"From": [Mailbox(name, "ann@example.com")], "To": [Mailbox("", "bob@example.net")]}
    return composed(addresses, {"Subject": {"Data": subject}, "Body": {"Text": text}}, [("X-A", header)])


@settings(max_examples=300)
@given(TEXT, TEXT, TEXT, TEXT, CHARSETS)
def test_nothing_that_is_given_makes_a_header_of_its_own(subject, name, header, data, charset):
    try:
        content = made(subject, name, header, data, charset)
    except SendRefused:
        return
    head = content.partition(b"\r\n\r\n")[0]
    assert head.isascii()
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", head)
    names = [line.partition(b":")[0].decode() for line in head.split(b"\r\n") if line[:1] not in {b" ", b"\t"}]
    assert sorted(names) == sorted(HEADERS)


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=2000), CHARSETS)
def test_every_text_arrives(data, charset):
    parsed = message_from_bytes(made(data=data, charset=charset), policy=policy.SMTP)
    raw = parsed.get_payload(decode=True)
    assert isinstance(raw, bytes)
    if parsed["Content-Transfer-Encoding"] == "7bit":
        assert max(map(len, raw.split(b"\r\n"))) <= 998
    got = raw.decode(parsed.get_content_charset() or "")
    assert re.split(r"\r\n|\r|\n", got) == re.split(r"\r\n|\r|\n", data)


def test_a_sign_that_its_charset_writes_as_another_one_goes_as_utf_8():
    parsed = message_from_bytes(made(data="\u00a5100", charset="Shift_JIS"), policy=policy.SMTP)
    assert parsed.get_content_charset() == "utf-8"
    assert parsed.get_content().strip() == "\u00a5100"


@given(st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=500))
def test_every_subject_without_controls_arrives(subject):
    parsed = message_from_bytes(made(subject=subject), policy=policy.default)
    if "=?" not in subject and subject.isascii():
        assert " ".join(parsed["Subject"].split()) == " ".join(subject.split())
    assert all(len(line) <= 998 for line in made(subject=subject).split(b"\r\n"))


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters=ASCII_CONTROLS), min_size=1, max_size=300))
def test_every_sign_of_a_subject_and_of_a_name_is_read_again(text):
    """Those too at which Python's own header class ends a line: U+0085, U+2028, U+2029."""
    subject = f"\xe9\u2028{text}\u2029"
    head = made(subject=subject, name=subject).partition(b"\r\n\r\n")[0]
    assert read_again(head, b"Subject") == subject
    name, _, address = read_again(head, b"From").rpartition("<")
    assert (name[:-1], address) == (subject, "ann@example.com>")
    assert max(map(len, head.split(b"\r\n"))) <= 78


def read_again(head, name):
    """As RFC 2047 has it read: encoded words, blanks between two of them left out."""
    lines = re.sub(rb"\r\n ", b" ", head).decode("ascii").split("\r\n")
    [value] = [line.partition(": ")[2] for line in lines if line.startswith(f"{name.decode()}: ")]
    return "".join(
        one if isinstance(one, str) else one.decode(charset or "ascii") for one, charset in decode_header(value)
    )


@pytest.mark.parametrize("name", ["x" * 1500, "Ann Smith " * 150, '"' * 300, "x" * 70, "x" * 60])
def test_a_long_name_is_no_long_line(name):
    box = Mailbox(name.strip(), f"{'b' * 30}@example.net")
    head = composed({"Reply-To": [box, box]}, {"Subject": {"Data": "x"}}).partition(b"\r\n\r\n")[0]
    assert max(map(len, head.split(b"\r\n"))) <= 78
    assert len(message_from_bytes(head, policy=policy.default)["Reply-To"].addresses) == 2
    assert read_again(head, b"Reply-To").replace(" ,", ",") == ", ".join([f"{box.name} <{box.address}>"] * 2)


@pytest.mark.parametrize("subject", ["a" + " " * 2000 + "b", " " * 2000, "x" * 999])
def test_what_cannot_be_folded_is_encoded(subject):
    head = made(subject=subject).partition(b"\r\n\r\n")[0]
    assert max(map(len, head.split(b"\r\n"))) <= 78
    assert read_again(head, b"Subject") == subject


def test_names_are_quoted_and_encoded_as_they_need():
    for name, expected in {
        "Ann": b"From: Ann <ann@example.com>\r\n",
        'Doe, "Ann"': b'From: "Doe, \\"Ann\\"" <ann@example.com>\r\n',
        "Bj\u00f6rn": b"From: =?utf-8?b?QmrDtnJu?= <ann@example.com>\r\n",
    }.items():
        assert expected in made(name=name)


@pytest.mark.parametrize("charset", ["rot13", "hex", "zlib", "idna", "unicode_escape", "no-such", "", "x\r\ny", "\0"])
def test_what_is_no_charset_is_refused(charset):
    if charset == "":
        assert b"charset=us-ascii" in made(charset=charset)
        return
    with pytest.raises(SendRefused, match="Unsupported charset"):
        made(charset=charset)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("FileName", "a\r\nX: y"),
        ("ContentType", "text/plain\r\nX: y"),
        ("ContentType", "text"),
        ("ContentId", "a b"),
        ("ContentId", "a>\r\nX: y"),
        ("ContentDescription", "a\nb"),
    ],
)
def test_what_would_break_the_head_of_an_attachment_is_refused(member, value):
    attachment = {"RawContent": b"x", "FileName": "a.txt", member: value}
    with pytest.raises(SendRefused):
        composed({}, {"Subject": {"Data": ""}, "Attachments": [attachment]})


@pytest.mark.parametrize("raw", [b"\xff", b"a\0", b"a\rb", b"x" * 999])
def test_what_is_no_seven_bit_text_is_refused_as_such(raw):
    attachment = {"RawContent": raw, "FileName": "a", "ContentTransferEncoding": "SEVEN_BIT"}
    with pytest.raises(SendRefused, match="SEVEN_BIT"):
        composed({}, {"Subject": {"Data": ""}, "Attachments": [attachment]})


@given(st.binary(max_size=2000), st.sampled_from(["BASE64", "QUOTED_PRINTABLE"]))
def test_every_attachment_arrives(raw, encoding):
    attachment = {"RawContent": raw, "FileName": "a.bin", "ContentTransferEncoding": encoding}
    content = composed({}, {"Subject": {"Data": ""}, "Attachments": [attachment]})
    _, part = message_from_bytes(content, policy=policy.SMTP).iter_parts()
    assert part.get_payload(decode=True) == raw


@pytest.mark.parametrize("charset", ["nobody-knows-it", "x" * 1_000_000, "utf-8\r\nX: y", "idna", "base64", "rot13"])
def test_an_unknown_charset_is_refused_and_not_remembered(charset):
    remembered = len(encodings._cache)
    with pytest.raises(SendRefused, match="Unsupported charset"):
        composed({}, {"Subject": {"Data": "", "Charset": charset}, "Body": {"Text": {"Data": "x"}}})
    assert len(encodings._cache) == remembered


@pytest.mark.parametrize(
    "charset",
    ["UTF-8", "utf8", "us-ascii", "ISO-8859-1", "iso-8859-15", "windows-1252", "Shift_JIS", "gb2312", "koi8-r"],
)
def test_charsets_of_mail_are_known(charset):
    assert b"x" in composed({}, {"Subject": {"Data": ""}, "Body": {"Text": {"Data": "x", "Charset": charset}}})


@pytest.mark.parametrize("value", ["a=  \t", "x" * 70 + " \t" * 40, "\t" * 90 + " b", "x" * 75 + " \t \t y"])
def test_no_folded_line_is_blank(value):
    lines = text_header("X-Header-With-A-Name-That-Is-So-Long-That-Nothing-Fits-Beside-It-On-The-Line", value).split(
        "\r\n"
    )
    assert all(line.strip() for line in lines)
