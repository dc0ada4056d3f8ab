import email
import random
import re
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import SES_MAX_RAW_BYTES
from worker.relay.long_lines import has_long_line, wrapped

LONG = b"a long line of text " * 100


def longest(content: bytes) -> int:
    return max(len(line.removesuffix(b"\r")) for line in content.split(b"\n"))


@given(st.lists(st.tuples(st.integers(990, 1003), st.sampled_from([b"\r\n", b"\n"])), max_size=6), st.integers(0, 1001))
def test_a_line_is_long_from_999_bytes_on(lines: list[tuple[int, bytes]], last: int):
    content = b"".join(b"x" * length + end for length, end in lines) + b"y" * last
    assert has_long_line(content) == (longest(content) > 998)


@given(st.lists(st.integers(0, 1100), max_size=12), st.sampled_from([b"\r\n", b"\n"]))
def test_short_and_long_lines_are_told_apart_anywhere(lengths: list[int], end: bytes):
    content = end.join(b"x" * length for length in lengths)
    assert has_long_line(content) == any(length > 998 for length in lengths)


def message(head: bytes, body: bytes) -> bytes:
    return b"From: a@example.com\r\nMIME-Version: 1.0\r\n" + head + b"\r\n" + body


def decoded(content: bytes) -> list[tuple[str, bytes]]:
    """Type and decoded payload of every leaf."""
    parts: list[Message] = [part for part in email.message_from_bytes(content).walk() if not part.is_multipart()]
    return [(part.get_content_type(), part.get_payload(decode=True)) for part in parts]


@pytest.mark.parametrize(
    ("header", "folded"),
    [
        (b"X: " + b"w" * 995, None),
        (b"X: " + b"w" * 996, b"X:\r\n " + b"w" * 996),
        (b"X: " + b"w" * 998, None),
        (b"X: a " + b"w" * 996, b"X: a\r\n " + b"w" * 996),
        (b"X: a\t  " + b"w" * 995, b"X: a\r\n\t  " + b"w" * 995),
        (b"X: a" + b" " * 1000, None),
        (b"X: " + b"w" * 990 + b"     \t ", b"X:\r\n " + b"w" * 990 + b"     \t "),
        (b"X: a\r\n " + b"b" * 600 + b" " + b"c" * 600, b"X: a\r\n " + b"b" * 600 + b"\r\n " + b"c" * 600),
        (b"X: a " + b"w" * 2000 + b" b " + b"c" * 996, b"X: a " + b"w" * 2000 + b"\r\n b\r\n " + b"c" * 996),
    ],
)
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_header_is_folded_at_blanks(header: bytes, folded: bytes | None, end: bytes):
    content = b"From: a@x\r\n" + header + b"\r\nTo: b@x\r\n\r\nbody\r\n"
    expected = content if folded is None else content.replace(header, folded)
    if folded is None:
        assert wrapped(content.replace(b"\r\n", end)) == content.replace(b"\r\n", end)
    assert wrapped(content.replace(b"\r\n", end)) == expected.replace(b"\r\n", end)


@given(st.lists(st.sampled_from([b" ", b"  \t", b"w" * 10, b"w" * 400, b"w" * 900, b"w" * 1100, b"\r\n ", b"\r\n"])))
def test_folding_adds_line_ends_before_blanks_and_nothing_else(pieces: list[bytes]):
    head = b"Subject: x" + b"".join(pieces)
    head = head[: match.start()] if (match := re.search(rb"\r\n\r\n", head)) else head
    content = head + b"\r\n\r\nbody\r\n"
    result = wrapped(content)
    position = 0
    for end in re.split(rb"(\r\n(?=[ \t]))", result):
        if content.startswith(end, position):
            position += len(end)
        else:
            assert end == b"\r\n"
    assert position == len(content)
    before, after = content.count(b"\r\n\r\n"), result.count(b"\r\n\r\n")
    assert before == after
    blank_lines = [line for line in result[: -len(b"\r\n\r\nbody\r\n")].split(b"\r\n") if not line.strip()]
    assert len(blank_lines) == len([line for line in head.split(b"\r\n") if not line.strip()])


@pytest.mark.parametrize(
    ("head", "body", "encoding"),
    [
        (b"", LONG, "quoted-printable"),
        (b"Content-Type: text/html; charset=utf-8\r\n", LONG + b"\r\n.\r\nFrom x  \r\n" + LONG, "quoted-printable"),
        (b"Content-Transfer-Encoding: 7bit\r\n", LONG + b"=3D \r\n", "quoted-printable"),
        (b"CONTENT-TRANSFER-ENCODING:\r\n 8BIT\r\n", LONG + "ä".encode() + b"\r\n", "quoted-printable"),
        (b"Content-Type: text/plain; charset=utf-8\r\n", "ж ".encode() * 800, "base64"),
        (b"Content-Type: text/plain; charset=utf-16\r\n", LONG.decode().encode("utf-16"), "base64"),
        (b"", LONG + b"\n" + LONG + b"\r\n", "base64"),
        (b"", LONG + b"\r" + LONG, "base64"),
        (b"Content-Type: application/json\r\n", LONG + b"\r\n", "base64"),
        (b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n", bytes(2000), "base64"),
    ],
)
def test_a_body_with_a_long_line_is_encoded(head: bytes, body: bytes, encoding: str):
    content = message(head, body)
    result = wrapped(content)
    assert longest(result) <= 76 + len("Content-Type: ") + 20
    parsed = email.message_from_bytes(result)
    assert parsed["Content-Transfer-Encoding"] == encoding
    assert parsed.get_all("Content-Transfer-Encoding") == [encoding]
    assert parsed.get_payload(decode=True) == body
    assert not re.search(rb"(?<!\r)\n", result)
    kept = [line for line in content.split(b"\r\n\r\n")[0].split(b"\r\n") if b"encoding" not in line.lower()]
    assert all(line in result for line in kept if b"8BIT" not in line)


def test_a_message_of_old_says_then_that_it_is_mime():
    result = wrapped(b"From: a@example.com\r\n\r\n" + LONG)
    assert result.startswith(
        b"From: a@example.com\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na long"
    )
    assert wrapped(b"\r\n" + LONG).startswith(
        b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na"
    )


def test_a_message_with_bare_line_feeds_keeps_them():
    content = b"From: a@example.com\nMIME-Version: 1.0\n\n" + LONG + b"\nend\n"
    result = wrapped(content)
    assert b"\r" not in result
    assert decoded(result) == decoded(content)


@pytest.mark.parametrize("encoding", [b"quoted-printable", b"base64"])
def test_what_is_encoded_already_is_wrapped_anew(encoding: bytes):
    body = {b"quoted-printable": LONG + b"=C3=A4 =3D=\r\n more\r\n", b"base64": b"YWJj" * 400 + b"\r\nYQ==\r\n"}[
        encoding
    ]
    content = message(b"Content-Transfer-Encoding: " + encoding + b"\r\n", body)
    result = wrapped(content)
    assert longest(result) <= 76
    assert decoded(result) == decoded(content)
    assert result.split(b"\r\n\r\n")[0] == content.split(b"\r\n\r\n")[0]


def multipart(*parts: bytes, kind: bytes = b"mixed", boundary: bytes = b"b1") -> bytes:
    inner = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return (
        b"Content-Type: multipart/" + kind + b'; boundary="' + boundary + b'"\r\n\r\n'
        b"preamble\r\n" + inner + b"--" + boundary + b"--\r\nepilogue\r\n"
    )


SHORT_PART = b"Content-Type: text/plain\r\nX-Short: 1\r\n\r\nshort = \xff\r\n"
LONG_PART = b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + LONG + b"\r\nend"
JSON_PART = b"Content-Type: application/json\r\n\r\n" + LONG


def test_only_the_parts_with_long_lines_are_encoded():
    content = b"MIME-Version: 1.0\r\n" + multipart(SHORT_PART, LONG_PART, SHORT_PART, JSON_PART)
    result = wrapped(content)
    assert longest(result) <= 998
    assert result.count(SHORT_PART) == 2
    assert result.endswith(b"\r\n--b1--\r\nepilogue\r\n")
    assert decoded(result) == decoded(content)
    assert b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" in result
    assert b"Content-Type: application/json\r\nContent-Transfer-Encoding: base64\r\n\r\n" in result
    assert result.startswith(content[: content.index(b"--b1")])


def test_parts_inside_parts_are_found():
    inner = multipart(SHORT_PART, LONG_PART, kind=b"alternative", boundary=b"b1x")
    content = b"MIME-Version: 1.0\r\n" + multipart(inner, LONG_PART)
    result = wrapped(content)
    assert longest(result) <= 998
    assert decoded(result) == decoded(content)


def test_the_headers_of_a_part_are_folded_too():
    part = b"Content-Type: text/plain\r\nX-Long: " + LONG + b"\r\n\r\nshort"
    result = wrapped(multipart(part))
    assert longest(result) <= 998
    assert result.replace(b"\r\n a", b" a").replace(b"\r\n l", b" l").replace(b"\r\n o", b" o").replace(
        b"\r\n t", b" t"
    ) == multipart(part)


def test_a_multipart_without_its_last_boundary_is_still_read():
    content = b"MIME-Version: 1.0\r\n" + multipart(LONG_PART).removesuffix(b"--b1--\r\nepilogue\r\n")
    result = wrapped(content)
    assert longest(result) <= 998
    assert decoded(result)[0][1].rstrip() == decoded(content)[0][1].rstrip()


@pytest.mark.parametrize(
    "content",
    [
        message(b"DKIM-Signature: v=1; bh=x\r\n", LONG),
        message(b"dkim-signature : v=1\r\nContent-Type: text/html\r\n", LONG),
        b"MIME-Version: 1.0\r\n" + multipart(LONG_PART, kind=b"signed"),
        b"MIME-Version: 1.0\r\n" + multipart(LONG_PART, kind=b"encrypted"),
        b"MIME-Version: 1.0\r\n" + multipart(multipart(LONG_PART, kind=b"signed", boundary=b"b2")),
        b"MIME-Version: 1.0\r\n" + multipart(b"Subject: x\r\n\r\n" + LONG, kind=b"digest"),
        message(b"Content-Type: message/rfc822\r\n", b"Subject: x\r\n\r\n" + LONG),
        message(b"Content-Type: multipart/mixed\r\n", LONG),
        message(b"Content-Type: multipart/mixed; boundary=b1\r\n", LONG),
        message(b"Content-Type: multipart/mixed; boundary=b1; boundary=b2\r\n", b"--b1\r\n\r\n" + LONG),
        message(b"Content-Type: text/plain; charset=x (comment)\r\n", LONG),
        message(b"Content-Type: text\r\n", LONG),
        message(b"Content-Type: text/plain\r\nContent-Type: text/html\r\n", LONG),
        message(b"Content-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: 7bit\r\n", LONG),
        message(b"Content-Transfer-Encoding: x-uuencode\r\n", LONG),
        message(b"Content-Transfer-Encoding: base64\r\n", LONG + b"!"),
        message(b"Content-Type: application/x\r\nContent-Transfer-Encoding: quoted-printable\r\n", LONG),
        multipart(LONG),  # a part without an empty line
        multipart(b"no header\r\n\r\n" + LONG),
        multipart(LONG_PART, SHORT_PART).replace(b"\n--b1\r\nContent-Type: text", b"\n--b1\rContent-Type: text"),
        multipart(LONG_PART, SHORT_PART).replace(b"\n--b1--\r\n", b"\n--b1--\r\r\n"),
        multipart(LONG_PART, SHORT_PART).replace(b"\r\n--b1\r\nContent-Type: text", b"\r--b1\r\nContent-Type: text"),
    ],
    ids=range(22),
)
def test_a_body_that_is_signed_or_not_understood_stays(content: bytes):
    assert wrapped(content) is content


def test_the_headers_of_a_signed_message_are_folded_all_the_same():
    content = message(b"DKIM-Signature: v=1\r\nX-Long: " + LONG + b"\r\n", LONG)
    result = wrapped(content)
    assert result.endswith(b"\r\n\r\n" + LONG)
    assert longest(result.split(b"\r\n\r\n")[0]) <= 998


def test_a_body_that_would_get_too_large_for_ses_stays():
    content = message(b"Content-Type: application/x\r\n", bytes(SES_MAX_RAW_BYTES - 100_000))
    assert wrapped(content) is content


def test_nesting_beyond_all_bounds_stays():
    content = LONG_PART
    for depth in range(300):
        content = multipart(content, boundary=b"b%d" % depth)
    assert wrapped(content) is content


@given(st.randoms(use_true_random=False), st.lists(st.sampled_from([SHORT_PART, LONG_PART, JSON_PART]), max_size=4))
def test_damaged_messages_are_never_a_crash(chance: random.Random, parts: list[bytes]):
    content = bytearray(multipart(*parts, multipart(*parts, kind=b"related", boundary=b"b2")))
    for _ in range(chance.randint(0, 8)):
        place = chance.randrange(len(content))
        content[place : place + chance.randint(0, 5)] = chance.randbytes(chance.randint(0, 3))
    result = wrapped(bytes(content))
    # A type that has run into the text behind it may be folded.
    kinds, as_it_was = ([kind.split() for kind, _ in decoded(one)] for one in (result, bytes(content)))
    assert kinds == as_it_was


TEXT = st.lists(
    st.one_of(
        st.sampled_from([LONG, b"\r\n", b"=", b".", b" \r\n", b"\t\r\n", b"From ", b"\r\n--b\r\n"]),
        st.binary(max_size=9),
    )
).map(b"".join)


@given(TEXT, st.sampled_from([b"7bit", b"8bit", b"binary", b""]), st.sampled_from([b"text/plain", b"image/x"]))
def test_decoded_a_body_is_what_it_was(body: bytes, encoding: bytes, kind: bytes):
    head = (
        b"Content-Type: " + kind + b"\r\n" + (b"Content-Transfer-Encoding: " + encoding + b"\r\n" if encoding else b"")
    )
    result = wrapped(message(head, body))
    assert email.message_from_bytes(result).get_payload(decode=True) == body
    assert (result == message(head, body)) == (not has_long_line(body))
    if has_long_line(body):
        assert longest(result) <= 998


@pytest.mark.parametrize(
    "content",
    [
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 200_000 + LONG,
        b"Content-Type: multipart/mixed; boundary=-\r\n\r\n" + b"-" * 2_000_000,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + b"x: " + b" y" * 500_000 + b"\r\n\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + b"a" * 1_000_000 + b"\r\n\r\n" + LONG,
        b"Content-Type: text/plain" + b"; a=b" * 15_000 + b"\r\n\r\n" + LONG,
        b"Content-Type: text/plain" + b';"\\' * 30_000 + b"\r\n\r\n" + LONG,
        b"X: " + b" \t" * 45_000 + b"y\r\n\r\n",
        b"X: " + b"y " * 45_000 + b"\r\n\r\n",
        b"\r\n" + b"\r" * 1_000_000,
        b"Content-Transfer-Encoding: base64\r\n\r\n" + b"A" * 1_000_000 + b"!",
    ],
    ids=range(10),
)
def test_hostile_messages_cost_linear_time(content: bytes, milliseconds):
    assert milliseconds(lambda: wrapped(content)) < 1500


def test_looking_for_long_lines_costs_next_to_nothing(milliseconds):
    content = (b"x" * 70 + b"\r\n") * 150_000
    assert milliseconds(lambda: has_long_line(content)) < 30
