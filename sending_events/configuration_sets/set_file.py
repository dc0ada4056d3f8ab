"""The configuration sets of mailsluice.toml: read and checked, every mistake told at once. Pure.

`[configuration_sets.<name>]` has one member, EventDestinations: a list in the shape of SES's API, with the kinds,
members and event types that are ours beside SES's own (shapes.py, targets.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from config.errors import Refused
from config.settings import Settings
from sending_events.configuration_sets.records import ConfigurationSet, EventDestination
from sending_events.configuration_sets.shapes import WrongDestination, name_mistake, read_destination
from sending_events.destinations.target_addresses import AllowedTargets, url_mistake

MAX_DESTINATIONS: Final = 10
_MEMBER: Final = "EventDestinations"


class WrongSetFile(Refused):
    """The file's configuration sets cannot be used; the reason lists every mistake, one a line."""


def sets_of_file(settings: Settings) -> Mapping[str, ConfigurationSet]:
    """The file's sets by name. Raises WrongSetFile."""
    reading = _Reading(AllowedTargets.of(settings.events.allowed_targets))
    sets = {
        name: ConfigurationSet(name, tuple(reading.destinations(name, table)), is_of_file=True)
        for name, table in settings.configuration_sets.items()
    }
    if reading.mistakes:
        raise WrongSetFile("\n".join(reading.mistakes))
    return sets


def check_file(settings: Settings) -> None:
    """Raises WrongSetFile with everything that is wrong."""
    sets_of_file(settings)


@dataclass(slots=True)
class _Reading:
    """One look at all tables; afterwards `mistakes` has a line for each."""

    allowed: AllowedTargets
    mistakes: list[str] = field(default_factory=list)

    def destinations(self, name: str, table: Mapping[str, Any]) -> Iterator[EventDestination]:
        """Those of one set that can be used."""
        where = f"[configuration_sets.{name}]"
        if wrong := name_mistake(name, "configuration set"):
            self.mistakes.append(f"{where} {wrong}")
        for member in table:
            if member != _MEMBER:
                self.mistakes.append(f"{where} {member}: no such setting; allowed: {_MEMBER}")
        shapes = table.get(_MEMBER, [])
        if not isinstance(shapes, list) or not all(isinstance(shape, Mapping) for shape in shapes):
            self.mistakes.append(f"{where} {_MEMBER} must be a list of tables")
            return
        if len(shapes) > MAX_DESTINATIONS:
            self.mistakes.append(f"{where} {_MEMBER}: at most {MAX_DESTINATIONS} are allowed, not {len(shapes)}")
        names: set[str] = set()
        for number, shape in enumerate(shapes, 1):
            place = f"{where} {_MEMBER} {number} ({shape.get('Name', 'without a name')}):"
            destination = self._destination(shape, place)
            if destination is None:
                continue
            if destination.name in names:
                self.mistakes.append(f"{place} another destination of this set has the same Name")
            names.add(destination.name)
            yield destination

    def _destination(self, shape: Mapping[str, Any], place: str) -> EventDestination | None:
        try:
            destination = read_destination(shape, is_of_file=True)
        except WrongDestination as wrong_one:
            self.mistakes += [f"{place} {mistake.text}" for mistake in wrong_one.mistakes]
            return None
        if destination.kind == "webhook" and (wrong := url_mistake(destination.target["Url"], self.allowed)):
            self.mistakes.append(f"{place} Url {wrong}")
        return destination
