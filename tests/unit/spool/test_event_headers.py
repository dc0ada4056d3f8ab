"""The beginning of a content, and the sender's headers in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.event_headers import HEAD_BYTES, MAX_HEADERS_BYTES, head_of, sent_headers

OURS = b"Received: from x\r\n\tby y\r\n\tid 0000-a; now\r\n"


def shown(content: bytes) -> tuple[bytes, bool]:
    return sent_headers(head_of(content), "0000-a")


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (OURS + b"Subject: s\r\n\r\nbody", b"Subject: s\r\n"),
        (OURS + b"Received: theirs id 0000-a\r\n\r\n", b"Received: theirs id 0000-a\r\n"),
        (
            b"Received: theirs\r\n\tid 0000-b; x\r\nSubject: s\r\n\r\n",
            b"Received: theirs\r\n\tid 0000-b; x\r\nSubject: s\r\n",
        ),
        (b"Subject: s\r\n\r\nReceived: body", b"Subject: s\r\n"),
        (OURS + b"\r\nbody", b""),
        (b"\r\nbody\r\n\r\n", b""),
        (b"", b""),
    ],
)
def test_our_own_line_and_the_body_are_no_headers_of_the_sender(content: bytes, headers: bytes):
    assert shown(content) == (headers, False)


@pytest.mark.parametrize("more", [0, 1])
def test_ten_kilobytes_are_shown_and_not_one_more(more: int):
    first = b"X: x\r\n"
    second = b"Y: " + b"y" * (MAX_HEADERS_BYTES - len(first) - 5 + more) + b"\r\n"
    assert shown(OURS + first + second + b"\r\nbody") == ((first, True) if more else (first + second, False))


def test_one_endless_field_is_no_header_that_can_be_shown():
    assert shown(b"X: " + b"y" * 50_000) == (b"", True)


@given(
    st.lists(st.sampled_from([b"X: 1\r\n", b" f\r\n", b"\r\n", b"y" * 900, OURS, b"\n", b"\r"]), max_size=60).map(
        b"".join
    )
)
def test_no_content_raises_and_nothing_is_longer_than_ten_kilobytes(content: bytes):
    assert len(head_of(content)) <= HEAD_BYTES
    headers, is_truncated = shown(content)
    assert len(headers) <= MAX_HEADERS_BYTES
    assert headers in content
    assert not is_truncated or len(head_of(content)) > MAX_HEADERS_BYTES - 1
