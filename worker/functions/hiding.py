"""Values of a function's environment are shown to nobody: what stands in their place in a text.

A value is found as it is, and as Python, Node and JSON write it between quotes. What a handler makes of it otherwise
(its half, its hash) is not found. Pure.
"""

import json
from collections.abc import Iterable, Sequence

#: A shorter value would be found in every second word.
LEAST_CHARACTERS = 4
_MASK = "***"


def spellings(values: Iterable[str]) -> tuple[str, ...]:
    """All ways in which these values may be written, the longest first: one may be a part of another."""
    found = {spelling for value in values for one in (value, value.strip()) for spelling in _spellings(one)}
    return tuple(sorted((one for one in found if len(one) >= LEAST_CHARACTERS), key=len, reverse=True))


def hide(text: str, hidden: Sequence[str], *, is_cut: bool = False) -> str:
    """The text without them. Of a text that was cut, the end may be the beginning of one."""
    if is_cut and (characters := max((_begun_at_end(text, one) for one in hidden), default=0)):
        text = text[:-characters] + _MASK
    for one in hidden:
        text = text.replace(one, _MASK)
    return text


def _spellings(value: str) -> tuple[str, ...]:
    return (
        value,
        value.replace("\\", "\\\\"),
        repr(value)[1:-1],
        ascii(value)[1:-1],
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
    )


def _begun_at_end(text: str, hidden: str) -> int:
    """How many of its characters the text ends with, from the first one on."""
    for characters in range(min(len(hidden), len(text)), 0, -1):
        if text.endswith(hidden[:characters]):
            return characters
    return 0
