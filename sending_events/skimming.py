"""Which destinations of configuration sets have something to do, found out for all of them with one look at the stream.

Most events are of no set, or of another one. Waking a publisher for each destination and event would cost a task each
time; so whoever announces work looks first: every entry is read once for all destinations that stand before it, and
the cursors of those that want nothing of what is there are moved to its end together. Of one that has changed since
this process looked at the sets nobody here knows what it wants: it stays, and its round finds out.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sending_events.loading import record_of
from sending_events.operator_acts import OperatorAct
from sending_events.progress import Entry, Progress, order_of
from sending_events.records import UnreadableEvent
from sending_events.registry import Interest, Registry
from sending_events.rendering import event_type_of

# Entries of one look, and looks at once; who is farther behind gets a publisher, which goes through it as well.
WINDOW = 500
_WINDOWS = 4


@dataclass(slots=True)
class _Window:
    """A piece of the stream by what it holds: places from 0, ascending."""

    entries: Sequence[Entry]
    orders: list[tuple[int, int]]
    by_type: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    by_name: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Sequence[Entry], registry: Registry) -> "_Window":
        window = cls(entries, [order_of(entry.id) for entry in entries])
        for place, entry in enumerate(entries):
            if entry.only:
                window.by_name.setdefault(entry.only, []).append(place)
                continue
            record = record_of(entry)
            if isinstance(record, OperatorAct | UnreadableEvent) or not (set_name := registry.set_of(record)):
                continue
            try:
                kind = (set_name, event_type_of(record))
            except UnreadableEvent:
                continue
            window.by_type.setdefault(kind, []).append(place)
        return window

    @property
    def is_whole(self) -> bool:
        """Whether the stream ends with it."""
        return len(self.entries) < WINDOW

    def wants(self, one: Interest, start: int) -> bool:
        """Whether the destination wants an entry from the place `start` on."""
        kinds = [(one.configuration_set, kind) for kind in one.event_types or ()]
        lists = (self.by_name.get(one.name), *(self.by_type.get(kind) for kind in kinds))
        return any(places and places[-1] >= start for places in lists)


class Skimmer:
    """One object a process; it remembers who was found to have something to do."""

    def __init__(self, progress: Progress, registry: Registry) -> None:
        self._progress = progress
        self._registry = registry
        self._found: dict[str, str] = {}

    async def wanting(self, cursors: Mapping[str, str]) -> list[str]:
        """Those of the destinations, by their cursors, that want something behind it. Raises TryLater."""
        version = self._registry.version  # before any interest is read: what changes meanwhile stays where it is
        found = [name for name, cursor in cursors.items() if self._found.get(name) == cursor]
        left = sorted(cursors.keys() - set(found), key=lambda name: order_of(cursors[name]))
        moves: list[tuple[str, str, str, int]] = []
        for _ in range(_WINDOWS):
            if not left:
                break
            entries = await self._progress.read(cursors[left[0]], WINDOW)
            if not entries:
                return found
            window = _Window.of(entries, self._registry)
            beyond = [name for name in left if order_of(cursors[name]) >= window.orders[-1]]
            for name in left[: len(left) - len(beyond)]:
                start = bisect_right(window.orders, order_of(cursors[name]))
                one = self._registry.subscription(name)
                if one is None:
                    continue
                if not window.is_whole or window.wants(one.interest, start):
                    found.append(name)
                else:
                    moves.append((name, cursors[name], entries[-1].id, len(entries) - start))
            left = beyond
        if outdated := await self._progress.skip(moves, version):
            self._registry.look_soon()
        found += [*outdated, *left]
        self._found = {name: cursors[name] for name in found}
        return found
