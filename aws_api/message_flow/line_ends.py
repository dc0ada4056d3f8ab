"""Lines of an update: what ends them, and which are too long. Pure, linear, on bytes.

Functions upload what their language writes, and that is often LF alone. Every bare LF becomes CRLF, in a mixture too:
no reader takes it for anything but the end of a line. A bare CR stays what it is and is a reason to refuse, because
readers differ about it and one that ends a line, or the message, there could be led astray (SMTP smuggling).

Nothing here looks at more than a piece of the content in one call of the interpreter's C code: such a call holds up
every other thread, and a large content would hold up the whole door.
"""

import io
import re
from collections.abc import Iterator

#: Without its CRLF: a line of 1,000 bytes in all (RFC 5322 section 2.1.1).
MAX_LINE_BYTES = 998
_BARE_CR = re.compile(rb"\r(?!\n)")
_BLANKS = b" \t\r\n\v\f"
_PIECE_BYTES = 1024 * 1024


def size_with_crlf(content: bytes) -> int:
    """How long the content will be when every line ends with CRLF."""
    return len(content) + count_of(b"\n", content) - count_of(b"\r\n", content)


def has_bare_lf(content: bytes) -> bool:
    """Whether a line ends with LF alone."""
    return count_of(b"\n", content) != count_of(b"\r\n", content)


def with_crlf(content: bytes, piece_bytes: int = _PIECE_BYTES) -> bytes:
    """The content with CRLF for each bare LF; the same object when there is none."""
    if not has_bare_lf(content):
        return content
    written, start = io.BytesIO(), 0
    while start < len(content):
        end = start + piece_bytes
        end += content[end - 1 : end + 1] == b"\r\n"  # the two stay together
        written.write(content[start:end].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        start = end
    return written.getvalue()


def count_of(wanted: bytes, content: bytes, before: int | None = None, piece_bytes: int = _PIECE_BYTES) -> int:
    """How often it stands in the content, or in front of a position; `wanted` does not overlap with itself."""
    end = len(content) if before is None else before
    starts = range(0, end, piece_bytes)
    return sum(content.count(wanted, start, min(start + piece_bytes + len(wanted) - 1, end)) for start in starts)


def count_of_bare_cr(content: bytes) -> int:
    """How many CR stand before something else than LF."""
    return count_of(b"\r", content) - count_of(b"\r\n", content)


def position_of_bare_cr(content: bytes, piece_bytes: int = _PIECE_BYTES) -> int:
    """Where the first bare CR is; -1 = nowhere."""
    for start in range(0, len(content), piece_bytes):
        found = _BARE_CR.search(content, start, start + piece_bytes + 1)
        # What follows the last byte of a piece is seen with the next one.
        if found and (found.start() < start + piece_bytes or found.end() == len(content)):
            return found.start()
    return -1


def line_number(content: bytes, position: int) -> int:
    """The number of the line that holds this position, from 1."""
    return count_of(b"\n", content, position) + 1


def long_lines(content: bytes) -> Iterator[tuple[int, int]]:
    """Begin and end of every line over the limit. Goes on by jumps of one limit: a line that fits ends in each."""
    window = MAX_LINE_BYTES + 2
    start = 0
    while start + MAX_LINE_BYTES < len(content):
        newline = content.rfind(b"\n", start, start + window)
        if newline < 0:
            newline = content.find(b"\n", start + window)
            end = len(content) if newline < 0 else newline
            end -= content[end - 1 : end] == b"\r"
            if end - start > MAX_LINE_BYTES:
                yield start, end
            if newline < 0:
                return
        start = newline + 1


def text_hash(content: bytes, start: int, end: int, piece_bytes: int = _PIECE_BYTES) -> int:
    """Of what stands there, without the blanks around it. Copies no more than a piece: it may be the whole content."""
    while start < end and (piece := content[start : min(start + piece_bytes, end)]).isspace():
        start += len(piece)
    if start < end:
        start += len(piece) - len(piece.lstrip(_BLANKS))
    while start < end and (piece := content[max(start, end - piece_bytes) : end])[-1] in _BLANKS:
        end -= len(piece) - len(piece.rstrip(_BLANKS))
    return hash(memoryview(content)[start:end])
