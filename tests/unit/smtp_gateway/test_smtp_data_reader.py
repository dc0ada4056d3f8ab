"""The reader of a message: wherever the chunks are cut, the result is that of a simple reference."""

import gc
import itertools
import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_gateway.data_reader import DataReader
from smtp_gateway.replies import Reply

BEHIND = b"QUIT\r\n"


def read(wire: bytes, cuts: tuple[int, ...] = (), *, limit: int = 10_000, line: int = 1000):
    """(fault, content, what is behind the final dot) when the bytes come cut at these places."""
    reader = DataReader(max_message_bytes=limit, max_line_bytes=line, received_line=b"R")
    places = [0, *sorted(cut for cut in set(cuts) if 0 < cut < len(wire)), len(wire)]
    chunks = [wire[start:end] for start, end in itertools.pairwise(places)]
    for index, chunk in enumerate(chunks):
        rest = reader.feed(chunk)
        if rest is not None:
            return reader.fault, reader.content(), rest + b"".join(chunks[index + 1 :])
    raise AssertionError("the end was not found")


def stuffed(content: bytes) -> bytes:
    return re.sub(rb"(?m)^\.", b"..", content) + b".\r\n"


lines = st.lists(st.binary(max_size=12).map(lambda raw: re.sub(rb"[\r\n]", b".", raw)), max_size=8)
contents = lines.map(lambda some: b"".join(line + b"\r\n" for line in some))
cuts = st.lists(st.integers(0, 120), max_size=12).map(tuple)


@given(contents, cuts)
def test_the_content_comes_out_as_it_was_wherever_it_is_cut(content: bytes, where: tuple[int, ...]):
    assert read(stuffed(content) + BEHIND, where) == (None, b"R\r\n" + content, BEHIND)


@pytest.mark.parametrize("content", [b"", b"x\r\n", b".\r\n..\r\n", b"\r\n\r\n.a\r\n\r\n"])
def test_the_end_is_found_when_it_is_split_at_every_byte(content: bytes):
    wire = stuffed(content) + BEHIND
    for cut in range(len(wire)):
        assert read(wire, (cut,)) == (None, b"R\r\n" + content, BEHIND)
    assert read(wire, tuple(range(len(wire)))) == (None, b"R\r\n" + content, BEHIND)


raw_bytes = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"x"]), max_size=14).map(b"".join)


@given(raw_bytes, cuts)
def test_a_message_with_a_bare_cr_or_lf_is_refused_and_no_other(raw: bytes, where: tuple[int, ...]):
    wire = raw + b"\r\n.\r\n" + BEHIND
    end = (b"\r\n" + wire).index(b"\r\n.\r\n")
    body = (b"\r\n" + wire)[: end + 2]
    fault, content, behind = read(wire, where)
    assert behind == (b"\r\n" + wire)[end + 5 :]
    if re.search(rb"\r(?!\n)|(?<!\r)\n", body):
        assert fault is Reply.BARE_CR_OR_LF
        assert content == b""
    else:
        assert fault is None
        assert content == b"R" + body.replace(b"\r\n.", b"\r\n")


@given(st.lists(st.integers(0, 30), max_size=6), cuts, st.integers(1, 20))
def test_a_line_over_the_limit_is_refused_and_no_other(lengths: list[int], where: tuple[int, ...], limit: int):
    content = b"".join(b"x" * length + b"\r\n" for length in lengths)
    fault, _, _ = read(stuffed(content), where, line=limit)
    assert fault is (Reply.LINE_TOO_LONG if max(lengths, default=0) > limit else None)


@given(st.integers(0, 60), cuts)
def test_a_message_over_the_size_limit_is_refused_and_no_other(length: int, where: tuple[int, ...]):
    content = b"x" * length + b"\r\n"
    fault, _, behind = read(stuffed(content) + BEHIND, where, limit=40)
    assert fault is (Reply.TOO_LARGE if len(content) > 40 else None)
    assert behind == BEHIND


def test_stuffed_dots_do_not_count_as_size():
    content = b".\r\n" * 10
    assert read(stuffed(content), limit=len(content))[0] is None


def test_nothing_is_kept_after_a_fault():
    reader = DataReader(max_message_bytes=1000, max_line_bytes=998)
    reader.feed(b"x" * 900)
    assert reader.kept_bytes == 900
    for _ in range(1000):
        reader.feed(b"x\r\n" * 100)
        assert reader.kept_bytes == 0
    assert reader.feed(b"\r\n.\r\n") == b""


def test_an_endless_line_keeps_nothing():
    reader = DataReader(max_message_bytes=10**9, max_line_bytes=998)
    for _ in range(100):
        reader.feed(b"x" * 65536)
    assert reader.fault is Reply.LINE_TOO_LONG
    assert reader.kept_bytes == 0


@pytest.mark.parametrize("feed_bytes", [2, 50, 65536])
def test_one_limits_worth_of_memory_is_enough_however_small_the_chunks_are(feed_bytes: int):
    wire = b"0123456789abc\r\n" * 20_000
    chunks = [wire[start : start + feed_bytes] for start in range(0, len(wire), feed_bytes)] + [b".\r\n"]
    reader = DataReader(max_message_bytes=len(wire), max_line_bytes=998, received_line=b"R")
    gc.collect()  # what other tests left shall not be tidied up while bytes are counted
    tracemalloc.start()
    try:
        for chunk in chunks:
            reader.feed(chunk)
        content = reader.content()
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert content == b"R\r\n" + wire
    assert peak_bytes < len(wire) * 9 / 8 + 4 * feed_bytes + 16_384
