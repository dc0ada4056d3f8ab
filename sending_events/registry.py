"""Who is told of events: the destinations of the settings, and those of all configuration sets, looked up each second.

The settings' own (`[events] destinations`: file, log) get every event of every message and what operators did. A
destination of a set gets the events of the set's messages whose type it asks for. Its cursor, figures and dead letters
go by `<set>:<destination>`. One that this process sees for the first time and that has no cursor begins after the
newest event; those of the API have theirs from the change that enables them, and lose it with the one that disables
them, so that a process that has not seen it yet tells them nothing. A destination that changed is opened anew and goes
on where it was; the scripts are told which version of the sets is known here, and let nobody act by what one was
before. When a look fails in a way that nobody thought of, those of the last good look go on.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from config.errors import TryLater
from config.logs import get_log
from sending_events.configuration_sets.records import ConfigurationSet, EventDestination, cursor_name
from sending_events.destinations.destination import Destination
from sending_events.operator_acts import OperatorAct
from sending_events.progress import Entry, Progress, Standpoint
from sending_events.rendering import Record, event_type_of

#: Between two looks at the configuration sets.
LOOK_SECONDS = 1.0
_PART_BYTES = 4 * 1024 * 1024
# There may be many destinations of sets, and each holds a part in memory while it hangs.
_PART_BYTES_OF_A_SET = 1024 * 1024

OpenTarget = Callable[[str, EventDestination], Destination]


class Sets(Protocol):
    """What is asked of sending_events/configuration_sets/store.py."""

    async def version(self) -> str:
        """Another text after every change; of those that the API makes, a higher number."""
        ...

    async def all(self) -> tuple[ConfigurationSet, ...]:
        """Every set."""
        ...


@dataclass(frozen=True, slots=True)
class Interest:
    """What one destination is told. `event_types` None = it belongs to no set and is told everything."""

    name: str
    configuration_set: str = ""
    event_types: frozenset[str] | None = None

    def wants(self, entry: Entry, record: Record, configuration_set: str) -> bool:
        """Whether it is told of this record of that set. Raises UnreadableEvent."""
        if entry.only:
            return entry.only == self.name
        if self.event_types is None:
            return True
        if isinstance(record, OperatorAct) or configuration_set != self.configuration_set:
            return False
        return event_type_of(record) in self.event_types


@dataclass(frozen=True, slots=True)
class Subscription:
    """One destination, what it is told, and for one of a set how it was made."""

    interest: Interest
    destination: Destination
    chosen: EventDestination | None = None
    is_of_file: bool = False

    @property
    def is_of_a_set(self) -> bool:
        """Whether it is told some of the events only."""
        return self.chosen is not None

    @property
    def part_bytes(self) -> int:
        """About how much it is offered at once."""
        return _PART_BYTES_OF_A_SET if self.is_of_a_set else _PART_BYTES


class Registry:
    """The destinations of one process. `sets` None = there are no configuration sets."""

    def __init__(
        self,
        defaults: Mapping[str, Destination],
        sets: Sets | None = None,
        open_target: OpenTarget | None = None,
        *,
        default_set: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._defaults = {name: Subscription(Interest(name), destination) for name, destination in defaults.items()}
        self._sets = sets
        self._open_target = open_target
        self._default_set = default_set
        self._clock = clock
        self._of_sets: dict[str, Subscription] = {}
        self._version: str | None = None
        self._looked_at = -math.inf
        self._off: list[tuple[Standpoint, str]] = []
        self._trouble = ""

    @property
    def names(self) -> tuple[str, ...]:
        """As of the last look, those of the settings first."""
        return (*self._defaults, *self._of_sets)

    @property
    def version(self) -> str:
        """Of the sets, as of the last look; "" = the last good look goes on, whatever they are."""
        return "" if self._trouble else self._version or ""

    def subscription(self, name: str) -> Subscription | None:
        """As of the last look; None = nobody of this name is to be told of anything."""
        return self._defaults.get(name) or self._of_sets.get(name)

    def set_of(self, record: Record) -> str:
        """The configuration set whose event it is, "" = none."""
        return set_told(record, self._default_set)

    def standpoints(self, names: Sequence[str]) -> list[tuple[Standpoint, str]]:
        """Destinations of sets, for Progress.start."""
        return [_standpoint(name, self._of_sets[name]) for name in names if name in self._of_sets]

    @property
    def off(self) -> Sequence[tuple[Standpoint, str]]:
        """What the file disables, for Progress.start: a process with an older file may have given it a place since."""
        return self._off

    def look_soon(self) -> None:
        """The sets are known to have changed: the next refresh looks."""
        self._looked_at = -math.inf

    async def refresh(self, progress: Progress, *, is_urgent: bool = False) -> None:
        """Looks for changes, unless that was done within a second and is not urgent.

        Raises TryLater, and for an urgent one whatever keeps it from a first good look.
        """
        if self._sets is None or self._open_target is None:
            return
        now = self._clock()
        if not is_urgent and now - self._looked_at < LOOK_SECONDS:
            return
        try:
            await self._look(self._sets, self._open_target, progress)
        except TryLater:
            raise
        except Exception as error:
            if is_urgent and self._version is None:
                raise  # who removes events must know whose they are
            if self._trouble != repr(error):
                get_log().error("events.sets_unreadable", error=type(error).__name__, exc_info=error)
            self._trouble = repr(error)
        else:
            self._trouble = ""
        self._looked_at = now

    async def _look(self, sets: Sets, open_target: OpenTarget, progress: Progress) -> None:
        version = await sets.version()  # before the sets themselves: what changes meanwhile has another
        if version == self._version:
            return
        all_sets = await sets.all()
        found = self._found(all_sets, open_target)
        # The file is read when the process starts: what it disables has no place from then on.
        gone: Sequence[tuple[Standpoint, str]] = ()
        if self._version is None:
            gone = _disabled_in_the_file(all_sets)
            self._off = [("off", name) for _, name in gone]
        new = (_standpoint(name, found[name]) for name in sorted(found.keys() - self._of_sets.keys()))
        await progress.start([*gone, *new])
        self._of_sets, self._version = found, version

    def _found(self, sets: Iterable[ConfigurationSet], open_target: OpenTarget) -> dict[str, Subscription]:
        found = {}
        for one, chosen in enabled(sets):
            interest = interest_of(one, chosen)
            known = self._of_sets.get(interest.name)
            if known is None or known.chosen != chosen:
                known = Subscription(interest, open_target(one.name, chosen), chosen, one.is_of_file)
            found[interest.name] = known
        return found


def set_told(record: Record, default_set: str) -> str:
    """The configuration set whose event it is: the message's, else the default one; "" = none."""
    return "" if isinstance(record, OperatorAct) else record.configuration_set or default_set


def enabled(sets: Iterable[ConfigurationSet]) -> Iterator[tuple[ConfigurationSet, EventDestination]]:
    """The destinations that are told of events, with their sets."""
    return ((one, chosen) for one in sets for chosen in one.destinations if chosen.is_enabled)


def _standpoint(name: str, subscription: Subscription) -> tuple[Standpoint, str]:
    return ("file" if subscription.is_of_file else "api"), name


def _disabled_in_the_file(sets: Iterable[ConfigurationSet]) -> list[tuple[Standpoint, str]]:
    """What happens meanwhile is not told them later. Those of the API have no place while they are disabled."""
    return [
        ("gone", cursor_name(one.name, chosen.name))
        for one in sets
        if one.is_of_file
        for chosen in one.destinations
        if not chosen.is_enabled
    ]


def interest_of(one: ConfigurationSet, chosen: EventDestination) -> Interest:
    """What a destination of this set is told."""
    return Interest(cursor_name(one.name, chosen.name), one.name, chosen.event_types)


def interests(defaults: Iterable[str], sets: Iterable[ConfigurationSet]) -> dict[str, Interest]:
    """What every destination is told, by name, without opening any: those of the settings first."""
    found = {name: Interest(name) for name in defaults}
    return found | {interest.name: interest for interest in (interest_of(*pair) for pair in enabled(sets))}
