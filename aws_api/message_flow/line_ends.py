"""Lines of an update: what ends them, and which are too long. Pure, linear, on bytes.

Functions upload what their language writes, and that is often LF alone. Every bare LF becomes CRLF, in a mixture too:
no reader takes it for anything but the end of a line. A bare CR stays what it is and is a reason to refuse, because
readers differ about it and one that ends a line, or the message, there could be led astray (SMTP smuggling).
"""

import re
from collections.abc import Iterator

#: Without its CRLF: a line of 1,000 bytes in all (RFC 5322 section 2.1.1).
MAX_LINE_BYTES = 998
_BARE_CR = re.compile(rb"\r(?!\n)")


def size_with_crlf(content: bytes) -> int:
    """How long the content will be when every line ends with CRLF."""
    return len(content) + content.count(b"\n") - content.count(b"\r\n")


def with_crlf(content: bytes) -> bytes:
    """The content with CRLF for each bare LF; the same object when there is none."""
    if content.count(b"\n") == content.count(b"\r\n"):
        return content
    return content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def count_of_bare_cr(content: bytes) -> int:
    """How many CR stand before something else than LF."""
    return content.count(b"\r") - content.count(b"\r\n")


def position_of_bare_cr(content: bytes) -> int:
    """Where the first bare CR is; -1 = nowhere."""
    found = _BARE_CR.search(content)
    return found.start() if found else -1


def line_number(content: bytes, position: int) -> int:
    """The number of the line that holds this position, from 1."""
    return content.count(b"\n", 0, position) + 1


def long_lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Position and bytes of every line over the limit. Goes on by jumps of one limit: a line that fits ends in each."""
    window = MAX_LINE_BYTES + 2
    start = 0
    while start + MAX_LINE_BYTES < len(content):
        newline = content.rfind(b"\n", start, start + window)
        if newline < 0:
            newline = content.find(b"\n", start + window)
            end = len(content) if newline < 0 else newline
            line = content[start:end].removesuffix(b"\r")
            if len(line) > MAX_LINE_BYTES:
                yield start, line
            if newline < 0:
                return
        start = newline + 1
