"""Which files a message carries, by what its parts say about themselves. Nothing is decoded but their names.

Theory of operation
1. The structure is read strictly (worker/relay/mime_parts.py), without recursion; a message in a message too. A part
   is an attachment when its Content-Disposition says so or when it has a file name (file_names.py).
2. What could be read in two ways, has a multipart without parts or without a plain boundary, is nested deeper than 100
   levels, has more than 10,000 boundaries or would cost more than eight times its size is not understood. Then every
   line that looks like Content-Disposition or Content-Type counts, wherever it stands.
3. Where even that is too much (more than 100,000 such lines, a MiB of what they say, or 5,000 names) the reading ends
   and `is_cut` says so: there may be any name, and rules that look for one take it as found.
So a filter sees a name too many rather than miss a file. Bounded and linear for any bytes; raises nothing.
"""

import re
from dataclasses import dataclass
from itertools import islice

from worker.relay.mime_parts import Entity, NotUnderstood, content_type, only, parts, whole_message
from worker.rules.file_names import file_names

MAX_DEPTH = 100
MAX_BOUNDARIES = 10_000
MAX_LINES = 100_000
MAX_NAMES = 5000
MAX_VALUES_BYTES = 1024 * 1024
_MAX_WORK = 8
_FREE_BYTES = 1024 * 1024

_FIELD = re.compile(rb"(?im)^content-(disposition|type)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)")
# Readers differ in whether and how they decode such a boundary.
_ODD_BOUNDARY = re.compile(rb"(?i)boundary\s*+\*|=\?|\\")


@dataclass(frozen=True, slots=True)
class Attachments:
    """What was found."""

    is_any: bool = False
    names: tuple[str, ...] = ()
    #: Whether there is more than could be read.
    is_cut: bool = False


def attachments_of(content: bytes) -> Attachments:
    """The attachments of a whole message."""
    try:
        fields, is_cut = _fields_of_parts(content), False
    except NotUnderstood:
        fields, is_cut = _fields_anywhere(content)
    names: dict[str, None] = {}
    is_any, left_bytes = is_cut, MAX_VALUES_BYTES
    for kind, value in fields:
        found = file_names(value[:left_bytes])
        is_any = is_any or bool(found) or (kind == b"disposition" and b"attachment" in value.lower())
        names.update(dict.fromkeys(found))
        left_bytes -= len(value)
        if left_bytes < 0 or len(names) > MAX_NAMES:
            return Attachments(is_any=True, names=tuple(names), is_cut=True)
    return Attachments(is_any, tuple(names), is_cut)


# -- where it may be said


def _fields_of_parts(content: bytes) -> list[tuple[bytes, bytes]]:
    """(`disposition` or `type`, value) of all parts. Raises NotUnderstood."""
    fields: list[tuple[bytes, bytes]] = []
    allowed_bytes, allowed_marks = _MAX_WORK * len(content) + _FREE_BYTES, MAX_BOUNDARIES
    waiting = [(whole_message(content), 0, False)]
    while waiting:
        entity, depth, is_in_digest = waiting.pop()
        head = content[entity.start : entity.head_end]
        fields += [(field[1].lower(), field[2]) for field in islice(_FIELD.finditer(head), MAX_LINES)]
        if len(fields) >= MAX_LINES:
            raise NotUnderstood
        kind, boundary = _kind(head, is_in_digest=is_in_digest)
        if kind == b"message":
            inner = _message_within(content, entity)
        elif boundary:
            allowed_marks -= content.count(b"--" + boundary, entity.body, entity.end)
            inner = list(parts(content, entity, boundary)) if allowed_marks >= 0 else []
            if not inner:
                raise NotUnderstood
        else:
            continue
        allowed_bytes -= entity.end - entity.body
        if depth == MAX_DEPTH or allowed_bytes < 0:
            raise NotUnderstood
        waiting += [(one, depth + 1, kind == b"digest") for one in reversed(inner)]
    return fields


def _kind(head: bytes, *, is_in_digest: bool) -> tuple[bytes, bytes]:
    """`message` (in a digest that is the default), `digest` or nothing, and the boundary of a multipart."""
    kind, field = content_type(head), only(head, b"content-type")
    if kind.kind == b"message" or (field is None and is_in_digest):
        return b"message", b""
    if field is None or kind.kind != b"multipart":
        return b"", b""
    if not kind.boundary or _ODD_BOUNDARY.search(field[1]):
        raise NotUnderstood
    return b"digest" if kind.subtype == b"digest" else b"", kind.boundary


def _message_within(content: bytes, entity: Entity) -> list[Entity]:
    if entity.body >= entity.end:
        return []
    inner = whole_message(content[entity.body : entity.end])
    places = (inner.start, inner.head_end, inner.body, inner.end)
    return [Entity(*(place + entity.body for place in places))]


def _fields_anywhere(content: bytes) -> tuple[list[tuple[bytes, bytes]], bool]:
    """The same of every line that looks like one, and whether there are too many."""
    fields: list[tuple[bytes, bytes]] = []
    lowered = content.lower()
    position = 0 if lowered.startswith(b"content-") else lowered.find(b"\ncontent-") + 1 or -1
    for _ in range(MAX_LINES):
        if position < 0:
            break
        if field := _FIELD.match(content, position):
            fields.append((field[1].lower(), field[2]))
        position = lowered.find(b"\ncontent-", position) + 1 or -1
    return fields, position >= 0
