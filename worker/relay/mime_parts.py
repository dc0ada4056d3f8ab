"""Where the entities of a MIME message are: header section, body, parts; on raw bytes, and strict.

Nothing is decoded and nothing copied but header sections. What could be read in two ways raises NotUnderstood: two
Content-Type headers, parameters with comments, a part without an empty line, a boundary beside a bare CR. Linear but
for the nesting, which the caller bounds.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_EMPTY_LINE = re.compile(rb"\n\r?\n")
_HEADERS = re.compile(rb"(?:[!-9;-~]++[ \t]*+:[^\n]*+\n(?:[ \t][^\n]*+\n)*+)*+")
_TYPE = re.compile(rb"\s*+([A-Za-z0-9.+-]++)/([A-Za-z0-9.+-]++)\s*+")
# A parameter, or a semicolon that stands alone.
_PARAMETER = re.compile(rb';\s*+(?:([^\s=;"()]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\s;"()]++))\s*+)?', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
# RFC 2046 allows 70 characters; programs write more. A boundary has no blank at its end.
_BOUNDARY = re.compile(rb"[ -~]{0,200}[!-~]")
_AFTER_BOUNDARY = re.compile(rb"(--)?[ \t]*+(?:\r?\n|\r?\Z)")
# What some readers take for the end of its line, and others do not.
_ODDLY_AFTER_BOUNDARY = re.compile(rb"(?:--)?[ \t]*+\r")


class NotUnderstood(Exception):  # noqa: N818 - a decision, not a failure
    """The structure can be read in two ways or in none."""


@dataclass(frozen=True, slots=True)
class Entity:
    """Places in the content: headers from `start` to `head_end`, the body from `body`, behind the empty line, to `end`.

    An entity without an empty line has an empty body.
    """

    start: int
    head_end: int
    body: int
    end: int


@dataclass(frozen=True, slots=True)
class ContentType:
    """The value of Content-Type, in lower case but for the boundary; b"" = none."""

    kind: bytes = b"text"
    subtype: bytes = b"plain"
    boundary: bytes = b""


def whole_message(content: bytes) -> Entity:
    """The message itself."""
    return _entity(content, 0, len(content))


def parts(content: bytes, entity: Entity, boundary: bytes) -> Iterator[Entity]:
    """The parts of a multipart; the last one reaches to the end when no boundary ends it. Raises NotUnderstood."""
    mark = b"--" + boundary
    started, position = -1, entity.body
    while (found := content.find(mark, position, entity.end)) >= 0:
        position = found + len(mark)
        after = _AFTER_BOUNDARY.match(content, position, entity.end)
        before = b"\n" if found == entity.body else content[found - 1 : found]
        if before not in {b"\n", b"\r"}:
            continue
        if before == b"\r" or (not after and _ODDLY_AFTER_BOUNDARY.match(content, position, entity.end)):
            raise NotUnderstood
        if not after:
            continue
        if started >= 0:
            yield _part(content, started, before_line_end(content, started, found))
        if after[1]:
            return
        started = position = after.end()
    if started >= 0:
        yield _part(content, started, entity.end)


def only(head: bytes, name: bytes) -> re.Match[bytes] | None:
    """The one header of this name, group 1 its value with the last CR; None when there is none."""
    pattern = rb"(?im)^%b[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)" % re.escape(name)
    found = list(re.finditer(pattern, head))
    if len(found) > 1:
        raise NotUnderstood
    return found[0] if found else None


def content_type(head: bytes) -> ContentType:
    """What the header section says its body is; RFC 2045's default when it says nothing. Raises NotUnderstood."""
    field = only(head, b"content-type")
    if field is None:
        return ContentType()
    found = _TYPE.match(field[1])
    if found is None:
        raise NotUnderstood
    boundary = _parameters(field[1], found.end()).get(b"boundary", b"")
    if boundary and not _BOUNDARY.fullmatch(boundary):
        raise NotUnderstood
    return ContentType(found[1].lower(), found[2].lower(), boundary)


def _parameters(value: bytes, position: int) -> dict[bytes, bytes]:
    values: dict[bytes, bytes] = {}
    while position < len(value):
        found = _PARAMETER.match(value, position)
        if found is None:
            raise NotUnderstood
        name, quoted, bare = found.groups()
        if name:
            if name.lower() in values:
                raise NotUnderstood
            values[name.lower()] = bare if quoted is None else _ESCAPED.sub(rb"\1", quoted)
        position = found.end()
    return values


def _part(content: bytes, start: int, end: int) -> Entity:
    entity = _entity(content, start, end)
    if entity.head_end == end or not _HEADERS.fullmatch(content, start, entity.head_end):
        raise NotUnderstood
    return entity


def _entity(content: bytes, start: int, end: int) -> Entity:
    if content.startswith((b"\r\n", b"\n"), start, end):
        return Entity(start, start, content.index(b"\n", start) + 1, end)
    found = _EMPTY_LINE.search(content, start, end)
    return Entity(start, found.start() + 1, found.end(), end) if found else Entity(start, end, end, end)


def before_line_end(content: bytes, start: int, end: int) -> int:
    """`end` without a line end before it. In front of a boundary it belongs to the boundary."""
    for line_end in (b"\r\n", b"\n"):
        if content.endswith(line_end, start, end):
            return end - len(line_end)
    return end
