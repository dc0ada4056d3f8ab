"""Form bodies cut into fields, and their values decoded. Pure.

A form parser of the standard library costs more than all the rest of a call, because a message of some megabytes is
percent-decoded in Python. Here the body is cut at `&` as bytes; a value is decoded when its kind is known, and a
large one by the decoder of quoted-printable, which is C and the same thing but for the letter before the two digits.
"""

import binascii
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

#: More than any real call has; a body of ampersands must not become millions of objects.
MOST_FIELDS: Final = 10_000
MOST_PARTS_OF_A_NAME: Final = 20
_MOST_NAME_BYTES: Final = 500
#: In one large value; no client writes any, and each costs.
MOST_BROKEN_ESCAPES: Final = 1000
_LARGE_BYTES: Final = 4096
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")

#: Part of a name → what lies below it, or the value as it came.
Tree = dict[str, Any]


class WrongForm(Exception):  # noqa: N818 - says what it is
    """Not a form that could be a call, or a value that is no base64."""


def tree_of(form: bytes) -> Tree:
    """The fields by the parts of their dotted names; of two fields with one name the first counts. Raises WrongForm."""
    if form.count(b"&") >= MOST_FIELDS:
        raise WrongForm("The request has too many parameters.")
    tree: Tree = {}
    for pair in form.split(b"&"):
        name, _, value = pair.partition(b"=")
        if len(name) > _MOST_NAME_BYTES:
            raise WrongForm("A parameter's name is too long.")
        if name:
            _put(tree, text_of(name).split("."), value)
    return tree


def _put(tree: Tree, parts: list[str], value: bytes) -> None:
    if len(parts) > MOST_PARTS_OF_A_NAME:
        raise WrongForm("A parameter's name has too many parts.")
    for part in parts[:-1]:
        below = tree.setdefault(part, {})
        if not isinstance(below, dict):
            if below:
                raise WrongForm(f"The parameter {part[:100]} has a value and members.")
            below = tree[part] = {}  # an empty list, and members after all
        tree = below
    tree.setdefault(parts[-1], value)


def text_of(value: bytes) -> str:
    """A value as text; bytes that are no UTF-8 become U+FFFD. Raises WrongForm."""
    if b"+" in value:
        value = value.replace(b"+", b" ")
    return _without_escapes(value).decode("utf-8", "replace")


def blob_of(value: bytes) -> bytes:
    """A value that is base64, perhaps with line breaks inside (clients of 2011 wrap it). Raises WrongForm.

    A bare + is a blank in a form; but a client that escapes no + at all means the digit by it.
    """
    if b"+" in value and (b"%2B" in value or b"%2b" in value):
        value = value.replace(b"+", b"")
    return from_base64(_without_escapes(value))


def from_base64(text: bytes | str) -> bytes:
    """Strictly, but line breaks and blanks inside may be there. Raises WrongForm."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        pass
    raw = text.encode("ascii", "replace") if isinstance(text, str) else text
    try:
        return binascii.a2b_base64(raw.translate(None, b" \t\r\n"), strict_mode=True)
    except binascii.Error as error:
        raise WrongForm("The value is not valid base64.") from error


def _without_escapes(value: bytes) -> bytes:
    if b"%" not in value:
        return value
    if len(value) < _LARGE_BYTES:
        return unquote_to_bytes(value)
    value, broken = _BROKEN_ESCAPE.subn(b"%25", value, count=MOST_BROKEN_ESCAPES + 1)
    if broken > MOST_BROKEN_ESCAPES:
        raise WrongForm("A value has too many percent signs that escape nothing.")
    return binascii.a2b_qp(value.replace(b"=", b"%3D").replace(b"%", b"="))


def members_of(tree: Mapping[str, Any]) -> list[Any]:
    """What lies below `member.N`, in the order of the numbers. Raises WrongForm."""
    members = tree.get("member", {})
    if not isinstance(members, dict) or not all(_is_number(one) for one in members):
        raise WrongForm("The members of a list are named member.1, member.2 and so on.")
    return [members[number] for number in sorted(members, key=int)]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9
