"""One table of the rules file while it is read: every key is asked for once, and what is wrong is noted, not raised.

A mistake names its place and what is allowed: `rules.toml: rule "disclaimer" (1), action.fallback: …; allowed: …`.
What cannot be used is replaced by something harmless, so that the reading goes on to the next mistake; a file with
mistakes is never used. Keys that nobody asked for are mistakes as well, with the key that was probably meant.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from worker.functions.raw_answer import one_line

_MAX_SHOWN = 60
_T = TypeVar("_T")


class Table:
    """A table, its place in the file, and the list that collects the mistakes of all of them."""

    def __init__(self, values: dict[str, Any], place: str, mistakes: list[str]) -> None:
        self._values, self._place, self._mistakes = values, place, mistakes
        self._asked: list[str] = []

    def mistake(self, key: str, what: str) -> None:
        """Notes a mistake; key "" = about the table itself."""
        self._mistakes.append(f"{self._place}{_joint(self._place, key)}: {what}")

    def has(self, key: str) -> bool:
        """Whether the key is given; counts as asked for."""
        self._asked.append(key)
        return key in self._values

    def is_empty_list(self, key: str) -> bool:
        """Whether it is given as []."""
        return self.has(key) and self._values[key] == []

    def text(self, key: str, *, default: str = "", longest: int = 1000) -> str:
        """A text; not empty when it is given."""
        if not self.has(key):
            return default
        value = self._values[key]
        if not isinstance(value, str) or not 1 <= len(value) <= longest:
            self.mistake(key, f"{shown(value)} is no such text; allowed: 1 to {longest:,} characters")
            return default
        return value

    def required(self, key: str, *, longest: int = 1000) -> str:
        """A text that must be there."""
        if key not in self._values:
            self.has(key)
            self.mistake(key, "is missing")
            return ""
        return self.text(key, longest=longest)

    def one_of(self, key: str, allowed: Sequence[_T], *, default: _T | None = None) -> _T | None:
        """One of these words, in whatever case it is written."""
        if not self.has(key):
            if default is None:
                self.mistake(key, f"is missing; allowed: {', '.join(map(str, allowed))}")
            return default
        value = self._values[key]
        found = next((one for one in allowed if isinstance(value, str) and str(one).lower() == value.lower()), None)
        if found is None:
            self.mistake(key, f"{shown(value)} is unknown; allowed: {', '.join(map(str, allowed))}")
        return found if found is not None else default

    def number(self, key: str, lowest: float, highest: float, default: float) -> float:
        """A number within these limits."""
        if not self.has(key):
            return default
        value = self._values[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
            self.mistake(key, f"{shown(value)} is not within the limits; allowed: {lowest:g} to {highest:g}")
            return default
        return value

    def whole_number(self, key: str, lowest: int, highest: int, default: int) -> int:
        """A whole number within these limits."""
        value = self.number(key, lowest, highest, default)
        if value != int(value):
            self.mistake(key, f"{shown(value)} is no whole number; allowed: {lowest} to {highest}")
            return default
        return int(value)

    def each(self, key: str, read: Callable[[Any], _T], *, most: int) -> tuple[_T, ...]:
        """A list, or one value in place of a list of one; `read` raises ValueError for what it cannot use."""
        if not self.has(key):
            return ()
        values = self._values[key] if isinstance(self._values[key], list) else [self._values[key]]
        if len(values) > most:
            self.mistake(key, f"has {len(values):,} entries; allowed: {most:,}")
        found: list[_T] = []
        for value in values[:most]:
            try:
                found.append(read(value))
            except ValueError as error:
                self.mistake(key, f"{shown(value)}: {error}")
        return tuple(found)

    def texts(self, key: str) -> dict[str, str]:
        """A table of texts."""
        if not self.has(key):
            return {}
        value = self._values[key]
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
            self.mistake(key, 'is no table of texts; allowed: { NAME = "text", … }')
            return {}
        return value

    def tables(self, key: str, *, most: int) -> list["Table"]:
        """A list of tables, or one in place of a list of one."""
        if not self.has(key):
            return []
        value = self._values[key]
        values = value if isinstance(value, list) else [value]
        if len(values) > most:
            self.mistake(key, f"has {len(values):,} entries; allowed: {most:,}")
        found = []
        for number, one in enumerate(values[:most], 1):
            name = f"{key}[{number}]" if isinstance(value, list) else key
            if isinstance(one, dict):
                found.append(Table(one, f"{self._place}{_joint(self._place, name)}", self._mistakes))
            else:
                self.mistake(name, f"{shown(one)} is no table; allowed: {{ key = value, … }}")
        return found

    def end(self) -> None:
        """Everything that may stand here was asked for: what is left is a mistake."""
        for key, meant in self._unknown():
            known = f"did you mean {meant}?" if meant else f"allowed: {', '.join(dict.fromkeys(self._asked))}"
            self.mistake(shown(key).strip('"'), f"there is no such key; {known}")

    def will_suggest(self, *keys: str) -> bool:
        """Whether end() asks if one of these was meant, provided that everything was asked for already."""
        return any(meant in keys for _, meant in self._unknown())

    def _unknown(self) -> Iterator[tuple[str, str]]:
        """Keys that nobody asked for, and the one that was probably meant, or ""."""
        for key in self._values:
            if key not in self._asked:
                yield key, next(iter(difflib.get_close_matches(key, self._asked, 1)), "")


def _joint(place: str, key: str) -> str:
    """How a key is put behind the place of its table."""
    if not key:
        return ""
    joints = {")": ", ", ":": " "}
    return joints.get(place[-1:], ".") + key


def shown(value: object) -> str:
    """A value in a mistake: short, in one line, and safe on a terminal."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    text = one_line(f'"{value}"' if isinstance(value, str) else str(value), _MAX_SHOWN)
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
