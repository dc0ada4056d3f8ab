"""Message tags, checked as SES does and with its texts. Pure.

Those of a call replace those of the header X-SES-MESSAGE-TAGS, they are never merged.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from aws_api.ses.refusals import SendRefused

MAX_CHARACTERS: Final = 255
#: SES takes 50, two of them are ours.
MOST_TAGS: Final = 48
#: Ours: they go with every call, so that SES's events find their way back.
RESERVED: Final = frozenset({"sluice-batch", "sluice-set"})
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_VALUE: Final = re.compile(r"[A-Za-z0-9_.@-]+")


def tags_of_parameters(members: Iterable[Mapping[str, str]]) -> tuple[tuple[str, str], ...]:
    """As the call has them. Raises SendRefused."""
    return checked((one.get("Name", ""), one.get("Value", "")) for one in members)


def tags_of_header(value: str) -> tuple[tuple[str, str], ...]:
    """`a=b, c=d`. Raises SendRefused."""
    pairs = (piece.partition("=") for piece in value.split(",") if piece.strip())
    return checked((name.strip(), held.strip()) for name, _, held in pairs)


def checked(tags: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Each name once; of two values the last counts. Raises SendRefused."""
    found: dict[str, str] = {}
    for name, value in tags:
        if flaw := _flaw_of_name(name) or _flaw_of_value(value):
            raise SendRefused(flaw)
        found[name] = value
    if len(found) > MOST_TAGS:
        raise SendRefused(f"Message tag count exceeds {MOST_TAGS}.")
    return tuple(found.items())


def _flaw_of_name(name: str) -> str:
    if not name:
        return "The tag name must be specified."
    if len(name) > MAX_CHARACTERS:
        return f"Tag name cannot exceed {MAX_CHARACTERS} characters."
    if not _NAME.fullmatch(name):  # the two blanks after the first comma are SES's
        return f"Invalid tag name <{name}>: only alphanumeric ASCII characters, '_',  '-' are allowed."
    return f"Invalid tag name <{name}>: it is reserved." if name in RESERVED else ""


def _flaw_of_value(value: str) -> str:
    if not value:
        return "The tag value must be specified."
    if len(value) > MAX_CHARACTERS:
        return f"Tag value cannot exceed {MAX_CHARACTERS} characters."
    if not _VALUE.fullmatch(value):
        return f"Invalid tag value <{value}>: only alphanumeric ASCII characters, '_',  '-' , '.', '@' are allowed."
    return ""
