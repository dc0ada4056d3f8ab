"""The header section of a raw message, cut into fields as far as checks, ledger and events need it; undecoded."""

import re
from collections.abc import Iterator, Mapping, Sequence
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
    #: the bytes it was read from
    section: bytes = b""

    def first(self, lower_name: str) -> str | None:
        """The first field of that name, or None."""
        found = self.values.get(lower_name)
        return found[0] if found else None


NO_HEADERS = HeaderSection({}, {}, is_too_long=False)


def read_header_section(raw: bytes) -> HeaderSection:
    """Read up to the first empty line; a line that is no field and no continuation is passed over."""
    values: dict[str, list[str]] = {}
    written: dict[str, str] = {}
    section, is_too_long = _cut(raw)
    for name, value in fields_of(section):
        values.setdefault(name.lower(), []).append(value)
        written.setdefault(name.lower(), name)
    return HeaderSection(values, written, is_too_long, section)


def fields_of(section: bytes) -> Iterator[tuple[str, str]]:
    """Names and unfolded values in their order."""
    name: str | None = None
    value = ""
    for line in section.decode("utf-8", "replace").split("\n"):
        if line[:1] in (" ", "\t"):
            value += " " + line.strip()
            continue
        if name is not None:
            yield name, value
        written, colon, value = line.partition(":")
        name, value = (written.rstrip() if colon else None), value.strip()
    if name is not None:
        yield name, value


def _cut(raw: bytes) -> tuple[bytes, bool]:
    if raw[:2] == b"\r\n" or raw[:1] == b"\n":
        return b"", False
    end = _END.search(raw, 0, MAX_HEADER_BYTES)
    if end is not None:
        return raw[: end.start()], False
    return raw[:MAX_HEADER_BYTES], len(raw) > MAX_HEADER_BYTES
