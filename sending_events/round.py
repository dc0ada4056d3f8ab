"""One turn of one destination: reads on from its cursor, makes parts, offers them, and moves the cursor behind them.

Entries that the destination does not want, and those in the gap of a replay, cost no message and no line: the part
before them carries the cursor past them. An entry that can have no line, or that a failing destination has not taken
for `max_age_seconds`, becomes a dead letter in its place, so that the order of the rest stays.

One odd event blocks nobody: an error that no destination should raise is answered as a refusal is, by halving the part;
the event that is then alone is tried ODD_TRIES times, with the pauses of any failure, and becomes a dead letter.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from structlog.typing import FilteringBoundLogger

from config.errors import Refused, TryLater
from config.failpoints import Failpoints
from sending_events.destinations.destination import part_records
from sending_events.loading import Loader, Read, record_of
from sending_events.progress import REFUSED, TOO_OLD, DeadCounter, Entry, Passed, Progress, Turn, order_of, pause_ms
from sending_events.records import UnreadableEvent
from sending_events.registry import Registry, Subscription
from sending_events.rendering import Known

# Messages in memory at once: one with 500 recipients takes 60 kB as objects, one with 10,000 a megabyte.
GROUP = 50
# Tries of an event that a destination fails over in a way that nobody thought of; so it may also be a passing trouble.
ODD_TRIES = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one round does."""

    #: Most records of one part, and most entries of one read.
    batch: int = 500
    #: After this a round ends with the part that is under way.
    budget_seconds: float = 10.0
    #: Longest wait for a destination to take a part.
    take_seconds: float = 30.0
    #: Age at which a failing destination is not offered an event any more.
    max_age_seconds: float = 3 * 86400.0


class Item(NamedTuple):
    """An entry that is offered, or with a counter is a dead letter."""

    entry: Entry
    #: Its number in what was read, from 1.
    place: int
    line: bytes = b""
    counter: DeadCounter | None = None
    reason: str = ""


@dataclass(slots=True)
class Part:
    """Entries that the cursor moves past together: from the place `after`, without it, up to `until`, which is `to`.

    `items` are those of them that matter, all to be offered or all dead letters.
    """

    after: int = 0
    until: int = 0
    to: str = ""
    items: list[Item] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def counter(self) -> DeadCounter | None:
        """What the items count as when they are dead letters."""
        return self.items[0].counter if self.items else None

    def add(self, item: Item) -> None:
        """One more at the end."""
        self.items.append(item)
        self.size_bytes += len(item.line)
        self.to, self.until = item.entry.id, item.place

    def halves(self) -> tuple["Part", "Part"]:
        """Two parts, the earlier items first."""
        first, second = self.items[: len(self.items) // 2], self.items[len(self.items) // 2 :]
        cut = first[-1]
        return (
            Part(self.after, cut.place, cut.entry.id, first),
            Part(cut.place, self.until, self.to, second),
        )


class _Odd(Exception):  # noqa: N818 - says about the error that it has as its cause that it is a bug
    """The destination failed over a part in a way that nobody thought of."""


class _RoundOver(Exception):  # noqa: N818 - no error: the turn was lost, or the destination is left alone for a while
    """Nothing more may be offered in this round."""


@dataclass(slots=True, kw_only=True)
class Round:
    """One turn of one destination; `turn` moves with the cursor."""

    progress: Progress
    registry: Registry
    loader: Loader
    subscription: Subscription
    turn: Turn
    failpoints: Failpoints
    log: FilteringBoundLogger
    limits: Limits
    taken: int = 0

    async def run(self, clock: Callable[[], float]) -> int:
        """How many events were taken, when what waited is done, the budget is used or the turn is over."""
        ends_at = clock() + self.limits.budget_seconds
        with contextlib.suppress(_RoundOver):
            while entries := await self.progress.read(self.turn.cursor, self.limits.batch):
                async with contextlib.aclosing(self._parts(entries)) as parts:
                    async for part in parts:
                        await self._offer(part)
                        if clock() >= ends_at:
                            return self.taken
                if len(entries) < self.limits.batch:
                    break  # what came meanwhile is for the next round: many at a time cost less
        return self.taken

    async def _parts(self, entries: Sequence[Entry]) -> AsyncGenerator[Part, None]:
        most = part_records(self.subscription.destination, self.limits.batch)
        part = Part()
        seen: dict[str, Known] = {}
        for start in range(0, len(entries), GROUP):
            group = entries[start : start + GROUP]
            for item in await self._items(group, start, seen):
                if part.items and part.counter != item.counter:
                    yield part
                    part = Part(part.until)
                part.add(item)
                if len(part.items) >= most or part.size_bytes >= self.subscription.part_bytes:
                    yield part
                    part = Part(part.until)
            part.to, part.until = group[-1].id, start + len(group)
        if part.until > part.after:
            yield part

    async def _items(self, group: Sequence[Entry], before: int, seen: dict[str, Known]) -> list[Item]:
        """What of a group matters to the destination, in order."""
        wanted = [(place, read) for place, entry in enumerate(group, before + 1) if (read := self._wanted(entry))]
        old = [] if self.turn.failures == 0 else [one for one in wanted if self._is_too_old(one[1].entry)]
        if old:
            wanted = wanted[len(old) :]  # the stream is in order of age
        lines = await self.loader.lines([read for _, read in wanted], seen) if wanted else []
        reason = f"not taken for {self.limits.max_age_seconds:g} s"
        return [
            *(Item(read.entry, place, b"", TOO_OLD, reason) for place, read in old),
            *(_item(read.entry, place, line) for (place, read), line in zip(wanted, lines, strict=True)),
        ]

    def _wanted(self, entry: Entry) -> Read | None:
        if self.turn.skip_to and self.turn.is_skipped(entry.id):
            return None
        record = record_of(entry)
        if isinstance(record, UnreadableEvent):  # nobody knows whose it is
            return None if self.subscription.is_of_a_set else Read(entry, record)
        configuration_set = self.registry.set_of(record)
        try:
            is_wanted = self.subscription.interest.wants(entry, record, configuration_set)
        except UnreadableEvent as error:
            return None if self.subscription.is_of_a_set else Read(entry, error)
        return Read(entry, record, configuration_set) if is_wanted else None

    def _is_too_old(self, entry: Entry) -> bool:
        """Only where the destination is known to fail: after a rest of the publisher itself everything is offered."""
        return order_of(entry.id)[0] < self.turn.began_at_ms - self.limits.max_age_seconds * 1000

    async def _offer(self, part: Part) -> None:
        """Returns when the cursor is behind the part. Raises _RoundOver."""
        waiting = [part]
        while waiting:
            part = waiting.pop()
            if not part.items or part.counter:
                await self._pass(part)
                continue
            try:
                await self._take(part)
            except (Refused, _Odd) as error:
                if len(part.items) > 1:
                    waiting += reversed(part.halves())
                else:
                    reason = error.reason if isinstance(error, Refused) else await self._given_up(error)
                    part.items = [Item(part.items[0].entry, part.until, counter=REFUSED, reason=reason)]
                    await self._pass(part)
            else:
                self.failpoints.reached("publisher.after_write")
                await self._pass(part)
                self.taken += len(part.items)

    async def _take(self, part: Part) -> None:
        try:
            async with asyncio.timeout(self.limits.take_seconds):
                await self.subscription.destination.take([item.line for item in part.items])
        except Refused:
            raise
        except (TryLater, TimeoutError) as error:
            await self._remember(error)
            raise _RoundOver from error
        except Exception as error:
            raise _Odd from error

    async def _given_up(self, odd: _Odd) -> str:
        """Why the only event of a part is a dead letter now. Raises _RoundOver when it is to be tried once more."""
        error = odd.__cause__
        assert isinstance(error, Exception)
        words = f"{type(error).__name__}: {error}"
        if self.turn.odd_failures + 1 < ODD_TRIES:
            await self._remember(error, is_odd=True)
            raise _RoundOver from error
        return f"the destination fails over it, {ODD_TRIES} times: {words}"

    async def _remember(self, error: Exception, *, is_odd: bool = False) -> None:
        failures = self.turn.failures + 1
        pause = pause_ms(failures, error.after_seconds if isinstance(error, TryLater) else None)
        reason = error.reason if isinstance(error, TryLater) else f"{type(error).__name__}: {error}"
        self.log.warning(
            "events.failed",
            destination=self.turn.name,
            reason=reason,
            detail=error.detail if isinstance(error, TryLater) else "",
            failures=failures,
            next_try_in_seconds=pause / 1000,
            **({"exc_info": error} if is_odd else {}),
        )
        await self.progress.fail(self.turn, pause, reason, is_odd=is_odd)

    async def _pass(self, part: Part) -> None:
        """Moves the cursor behind the part; items with a counter become dead letters. Raises _RoundOver."""
        dead = [(item.entry, item.reason) for item in part.items] if part.counter else []
        if part.counter == REFUSED:
            for entry, reason in dead:
                self.log.error("events.refused", destination=self.turn.name, event_id=entry.event_id, reason=reason)
        elif dead:
            self.log.error("events.too_old", destination=self.turn.name, events=len(dead))
        taken = 0 if part.counter else len(part.items)
        passed = Passed(part.to, part.until - part.after, taken, dead, part.counter or REFUSED)
        turn = await self.progress.advance(self.turn, passed)
        if turn is None:
            raise _RoundOver
        self.turn = turn


def _item(entry: Entry, place: int, line: bytes | UnreadableEvent) -> Item:
    if isinstance(line, UnreadableEvent):
        return Item(entry, place, counter=REFUSED, reason=line.detail)
    return Item(entry, place, line)
