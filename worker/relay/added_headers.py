"""The headers that rules put on top of a message. Pure.

Every line is ASCII and at most 998 bytes long, whatever the value holds: what is not ASCII, or is one word too long for
a line, becomes encoded words (RFC 2047). No value can end its header: line ends and control characters are blanks.
"""

import re
from collections.abc import Iterable
from email.header import Header

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
# RFC 5322 section 2.1.1; a word has to fit beside the blank it begins with.
_LONGEST_WORD = 900


def header_lines(headers: Iterable[tuple[str, str]]) -> bytes:
    """The headers with their line ends, in this order; b"" for none."""
    return b"".join(_line(name, value) for name, value in headers)


def _line(name: str, value: str) -> bytes:
    text = _CONTROL.sub(" ", value.encode("utf-8", "replace").decode()).strip()
    is_plain = text.isascii() and all(len(word) <= _LONGEST_WORD for word in text.split(" "))
    header = Header(text, "us-ascii" if is_plain else "utf-8", header_name=name, maxlinelen=76)
    return f"{name}: {header.encode(linesep=chr(13) + chr(10), splitchars=' ')}\r\n".encode("ascii")
