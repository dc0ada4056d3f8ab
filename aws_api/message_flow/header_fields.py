"""The header section of a message as fields, and values in the form in which two of them can be compared.

The section ends at the first empty line, or at the first line that is neither a field nor the continuation of one:
the email package of Python and our SMTP door read it so too. Never raises; reads no further than it is told to.
"""

import base64
import binascii
import quopri
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# A field that begins before the limit is read so far behind it: no reader of values looks at more of one.
_CUT_BYTES = 4096
# No name begins like the line between two parts.
_FIELD = re.compile(rb"(?!--)([!-9;-~]++)[ \t]*+:([^\r\n]*+(?:\r\n[ \t][^\r\n]*+)*+)(?:\r\n|\Z)")
_WORDS = re.compile(rb"=\?[^?\s]{1,60}\?[bBqQ]\?[^?\s]*+\?=(?:\s++=\?[^?\s]{1,60}\?[bBqQ]\?[^?\s]*+\?=)*+")
_WORD = re.compile(rb"=\?([^?\s]++)\?([bBqQ])\?([^?\s]*+)\?=")
_BLANKS = re.compile(r"\s+")
# It may lack its end, so that no piece is read twice.
_QUOTED = re.compile(rb'"((?:[^"\\\0]++|\\.)*+)("?)', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
# RFC 5322 section 3.2.3, and what could be taken for our own mark.
_SPECIALS = re.compile(r'[()<>\[\]:;@\\,."\0-\x1f]')
ADDRESS_HEADERS = frozenset({"from", "sender", "reply-to", "to", "cc", "bcc"})


@dataclass(frozen=True, slots=True)
class HeaderSection:
    """Fields in their order; `values` by lower-case name, folded as they were written."""

    values: Mapping[bytes, Sequence[bytes]]
    #: Where it ends, in front of the empty line.
    end: int
    #: Where the body begins.
    body: int
    #: The line that is no field, where one ends the section; b"" = it ends as it should.
    odd_line: bytes = b""

    def first(self, name: bytes) -> bytes:
        """The first value of a lower-case name; b"" when there is none."""
        return next(iter(self.values.get(name, ())), b"")


def read_header_section(content: bytes, start: int, limit: int) -> HeaderSection:
    """The section that begins at `start`; fields that begin behind `limit` are not looked at, endless ones are cut."""
    values: dict[bytes, list[bytes]] = {}
    position, cut = start, limit + _CUT_BYTES
    stop = cut + (content[cut - 1 : cut + 1] == b"\r\n")  # the two stay together
    while position < limit and (field := _FIELD.match(content, position, stop)):
        values.setdefault(field[1].lower(), []).append(field[2])
        position = field.end()
    if content.startswith(b"\r\n", position):
        return HeaderSection(values, position, position + 2)
    if position >= min(limit, len(content)):
        position = min(position, cut)
        return HeaderSection(values, position, position)
    end = content.find(b"\r\n", position, position + 1000)
    return HeaderSection(values, position, position, content[position : end if end >= 0 else position + 1000])


def comparable(value: bytes, name: str = "") -> str:
    """A value without what folding and writing it in another way change: blanks, encoded words, quotes around a name.

    Text with signs that mean something in an address stays apart from what was not encoded or quoted: an address that
    is written out is another thing than its letters inside an encoded word.
    """
    text = _WORDS.sub(lambda run: _apart(_text_of(run[0])), b" ".join(value.split()))
    if name.lower() in ADDRESS_HEADERS:
        text = _QUOTED.sub(_without_quotes, text)
    return _BLANKS.sub(" ", text.decode("utf-8", "surrogateescape")).strip()


def _without_quotes(quoted: re.Match[bytes]) -> bytes:
    if not quoted[2]:  # nobody closed it
        return quoted[0]
    return _apart(_ESCAPED.sub(r"\1", quoted[1].decode("utf-8", "surrogateescape")))


def decoded(value: bytes) -> str:
    """A value for people, encoded words as their text."""
    return comparable(value).replace("\0", "")


def _apart(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    return b"\0" + raw + b"\0" if _SPECIALS.search(text) else raw


def _text_of(run: bytes) -> str:
    """Encoded words beside each other are one text; a letter may be cut between two of them."""
    text, raw, charset = "", b"", ""
    for word in _WORD.finditer(run):
        named = word[1].partition(b"*")[0].decode("ascii", "replace").lower()
        if named != charset:
            text, raw, charset = text + _in_charset(raw, charset), b"", named
        raw += _bytes_of(word[2], word[3])
    return text + _in_charset(raw, charset)


def _bytes_of(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"qQ":
        return quopri.decodestring(text, header=True)
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4))
    except binascii.Error:
        return text


def _in_charset(raw: bytes, charset: str) -> str:
    if not raw:
        return ""
    try:
        return raw.decode(charset)
    except (LookupError, ValueError):  # an unknown name, or bytes that are not of it
        return raw.decode("utf-8", "surrogateescape")
