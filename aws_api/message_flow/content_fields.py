"""Content-Type and Content-Disposition: the value and its parameters. Never raises, linear in the length of the field.

Read as mail programs do and not as strictly as RFC 2045: what stands where no parameter can be is passed over.
Parameters in pieces and with a charset (RFC 2231) are put together.
"""

import re
from itertools import islice
from urllib.parse import unquote

from aws_api.message_flow.header_fields import decoded

#: What lies behind is not looked at: names and boundaries are far shorter.
MAX_FIELD_BYTES = 4096
MAX_PARAMETERS = 50

# Every branch is possessive and the last one takes what is left up to the next semicolon: nothing is read twice.
_PARAMETER = re.compile(
    rb';\s*+([^\s=;"]*+)\s*+(?:=\s*+(?:"((?:[^"\\]++|\\.?)*+)(?:"|\Z)|([^\s;]*+)))?+[^;]*+', re.DOTALL
)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_PIECE = re.compile(rb"([^*]++)(?:\*([0-9]{1,3}))?(\*)?")
_CHARSET = re.compile(r"([^']*)'[^']*'(.*)", re.DOTALL)


def main_value(field: bytes) -> str:
    """What stands before the first semicolon, in lower case: `multipart/mixed`, `attachment`."""
    return field[:MAX_FIELD_BYTES].partition(b";")[0].strip().lower().decode("latin-1")


def parameters(field: bytes) -> dict[str, bytes]:
    """Lower-case name → value as it stands, unquoted; of two with one name the first counts."""
    found: dict[str, bytes] = {}
    for one in islice(_PARAMETER.finditer(field[:MAX_FIELD_BYTES]), MAX_PARAMETERS):
        name, quoted, bare = one.groups(b"")
        if name:
            value = _ESCAPED.sub(rb"\1", quoted) or bare
            found.setdefault(name.lower().decode("latin-1"), value)
    return found


def parameter(field: bytes, wanted: str) -> str:
    """One parameter with its pieces put together, its charset and its encoded words decoded; "" = there is none."""
    found = parameters(field)
    if wanted in found:
        return decoded(found[wanted])
    pieces: dict[int, tuple[bytes, bool]] = {}
    for name, value in found.items():
        piece = _PIECE.fullmatch(name.encode("latin-1"))
        if piece and piece[1].decode("latin-1") == wanted:
            pieces.setdefault(int(piece[2] or 0), (value, bool(piece[3])))
    return _joined([pieces[number] for number in sorted(pieces)])


def _joined(pieces: list[tuple[bytes, bool]]) -> str:
    if not pieces:
        return ""
    charset, text = "utf-8", ""
    for number, (value, is_encoded) in enumerate(pieces):
        shown = value.decode("utf-8", "replace")
        if number == 0 and is_encoded and (named := _CHARSET.fullmatch(shown)):
            charset, shown = named[1] or charset, named[2]
        text += _unquoted(shown, charset) if is_encoded else shown
    return text


def _unquoted(text: str, charset: str) -> str:
    try:
        return unquote(text, encoding=charset, errors="replace")
    except LookupError:
        return unquote(text, errors="replace")
