"""File names in the values of Content-Disposition and Content-Type, in every way in which a reader may find them.

Theory of operation
1. A parameter begins at `filename` or `name` with = behind it, wherever that stands: behind a comma, behind a comment,
   within another value. Readers differ in what they take for the end of a value and in what they make of quotes,
   comments, backslashes and of pieces (RFC 2231) that are missing or given twice. Where a value is written as it should
   be there is one reading; where it is not, each reading is a name.
2. So there may be names that no reader shows; a name that one shows is rarely missing.
Linear for any bytes; raises nothing.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from urllib.parse import unquote_to_bytes

from spool.header_text import decoded, text_of

# RFC 2231: name*0*=…; name*1=…; name*=charset'language'…
_PARAMETER = re.compile(rb"(?i)(?<![\w*.%?-])(filename|name)(?:\*(\d{1,100}))?(\*)?\s*+=\s*+")
# A reading ends at the next quote that is not escaped, so none goes further than the opening quote of the next value.
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*+)"?', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
# What every reader takes for an escape.
_FAIR_ESCAPE = re.compile(rb'\\["\\]')
_TOKEN = re.compile(rb'[^\s"(,]*+')
# Up to a semicolon that is not between quotes.
_EVEN = re.compile(rb'(?:[^;"]++|"(?:[^"\\]|\\.)*+"?)*+', re.DOTALL)
_PIECE = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[()]|[^"()]++', re.DOTALL)

# number → is it percent-encoded, octets
_Sections = Mapping[int, tuple[bool, bytes]]


def file_names(value: bytes) -> list[str]:
    """Every file name in the value of a header, none twice."""
    found = dict.fromkeys(_names(value))
    if b"(" in value and (bare := _without_comments(value)) != value:
        found |= dict.fromkeys(_names(bare))
    # Some take a name without what Windows would not keep at its end.
    found |= dict.fromkeys([name.rstrip(". \\") for name in found if name.endswith((".", "\\"))])
    return [name for name in found if name]


def _names(value: bytes) -> Iterator[str]:
    pieces: dict[bytes, list[tuple[int, bool, list[bytes]]]] = {}
    starts = list(_PARAMETER.finditer(value))
    for found, after in zip_longest(starts, starts[1:]):
        readings = _readings(value, found.end(), after.start() if after else len(value))
        if found[2] is None and found[3] is None:
            yield from map(text_of, readings)
        else:
            pieces.setdefault(found[1].lower(), []).append((int(found[2] or 0), bool(found[3]), readings))
    for some in pieces.values():
        for which in (0, -1):  # as it is most likely meant, and taken as widely as can be
            yield from _joined([(number, is_encoded, readings[which]) for number, is_encoded, readings in some])


def _readings(value: bytes, start: int, end: int) -> list[bytes]:
    """What the text between may mean, the likeliest first; a quoted one may reach beyond `end`."""
    text = value[start:end]
    first, even = text.partition(b";")[0].strip(), _EVEN.match(text)
    assert even is not None, "it may be empty"
    whole = even[0].strip()
    quoted = _QUOTED.match(value, start)
    if quoted is None:
        token = _TOKEN.match(first)
        assert token is not None, "it may be empty"
        if token[0] == whole:
            return [whole]
        return [token[0], first, first.replace(b'"', b""), whole, whole.replace(b'"', b"")]
    found = [_ESCAPED.sub(rb"\1", quoted[1])]
    if b"\\" in _FAIR_ESCAPE.sub(b"", quoted[1]):
        found.append(quoted[1])
    if rest := value[quoted.end() : end].partition(b";")[0].strip():
        found += [(quoted[1] + rest).replace(b'"', b""), whole, whole.replace(b'"', b"")]
    return found


def _without_comments(value: bytes) -> bytes:
    depth, kept = 0, []
    for found in _PIECE.finditer(value):
        if found[0] == b"(":
            depth += 1
        elif found[0] == b")" and depth:
            depth -= 1
        elif depth == 0:
            kept.append(found[0])
    return b"".join(kept)


def _joined(pieces: Sequence[tuple[int, bool, bytes]]) -> Iterator[str]:
    """The name that the pieces make, and others when some are missing, there twice or not in their order."""
    ordered = sorted(pieces, key=lambda piece: piece[0])
    yield _text((is_encoded, text) for _, is_encoded, text in ordered)
    if [number for number, _, _ in pieces] != list(range(len(pieces))):
        last = {number: (is_encoded, text) for number, is_encoded, text in ordered}
        first = {number: (is_encoded, text) for number, is_encoded, text in reversed(ordered)}
        yield from (_text(_unbroken(first)), _text(_unbroken(last)))
        yield from (_text([(is_encoded, text)]) for _, is_encoded, text in ordered)


def _unbroken(sections: _Sections) -> Iterator[tuple[bool, bytes]]:
    number = min(sections)
    while number in sections:
        yield sections[number]
        number += 1


def _text(sections: Iterable[tuple[bool, bytes]]) -> str:
    charset, octets = "utf-8", []
    for place, (is_encoded, text) in enumerate(sections):
        rest = text
        if is_encoded and place == 0 and text.count(b"'") >= 2:
            name, _, rest = text.split(b"'", 2)
            charset = name.decode("ascii", "replace")
        octets.append(unquote_to_bytes(rest) if is_encoded else rest)
    return decoded(b"".join(octets), charset).strip()
