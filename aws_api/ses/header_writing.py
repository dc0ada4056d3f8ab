"""Headers of composed mail: what a sender gives as text becomes lines of ASCII that reads the same. Pure.

Nothing that is given can become a header of its own: values with line breaks or other ASCII control characters are
refused, and what is not ASCII, U+2028 and U+0085 too, goes into encoded words of UTF-8 (RFC 2047). These are made here
because `email.header` ends a line at such signs and writes a blank for them. Lines fit into 78 characters where they
can be folded; a name that does not fit, and what would still be longer than 998 bytes, a line's limit, is encoded too.
"""

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from aws_api.message_flow.line_ends import MAX_LINE_BYTES
from aws_api.ses.addresses import Mailbox
from aws_api.ses.refusals import SendRefused

_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ATOMS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_FOLD: Final = "\r\n "
#: Of a line with encoded words (RFC 2047 section 2), and of every other one that can be folded.
_LINE_CHARACTERS: Final = 76
#: Room for an encoded word where the name of a header leaves none.
_LEAST_ROOM: Final = 30
_WORD_FRAME: Final = len("=?utf-8?q??=")
#: What the words of a name may hold as it is (RFC 2047 section 5); good for every other header too.
_PLAIN_OCTETS: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_Q_OCTETS: Final = tuple(
    "_" if octet == ord(" ") else chr(octet) if octet in _PLAIN_OCTETS else f"={octet:02X}" for octet in range(256)
)
#: More than any header section may have (`[smtp] max_header_bytes`); folding and encoding such a value costs.
_MOST_VALUE_CHARACTERS: Final = 1024 * 1024


def address_header(name: str, boxes: Sequence[Mailbox]) -> str:
    """The header's lines, one address or more on each. Raises SendRefused."""
    first, *others = boxes
    shown = [_shown(first, len(name) + 2), *(_shown(box, 1) for box in others)]
    return f"{name}: {f',{_FOLD}'.join(shown)}"


def text_header(name: str, value: str) -> str:
    """The header's lines. Raises SendRefused."""
    check_controls(name, value)
    if value.isascii():
        lines = _folded(name, value)
        if max(map(len, lines)) <= MAX_LINE_BYTES:
            return "\r\n".join(lines)
    return f"{name}: {_encoded_words(value, len(name) + 2)}"


def check_controls(name: str, value: str) -> None:
    """Raises SendRefused for what could end a header, and for what is too much for one."""
    if _CONTROL.search(value):
        raise SendRefused(f"Control characters are not allowed in '{name}'.")
    if len(value) > _MOST_VALUE_CHARACTERS:
        raise SendRefused("Header section too long.")


def _shown(box: Mailbox, taken: int) -> str:
    """The address with its name; `taken` characters stand before it on the line."""
    if not box.name:
        return box.address
    check_controls("address", box.name)
    name = _phrase(box.name, taken)
    before, fold, last = name.rpartition(_FOLD)
    fits = len(last) + (1 if fold else taken) + len(f" <{box.address}>") <= _LINE_CHARACTERS
    return f"{before}{fold}{last}{' ' if fits else _FOLD}<{box.address}>"


def _phrase(name: str, taken: int) -> str:
    escaped = re.sub(r'(["\\])', r"\\\1", name)
    written = name if _ATOMS.fullmatch(name) else f'"{escaped}"'
    is_plain = name.isascii() and taken + len(written) <= _LINE_CHARACTERS
    return written if is_plain else _encoded_words(name, taken)


def _folded(name: str, value: str) -> list[str]:
    """The header's lines, broken before words where it is too long; no line is blank."""
    if len(name) + len(value) < _LINE_CHARACTERS:
        return [f"{name}: {value}"]
    lines: list[str] = []
    line, has_word = f"{name}:", False
    for word in value.split(" "):
        is_word = bool(word.strip("\t"))
        if has_word and is_word and len(line) + len(word) > _LINE_CHARACTERS:
            lines.append(line)
            line, has_word = "", False
        line += f" {word}"
        has_word = has_word or is_word
    return [*lines, line]


def _encoded_words(text: str, taken: int) -> str:
    """Encoded words, one on a line, behind `taken` characters; in Q or B, whichever is shorter."""
    octets = text.encode("utf-8", "replace")
    room = _LINE_CHARACTERS - 1 - _WORD_FRAME
    first_room = max(_LEAST_ROOM, _LINE_CHARACTERS - taken) - _WORD_FRAME
    if len(_in_q(octets)) < len(_in_b(octets)):
        pieces = _pieces(text, lambda letter: len(_in_q(letter)), first_room, room)
        return _FOLD.join(f"=?utf-8?q?{_in_q(piece)}?=" for piece in pieces)
    pieces = _pieces(text, len, first_room // 4 * 3, room // 4 * 3)
    return _FOLD.join(f"=?utf-8?b?{_in_b(piece)}?=" for piece in pieces)


def _pieces(text: str, size: Callable[[bytes], int], first_room: int, room: int) -> Iterator[bytes]:
    """The text in pieces of at most this size; a letter is never cut in two, as RFC 2047 section 5 asks."""
    piece, used = bytearray(), 0
    for letter in text:
        octets = letter.encode("utf-8", "replace")
        needed = size(octets)
        if piece and used + needed > first_room:
            yield bytes(piece)
            piece, used, first_room = bytearray(), 0, room
        piece += octets
        used += needed
    yield bytes(piece)


def _in_q(octets: bytes) -> str:
    return "".join(map(_Q_OCTETS.__getitem__, octets))


def _in_b(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")
