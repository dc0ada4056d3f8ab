"""Which files a message carries, by what its parts say about themselves. Nothing is decoded but their names.

Theory of operation
1. The structure is read strictly (worker/relay/mime_parts.py), without recursion; a message in a message too. A part
   is an attachment when its Content-Disposition says so or when it has a file name, in whatever way that is written.
2. What could be read in two ways, is nested deeper than 100 levels, has more than 10,000 boundaries or would cost more
   than eight times its size is not understood. Then every line that looks like Content-Disposition or Content-Type
   counts, wherever it stands: a filter would rather see a name too many than miss a file.
Bounded and linear for any bytes; raises nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from worker.relay.mime_parts import Entity, NotUnderstood, content_type, parts, whole_message
from worker.rules.header_text import decoded, text_of

MAX_DEPTH = 100
MAX_BOUNDARIES = 10_000
MAX_NAMES = 1000
_MAX_WORK = 8
_FREE_BYTES = 1024 * 1024
_MAX_VALUE_BYTES = 64 * 1024

_FIELD = re.compile(rb"(?im)^content-(disposition|type)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)")
_PARAMETER = re.compile(rb';\s*+([^\s=;"]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"?|([^\s;"]*+))', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
# RFC 2231: name*0*=…; name*1=…; name*=charset'language'…
_SECTION = re.compile(rb"(filename|name)(?:\*(\d{1,4}))?(\*)?")


@dataclass(frozen=True, slots=True)
class Attachments:
    """What was found."""

    is_any: bool = False
    names: tuple[str, ...] = ()


def attachments_of(content: bytes) -> Attachments:
    """The attachments of a whole message."""
    try:
        fields = list(_fields_of_parts(content))
    except NotUnderstood:
        fields = list(_fields_anywhere(content))
    names: dict[str, None] = {}
    is_any = False
    for kind, value in fields:
        found = _names(value)
        is_any = is_any or bool(found) or (kind == b"disposition" and _is_attachment(value))
        if len(names) < MAX_NAMES:
            names.update(dict.fromkeys(found))
    return Attachments(is_any, tuple(names))


def _is_attachment(disposition: bytes) -> bool:
    return disposition.strip()[: len(b"attachment")].lower() == b"attachment"


# -- where it may be said


def _fields_of_parts(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(`disposition` or `type`, value) of all parts. Raises NotUnderstood."""
    allowed_bytes, allowed_marks = _MAX_WORK * len(content) + _FREE_BYTES, MAX_BOUNDARIES
    waiting = [(whole_message(content), 0)]
    while waiting:
        entity, depth = waiting.pop()
        head = content[entity.start : entity.head_end]
        for field in _FIELD.finditer(head):
            yield field[1].lower(), field[2][:_MAX_VALUE_BYTES]
        kind = content_type(head)
        if kind.kind == b"message" and kind.subtype == b"rfc822":
            inner = _message_within(content, entity)
        elif kind.kind == b"multipart" and kind.boundary:
            allowed_marks -= content.count(b"--" + kind.boundary, entity.body, entity.end)
            inner = list(parts(content, entity, kind.boundary)) if allowed_marks >= 0 else []
        else:
            continue
        allowed_bytes -= entity.end - entity.body
        if depth == MAX_DEPTH or allowed_bytes < 0 or allowed_marks < 0:
            raise NotUnderstood
        waiting += [(one, depth + 1) for one in reversed(inner)]


def _message_within(content: bytes, entity: Entity) -> list[Entity]:
    if entity.body >= entity.end:
        return []
    inner = whole_message(content[entity.body : entity.end])
    places = (inner.start, inner.head_end, inner.body, inner.end)
    return [Entity(*(place + entity.body for place in places))]


def _fields_anywhere(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The same of every line that looks like one, the first 10,000 of them."""
    lowered = content.lower()
    position = 0 if lowered.startswith(b"content-") else lowered.find(b"\ncontent-") + 1 or -1
    for _ in range(MAX_BOUNDARIES):
        if position < 0:
            return
        if field := _FIELD.match(content, position, position + _MAX_VALUE_BYTES):
            yield field[1].lower(), field[2]
        position = lowered.find(b"\ncontent-", position) + 1 or -1


# -- how it is said


def _names(value: bytes) -> list[str]:
    """Every file name among the parameters, plain, encoded and in pieces."""
    plain: list[str] = []
    pieces: dict[bytes, list[tuple[int, bool, bytes]]] = {}
    for found in _PARAMETER.finditer(value):
        section = _SECTION.fullmatch(found[1].lower())
        if section is None:
            continue
        text = found[3] if found[2] is None else _ESCAPED.sub(rb"\1", found[2])
        if section[2] is None and section[3] is None:
            plain.append(text_of(text))
        else:
            pieces.setdefault(section[1], []).append((int(section[2] or 0), bool(section[3]), text))
    return [name for name in [*plain, *map(_joined, pieces.values())] if name]


def _joined(pieces: list[tuple[int, bool, bytes]]) -> str:
    charset, octets = "utf-8", b""
    for place, (_, is_encoded, text) in enumerate(sorted(pieces, key=lambda one: one[0])):
        rest = text
        if is_encoded and place == 0 and text.count(b"'") >= 2:
            name, _, rest = text.split(b"'", 2)
            charset = name.decode("ascii", "replace")
        octets += unquote_to_bytes(rest) if is_encoded else rest
    return decoded(octets, charset).strip()
