"""Reads a value as a model's shape wants it, and says what is wrong with it in AWS's words. Pure.

Checked are required members, lengths, patterns, numbers' ranges and enumerations; clients themselves check only the
first two. Patterns must fit the whole text. Members that the model does not know are ignored, as AWS does: newer
clients send them. All mistakes are found at once.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from botocore.model import ListShape, MapShape, Shape, StructureShape

from aws_api.wire.forms import WrongForm, from_base64

# What of a value is repeated; a caller knows the rest.
_SHOWN_CHARACTERS = 100


class WrongKind(Exception):  # noqa: N818 - says what it is: no mistake in a value, but no such value at all
    """The value is not of the shape's kind: a number where a text belongs."""


@dataclass(slots=True)
class Reader:
    """Reads one input; afterwards `mistakes` has (parameter, what is wrong) of each."""

    lenient_shapes: frozenset[str] = frozenset()
    mistakes: list[tuple[str, str]] = field(default_factory=list)

    def read(self, shape: Shape, value: Any, path: str) -> Any:
        """The value in Python's kinds. Raises WrongKind."""
        held = _READERS[shape.type_name](self, shape, value, path)
        for wrong in _broken_limits(shape, held, is_lenient=shape.name in self.lenient_shapes):
            self.mistakes.append((path, f"Value{_shown(held)} at '{path}' failed to satisfy constraint: {wrong}"))
        return held

    def missing(self, path: str) -> None:
        """A required member that is not there."""
        self.mistakes.append((path, f"Value at '{path}' failed to satisfy constraint: Member must not be null"))

    def read_members(self, shape: StructureShape, values: dict[str, Any], path: str) -> dict[str, Any]:
        """The members of a structure from values by their name on the wire."""
        held = {}
        for name, member in shape.members.items():
            value = values.get(str(member.serialization.get("name", name)))
            member_path = f"{path}.{name}" if path else name
            if value is not None:
                held[name] = self.read(member, value, member_path)
            elif name in shape.required_members:
                self.missing(member_path)
        return held


def in_words(mistakes: list[tuple[str, str]]) -> str:
    """All mistakes in AWS's words."""
    number = len(mistakes)
    return f"{number} validation error{'s' if number > 1 else ''} detected: " + "; ".join(one for _, one in mistakes)


def _broken_limits(shape: Shape, value: Any, *, is_lenient: bool) -> list[str]:
    limits = shape.metadata
    found = []
    least, most, pattern, allowed = (limits.get(name) for name in ("min", "max", "pattern", "enum"))
    measured, kind = (len(value), "length") if isinstance(value, str | bytes | list | dict) else (value, "value")
    if isinstance(measured, int | float) and not isinstance(value, bool) and shape.type_name != "structure":
        if least is not None and measured < least:
            found.append(f"Member must have {kind} greater than or equal to {least}")
        if most is not None and measured > most:
            found.append(f"Member must have {kind} less than or equal to {most}")
    if pattern and not is_lenient and not re.fullmatch(str(pattern), value):
        found.append(f"Member must satisfy regular expression pattern: {pattern}")
    if allowed and not is_lenient and value not in allowed:
        found.append(f"Member must satisfy enum value set: [{', '.join(allowed)}]")
    return found


def _shown(value: Any) -> str:
    if isinstance(value, str | int | float):
        text = str(value)
        return f" '{text[:_SHOWN_CHARACTERS]}{'…' if len(text) > _SHOWN_CHARACTERS else ''}'"
    return ""


def _structure(reader: Reader, shape: Shape, value: Any, path: str) -> dict[str, Any]:
    assert isinstance(shape, StructureShape)
    return reader.read_members(shape, _kind(value, dict, path), path)


def _list(reader: Reader, shape: Shape, value: Any, path: str) -> list[Any]:
    assert isinstance(shape, ListShape)
    values = _kind(value, list, path)
    return [reader.read(shape.member, one, f"{path}.{number}.member") for number, one in enumerate(values, 1)]


def _map(reader: Reader, shape: Shape, value: Any, path: str) -> dict[str, Any]:
    assert isinstance(shape, MapShape)
    return {
        reader.read(shape.key, key, f"{path}.key"): reader.read(shape.value, one, f"{path}.{key[:_SHOWN_CHARACTERS]}")
        for key, one in _kind(value, dict, path).items()
        if one is not None
    }


def _text(_: Reader, __: Shape, value: Any, path: str) -> str:
    return str(_kind(value, str, path))


def _boolean(_: Reader, __: Shape, value: Any, path: str) -> bool:
    return bool(_kind(value, bool, path))


def _whole_number(_: Reader, __: Shape, value: Any, path: str) -> int:
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, float) and value.is_integer())):
        raise WrongKind(f"{path} must be a whole number")
    return int(value)


def _number(_: Reader, __: Shape, value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongKind(f"{path} must be a number")
    return float(value)


def _blob(_: Reader, __: Shape, value: Any, path: str) -> bytes:
    if isinstance(value, bytes):  # a protocol that has its own base64 decoded it
        return value
    try:
        return from_base64(_kind(value, str, path))
    except WrongForm as error:
        raise WrongKind(f"{path} must be base64") from error


def _timestamp(_: Reader, __: Shape, value: Any, path: str) -> datetime:
    try:
        if isinstance(value, str):
            at = datetime.fromisoformat(value)
            return at if at.tzinfo else at.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise WrongKind(f"{path} must be an instant: seconds since 1970, or ISO 8601")


def _kind(value: Any, kind: type, path: str) -> Any:
    if not isinstance(value, kind):
        raise WrongKind(f"{path} must be {_KIND_NAMES[kind]}")
    return value


_KIND_NAMES: Final[dict[type, str]] = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}

#: Kind of shape → how it is read.
_READERS: Final[dict[str, Callable[[Reader, Shape, Any, str], Any]]] = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _text,
    "character": _text,
    "boolean": _boolean,
    "integer": _whole_number,
    "long": _whole_number,
    "float": _number,
    "double": _number,
    "blob": _blob,
    "timestamp": _timestamp,
}
