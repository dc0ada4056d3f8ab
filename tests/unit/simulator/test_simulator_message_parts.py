"""Opening mail for the page: right for good mail, quiet for hostile mail."""

from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.message_parts import content_of_part, open_message, readable, safe_file_name


def a_message() -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Grüße"
    message.set_content("text part\n")
    message.add_alternative("<p>html part</p>", subtype="html")
    message.add_attachment(b"\x00\x01", maintype="image", subtype="png", filename="a b.png")
    message.add_attachment("not shown", filename="notes.txt")
    return message


def test_parts_are_found_in_order():
    opened = open_message(bytes(a_message()))
    assert [(part.content_type, part.file_name) for part in opened.parts] == [
        ("text/plain", None),
        ("text/html", None),
        ("image/png", "a b.png"),
        ("text/plain", "notes.txt"),
    ]
    assert [part.text and part.text.strip() for part in opened.parts] == ["text part", "<p>html part</p>", None, None]
    assert ("Subject", "Grüße") in opened.headers
    assert opened.problem is None


def test_a_part_is_taken_out_with_a_safe_name():
    raw = bytes(a_message())
    assert content_of_part(raw, 2) == ("a_b.png", b"\x00\x01")
    assert content_of_part(raw, 4) is None


def test_the_parts_of_an_attached_message_are_shown():
    outer = EmailMessage()
    outer.set_content("outer")
    outer.add_attachment(a_message())
    assert len(open_message(bytes(outer)).parts) == 5


@pytest.mark.parametrize(
    ("written", "safe"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\x.exe", "x.exe"),
        ('a"\r\nSet-Cookie: b=c.txt', "a_Set-Cookie_b_c.txt"),
        ("..", "part-3.bin"),
        (None, "part-3.bin"),
        ("é", "part-3.bin"),
        ("x" * 500 + ".pdf", "x" * 76 + ".pdf"),
    ],
)
def test_file_names_are_made_harmless(written, safe):
    assert safe_file_name(written, 3) == safe


NESTED = b"".join(
    b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (depth, depth) for depth in range(300)
)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe\x00",
        b"To: <\r\nMessage-ID: <[\r\nFrom: =?x?q?=?= <\r\n\r\n",
        b"Subject: =?utf-8?b?!!!?= =?nope?q?x?=\r\nTo: a@[\r\n\r\n",
        b"To: " + b"(" * 3000 + b"\r\n\r\n",
        b"Content-Type: text/plain; charset=\xff\xff\r\nContent-Transfer-Encoding: base64\r\n\r\n%%%",
        b"Content-Type: text/plain; charset=undefined\r\n\r\nx",
        b"Content-Type: text/plain; charset=zlib\r\n\r\nx",
        b"Content-Type: text/html; charset=utf-7\r\n\r\n+2AA-",
        b'Content-Type: text/x; name*0*=a; name*x=b; name="c\r\n\r\n',
        b"Content-Type: multipart/mixed\r\n\r\nx",
        b"Content-Disposition: attachment; filename*=utf-99''%ff\r\n\r\nx",
        NESTED,
        b"a:b\r\n" * 20_000,
    ],
)
def test_hostile_mail_degrades(raw):
    opened = open_message(raw)
    for part in opened.parts:
        (part.text or "").encode()
        content_of_part(raw, part.number)
    for name, value in opened.headers:
        f"{name}{value}".encode()


def test_a_message_too_large_to_open_says_so():
    assert open_message(b"x" * (10 * 1024 * 1024 + 1)).problem is not None


@given(st.binary(max_size=500))
def test_no_message_breaks_the_page(raw):
    for prefix in (b"", b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", b"Subject: =?utf-8?q?"):
        opened = open_message(prefix + raw)
        for part in opened.parts:
            (part.text or "").encode()
            (part.file_name or "").encode()


@given(st.text(max_size=200))
def test_no_header_breaks_the_page(written):
    readable(f"=?utf-8?q?{written}?=").encode()
