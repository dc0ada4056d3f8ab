from email import message_from_bytes
from email.policy import default

from hypothesis import given
from hypothesis import strategies as st

from worker.relay.added_headers import header_lines


def test_plain_headers_stand_in_their_order():
    assert header_lines([("X-Team", "a b"), ("X-Spam-Flag", "YES")]) == b"X-Team: a b\r\nX-Spam-Flag: YES\r\n"
    assert header_lines([]) == b""


def test_letters_that_are_not_ascii_become_encoded_words():
    line = header_lines([("X-Team", "Grüße")])
    assert line == b"X-Team: =?utf-8?b?R3LDvMOfZQ==?=\r\n"


def test_a_value_cannot_end_its_header():
    assert header_lines([("X-Team", "a\r\nBcc: x@example.com\n\nbody")]) == b"X-Team: a Bcc: x@example.com body\r\n"


@given(st.text(max_size=3000))
def test_every_line_is_ascii_short_and_one_header(value):
    raw = header_lines([("X-Team", value)])
    assert raw.isascii()
    lines = raw.removesuffix(b"\r\n").split(b"\r\n")
    assert all(len(line) <= 998 for line in lines)
    assert all(line.startswith((b" ", b"\t")) for line in lines[1:])
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert b"\r" not in raw.replace(b"\r\n", b"")


@given(st.text(st.characters(min_codepoint=33, max_codepoint=0x2FFF, exclude_categories=("Cs", "Cc")), max_size=500))
def test_mail_programs_read_the_value_as_it_was_written(value):
    read = message_from_bytes(header_lines([("X-Team", value)]) + b"\r\n", policy=default)
    assert "".join(str(read["X-Team"]).split()) == "".join(value.split())
