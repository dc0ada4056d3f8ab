"""The header section of a raw message, cut into fields as far as checks and ledger need it; nothing is decoded."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: what is looked at; SES has a limit of its own ("Header section too long.") and does not publish it
MAX_HEADER_BYTES = 256 * 1024

_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class HeaderSection:
    """Values by lower-case name in the order of their appearance, unfolded; names as they were written."""

    values: Mapping[str, Sequence[str]]
    written_names: Mapping[str, str]
    is_too_long: bool

    def first(self, lower_name: str) -> str | None:
        """The first field of that name, or None."""
        found = self.values.get(lower_name)
        return found[0] if found else None


def read_header_section(raw: bytes) -> HeaderSection:
    """Read up to the first empty line; a line that is no field and no continuation is passed over."""
    values: dict[str, list[str]] = {}
    written: dict[str, str] = {}
    section, is_too_long = _cut(raw)
    current: list[str] | None = None
    for line in section.decode("utf-8", "replace").split("\n"):
        if line[:1] in (" ", "\t"):
            if current is not None:
                current[-1] += " " + line.strip()
            continue
        name, colon, value = line.partition(":")
        if not colon:
            current = None
            continue
        name = name.rstrip()
        current = values.setdefault(name.lower(), [])
        current.append(value.strip())
        written.setdefault(name.lower(), name)
    return HeaderSection(values, written, is_too_long)


def _cut(raw: bytes) -> tuple[bytes, bool]:
    if raw[:2] == b"\r\n" or raw[:1] == b"\n":
        return b"", False
    end = _END.search(raw, 0, MAX_HEADER_BYTES)
    if end is not None:
        return raw[: end.start()], False
    return raw[:MAX_HEADER_BYTES], len(raw) > MAX_HEADER_BYTES
