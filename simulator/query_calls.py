"""A call of the Query protocol that is no send, and the XML that answers are made of."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from simulator.query_wire import escaped
from simulator.refusals import INVALID_PARAMETER, Refused
from simulator.simulated import Simulated

_MEMBER = re.compile(r"\.member\.([0-9]{1,4})$")


@dataclass(frozen=True, slots=True)
class QueryCall:
    """The fields of a form, and whom and where they are for."""

    simulated: Simulated
    fields: Mapping[str, str]
    region: str

    def text(self, name: str) -> str:
        """A field; "" when it is not there."""
        return self.fields.get(name, "")

    def texts(self, name: str) -> list[str]:
        """A list, in the order of its numbers."""
        found = {
            int(number[1]): value
            for field, value in self.fields.items()
            if field.startswith(f"{name}.member.") and (number := _MEMBER.search(field))
        }
        return [found[number] for number in sorted(found)]

    def attributes(self, prefix: str, known: frozenset[str]) -> dict[str, str]:
        """A map of `entry.N.key` and `entry.N.value`; raises Refused for a key that is not known."""
        names = {field: value for field, value in self.fields.items() if re.fullmatch(rf"{prefix}\.[0-9]+\.key", field)}
        if any(name not in known for name in names.values()):
            raise Refused(INVALID_PARAMETER, "Invalid parameter: Attributes Reason: Unknown attribute")
        return {name: self.text(f"{field[:-3]}value") for field, name in names.items()}


def texts_of(values: Mapping[str, str]) -> str:
    """Elements that hold a text each."""
    return "".join(f"<{name}>{escaped(value)}</{name}>" for name, value in values.items())


def members(name: str, inner: Iterable[str]) -> str:
    """A list; `inner` is XML already."""
    return f"<{name}>{''.join(f'<member>{one}</member>' for one in inner)}</{name}>"


def entries(name: str, values: Mapping[str, str]) -> str:
    """A map of texts."""
    inner = (f"<entry>{texts_of({'key': key, 'value': value})}</entry>" for key, value in values.items())
    return f"<{name}>{''.join(inner)}</{name}>"
