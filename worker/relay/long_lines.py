"""Lines over 998 bytes, which SES refuses: headers are folded at blanks, bodies get another transfer encoding.

Theory of operation
1. Finding out costs next to nothing: one step of `rfind` for each 1,000 bytes.
2. Headers are folded before a blank between two words, so that no line is empty and unfolding gives the old value. A
   word of more than 997 bytes stays.
3. A multipart body is taken apart, for those parts that have a long line. Any other body is encoded: text as
   quoted-printable, or as base64 where that is shorter or line ends are mixed; everything else as base64. What is
   encoded already is wrapped anew.
4. Bodies stay where a signature covers them (a DKIM-Signature in the message, multipart/signed, multipart/encrypted),
   when the structure is not understood, in message parts and digests, and when the result were too large for SES.
Invariant: decoded, every part is what it was, and outside of bodies that are encoded now nothing but line ends in
headers is new.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from config.settings import SES_MAX_RAW_BYTES
from worker.relay.mime_parts import (
    ContentType,
    Entity,
    NotUnderstood,
    before_line_end,
    content_type,
    only,
    parts,
    whole_message,
)

MAX_LINE_BYTES = 998
_MAX_DEPTH = 20
_SIGNED = re.compile(rb"(?im)^dkim-signature[ \t]*:")
_MIME_VERSION = re.compile(rb"(?im)^mime-version[ \t]*:")
# A run of blanks between two words of one line.
_GAP = re.compile(rb"(?<=[^ \t\r\n])[ \t]++(?=[^ \t\r\n])")
_ODD_LINE_END = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*+={0,2}")
_BASE64_LINE = re.compile(rb".{1,76}")
# What quoted-printable takes as it is; of other bytes so many make base64 the shorter one.
_PLAIN_BYTES = bytes([9, 10, 13, *range(32, 61), *range(62, 127)])
_QUOTED_SHARE = 1 / 6


@dataclass(frozen=True, slots=True)
class _Change:
    """New bytes for a place of the content."""

    start: int
    end: int
    new: bytes


def has_long_line(content: bytes, start: int = 0, end: int | None = None) -> bool:
    """Whether a line has more than 998 bytes before its line end; `start` is the beginning of a line."""
    end = len(content) if end is None else end
    while end - start > MAX_LINE_BYTES:
        found = content.rfind(b"\n", start, min(end, start + MAX_LINE_BYTES + 2))
        # The last byte of the window may be the bare LF of a line that is one byte too long.
        if found == start + MAX_LINE_BYTES + 1 and content[found - 1] != ord("\r"):
            found = content.rfind(b"\n", start, found)
        if found < 0:
            return True
        start = found + 1
    return False


def wrapped(content: bytes) -> bytes:
    """The content with no line over 998 bytes where that can be done; the same object when nothing can be done."""
    message = whole_message(content)
    changes = folds = list(_folds(content, message))
    if not _SIGNED.search(content, 0, message.head_end):
        changes = folds + _of_body(content, message, 0)
    if len(content) + sum(len(one.new) - one.end + one.start for one in changes) > SES_MAX_RAW_BYTES:
        changes = folds
    return _changed(content, changes) if changes else content


def _changed(content: bytes, changes: list[_Change]) -> bytes:
    pieces, position = [], 0
    for one in sorted(changes, key=lambda change: change.start):
        pieces += [content[position : one.start], one.new]
        position = one.end
    return b"".join([*pieces, content[position:]])


def _folds(content: bytes, entity: Entity) -> Iterator[_Change]:
    start = entity.start
    while has_long_line(content, start, entity.head_end):
        end = content.find(b"\n", start, entity.head_end) + 1 or entity.head_end
        line_end = _line_end(content, end)
        for place in _fold_places(content, start, end):
            yield _Change(place, place, line_end)
        start = end


def _fold_places(content: bytes, start: int, end: int) -> Iterator[int]:
    """Beginnings of gaps: always the last one that keeps the line short, if its word fits into the next line."""
    last = candidate = start
    gaps = (one.start() for one in _GAP.finditer(content, start, end))
    for gap in (*gaps, before_line_end(content, start, end)):
        if gap - last > MAX_LINE_BYTES and candidate > last and gap - candidate <= MAX_LINE_BYTES:
            yield candidate
            last = candidate
        candidate = gap


def _line_end(content: bytes, end: int) -> bytes:
    """That of the line that ends here; CRLF when it has none."""
    return b"\n" if content.endswith(b"\n", 0, end) and not content.endswith(b"\r\n", 0, end) else b"\r\n"


def _of_body(content: bytes, entity: Entity, depth: int) -> list[_Change]:
    """What makes the lines of a body short; nothing when it must not be touched."""
    if not has_long_line(content, entity.body, entity.end):
        return []
    head = content[entity.start : entity.head_end]
    try:
        kind = content_type(head)
        if kind.kind == b"multipart":
            return _of_parts(content, entity, kind, depth)
        return [] if kind.kind == b"message" else _encoded(content, entity, head, kind, is_message=depth == 0)
    except NotUnderstood:
        return []


def _of_parts(content: bytes, entity: Entity, kind: ContentType, depth: int) -> list[_Change]:
    if kind.subtype in {b"signed", b"encrypted", b"digest"} or not kind.boundary or depth >= _MAX_DEPTH:
        return []
    changes: list[_Change] = []
    for part in parts(content, entity, kind.boundary):
        changes += _folds(content, part)
        changes += _of_body(content, part, depth + 1)
    return changes


def _encoded(content: bytes, entity: Entity, head: bytes, kind: ContentType, *, is_message: bool) -> list[_Change]:
    """The body in another encoding and the header that says so. Raises NotUnderstood."""
    line_end = _line_end(content, entity.body)
    field = only(head, b"content-transfer-encoding")
    old = field[1].strip().lower() if field else b""
    body = content[entity.body : entity.end]
    if old not in _ENCODERS:
        raise NotUnderstood
    new, new_body = _ENCODERS[old](body, line_end, kind)
    changes = [_Change(entity.body, entity.end, new_body)]
    if field and new != old:
        start, end = (entity.start + place for place in field.span(1))
        changes.append(_Change(start, end, b" " + new + (b"\r" if field[1].endswith(b"\r") else b"")))
    elif new != old:
        header = b"Content-Transfer-Encoding: " + new + line_end
        if is_message and not _MIME_VERSION.search(head):
            header = b"MIME-Version: 1.0" + line_end + header
        changes.append(_Change(entity.head_end, entity.head_end, header))
    return changes


def _plain(raw: bytes, line_end: bytes, kind: ContentType) -> tuple[bytes, bytes]:
    is_odd = _ODD_LINE_END.search(raw) if line_end == b"\r\n" else b"\r" in raw
    strange_bytes = len(raw.translate(None, _PLAIN_BYTES))
    if kind.kind != b"text" or is_odd or strange_bytes > len(raw) * _QUOTED_SHARE:
        return b"base64", _lines_of(base64.b64encode(raw), line_end)
    quoted = binascii.b2a_qp(raw)
    if b"\n" not in raw:  # then it does not know how lines end here
        quoted = quoted.replace(b"\n", line_end)
    return b"quoted-printable", quoted


def _quoted_anew(body: bytes, line_end: bytes, kind: ContentType) -> tuple[bytes, bytes]:
    if kind.kind != b"text":
        raise NotUnderstood
    return _plain(binascii.a2b_qp(body), line_end, kind)


def _base64_anew(body: bytes, line_end: bytes, _: ContentType) -> tuple[bytes, bytes]:
    data = b"".join(body.split())
    if not _BASE64.fullmatch(data):
        raise NotUnderstood
    return b"base64", _lines_of(data, line_end)


def _lines_of(data: bytes, line_end: bytes) -> bytes:
    return line_end.join([*_BASE64_LINE.findall(data), b""])


# Content-Transfer-Encoding, lower case, → what makes its lines short; uuencode and others are left alone.
_ENCODERS: Mapping[bytes, Callable[[bytes, bytes, ContentType], tuple[bytes, bytes]]] = {
    b"": _plain,
    b"7bit": _plain,
    b"8bit": _plain,
    b"binary": _plain,
    b"quoted-printable": _quoted_anew,
    b"base64": _base64_anew,
}
