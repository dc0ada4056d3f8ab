"""The addresses of a header such as To, Cc or From, with their places, on raw bytes.

One pass, linear, for any input: nothing is refused. Comments nest and are skipped, groups are opened (their members
count, their names do not), quoted strings and `<…>` that nobody closed reach to the end. What has no @ is an entry
without an address. This is no judge of addresses: it finds those that are plainly there.
"""

import re
from dataclasses import dataclass

# Possessive, and every opening may end at the end: no piece is ever read twice.
_QUOTED = rb'"(?:[^"\\]|\\.?)*+"?'
_PIECE = re.compile(rb"%b|<(?:[^<>\"]|%b)*+>?|[,;:]|[^\",;:(<]+" % (_QUOTED, _QUOTED), re.DOTALL)
_COMMENT_PIECE = re.compile(rb"[()]|[^()\\]+|\\.?", re.DOTALL)
_BLANKS = re.compile(rb"[ \t\r\n]+")
_LINE_END = re.compile(rb"\r?\n(?=[ \t])")
# A name of atoms and quoted strings before the address, nothing after it.
_SIMPLE = re.compile(rb"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~. \t-]|\"(?:[^\"\\\r\n\x80-\xff]|\\[ -~])*+\")*+<[!-;=?-~]+>")
_MAX_NAMED_BYTES = 400


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One entry of the list. `start` and `end` are the address's place in the value; -1 when it is written apart."""

    address: bytes
    start: int
    end: int
    #: Name and address when they are simple, else the address alone.
    named: bytes


@dataclass(slots=True)
class _Entry:
    """What was read since the last comma."""

    start: int
    texts: list[tuple[int, int]]
    angle: tuple[int, int] | None = None


def mailboxes(value: bytes) -> list[Mailbox]:
    """Every entry of an address list, members of groups too; empty entries are none."""
    found: list[Mailbox] = []
    entry, position = _Entry(0, []), 0
    while position < len(value):
        if value.startswith(b"(", position):
            position = _comment_end(value, position)
            continue
        piece = _PIECE.match(value, position)
        assert piece is not None, "the pieces cover every byte but ("
        position = piece.end()
        first = piece[0][:1]
        if first == b"<":
            entry.angle = entry.angle or piece.span()
        elif first not in b",;:":
            entry.texts.append(piece.span())
        else:
            if first != b":":  # what stands before a colon is the name of a group
                found += _mailbox(value, entry, piece.start())
            entry = _Entry(position, [])
    return [*found, *_mailbox(value, entry, len(value))]


def _comment_end(value: bytes, position: int) -> int:
    depth = 0
    while position < len(value):
        piece = _COMMENT_PIECE.match(value, position)
        assert piece is not None, "the pieces cover every byte"
        position = piece.end()
        depth += {b"(": 1, b")": -1}.get(piece[0], 0)
        if depth == 0:
            break
    return position


def _mailbox(value: bytes, entry: _Entry, end: int) -> list[Mailbox]:
    """One mailbox, or none where nothing is written."""
    if entry.angle:
        return [_angled(value, entry, end)]
    texts = [span for span in entry.texts if value[slice(*span)].strip(b" \t\r\n")]
    if not texts:
        return []
    address = b"".join(_BLANKS.sub(b"", value[slice(*span)]) for span in texts)
    if b"@" not in address:
        return [Mailbox(b"", -1, -1, b"")]
    written = value[texts[0][0] : texts[-1][1]]
    start = texts[0][0] + len(written) - len(written.lstrip(b" \t\r\n"))
    if written.strip(b" \t\r\n") != address:  # blanks or comments inside
        return [Mailbox(address, -1, -1, address)]
    return [Mailbox(address, start, start + len(address), address)]


def _angled(value: bytes, entry: _Entry, end: int) -> Mailbox:
    assert entry.angle is not None
    first, last = entry.angle
    inside = value[first + 1 : last].removesuffix(b">").strip(b" \t\r\n")
    if inside.startswith(b"@"):  # a source route: @relay.example,@other.example:user@domain
        inside = inside.rpartition(b":")[2]
    if b"@" not in inside:
        return Mailbox(b"", -1, -1, b"")
    start = value.rindex(inside, first, last)
    written = _LINE_END.sub(b"", value[entry.start : end]).strip(b" \t\r\n")
    is_simple = len(written) <= _MAX_NAMED_BYTES and _SIMPLE.fullmatch(written)
    return Mailbox(inside, start, start + len(inside), written if is_simple else inside)
