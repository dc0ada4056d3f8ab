"""The publisher: brings the events of the spool to the destinations, each at its own pace.

Theory of operation
1. Events lie in one stream, in the order of the state changes that wrote them. The entry's id is the event's id.
2. Every destination has a cursor: the last entry it has taken. A new destination starts at the oldest entry kept.
3. `publish` takes the destination's turn, reads on from the cursor, renders, gives a part to the destination, and
   moves the cursor when the part was taken. A crash between taking and moving offers the same part again, with the
   same event ids: at least once. A process that lost its turn meanwhile moves nothing.
4. A destination that fails is left alone by all processes for a growing pause; the others do not notice.
5. A part that is refused for good is halved until the refused entry is alone; that one becomes a dead letter and the
   rest is taken, in order. An entry that cannot be rendered becomes a dead letter at once.
6. `trim` removes what all configured destinations have taken, and the oldest entries beyond `max_backlog`: a dead
   destination loses events, counted, before the server fills up. A destination that is no longer configured holds
   nothing back; configured again, it goes on where it was or at the oldest entry kept.
Invariant: every entry is in the stream, or behind every configured cursor, or counted as lost; an entry behind a
cursor was taken at least once or is counted as refused.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from config.errors import Refused, TryLater
from config.failpoints import Failpoints
from config.logs import get_log
from sending_events.destinations.destination import Destination
from sending_events.operator_acts import Record, decoded, line_of
from sending_events.progress import Entry, Progress, Turn, pause_ms
from sending_events.records import EventRecord, UnreadableEvent
from spool.store import Spool

# Messages in memory at once: one with 500 recipients takes 60 kB as objects, one with 10,000 a megabyte.
GROUP = 50
# A part is given away when it has this size, however few records it holds.
PART_BYTES = 4 * 1024 * 1024


@dataclass(slots=True)
class Part:
    """Entries and their lines that are offered together, in order. With a reason: one entry that has no line."""

    entries: list[Entry] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    reason: str = ""

    def add(self, entry: Entry, line: bytes) -> None:
        """One more at the end."""
        self.entries.append(entry)
        self.lines.append(line)
        self.size_bytes += len(line)

    def halves(self) -> tuple["Part", "Part"]:
        """Two parts, the earlier entries first."""
        middle = len(self.entries) // 2
        return Part(self.entries[:middle], self.lines[:middle]), Part(self.entries[middle:], self.lines[middle:])


class _RoundOver(Exception):  # noqa: N818 - no error: the turn was lost, or the destination is left alone for a while
    """Nothing more may be offered in this round."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one round does."""

    #: Most records of one part.
    batch: int = 500
    #: After this a round ends with the part that is under way.
    budget_seconds: float = 10.0
    #: Longest wait for a destination to take a part.
    take_seconds: float = 30.0


class Publisher:
    """Gives events to destinations. One object a process; any number of processes."""

    def __init__(
        self,
        spool: Spool,
        destinations: Mapping[str, Destination],
        failpoints: Failpoints,
        *,
        batch: int = 500,
        budget_seconds: float = 10.0,
        take_seconds: float = 30.0,
        lock_seconds: float = 10.0,
        max_backlog: int = 1_000_000,
        clock: Callable[[], float] = time.monotonic,
        log: FilteringBoundLogger | None = None,
    ) -> None:
        self._spool = spool
        self._destinations = destinations
        self._failpoints = failpoints
        self._limits = Limits(batch, budget_seconds, take_seconds)
        self._max_backlog = max_backlog
        self._clock = clock
        self._log = log or get_log()
        self._progress = Progress(spool.redis, lock_seconds=lock_seconds)

    @property
    def names(self) -> tuple[str, ...]:
        """The configured destinations."""
        return tuple(self._destinations)

    async def publish(self, name: str) -> int:
        """Offers what waits for a destination until nothing waits or the budget is used; how many were taken.

        0 at once when another process serves the destination or it is left alone after a failure. Raises TryLater
        when the spool does not answer; a destination's own failure is logged and remembered, not raised.
        """
        destination = self._destinations[name]
        async with self._progress.turn(name) as turn:
            if turn is None:
                return 0
            one_round = _Round(
                spool=self._spool,
                progress=self._progress,
                destination=destination,
                turn=turn,
                failpoints=self._failpoints,
                log=self._log,
            )
            taken = await one_round.run(self._limits, self._clock)
        if taken:
            self._log.debug("events.published", destination=name, events=taken)
        return taken

    async def has_work(self, name: str) -> bool:
        """Whether `publish` would have something to offer now; cheap."""
        return await self._progress.has_work(name)

    async def backlogs(self) -> dict[str, int]:
        """Entries waiting for each destination; cheap."""
        return await self._progress.backlogs(self.names)

    async def trim(self) -> int:
        """Removes what every destination has taken, and the oldest beyond `max_backlog`; how many were removed."""
        removed = 0
        while True:
            step = await self._progress.trim(self.names, self._max_backlog)
            removed += step.removed
            for name, lost in step.lost.items():
                self._log.error("events.lost", destination=name, events=lost, max_backlog=self._max_backlog)
            if step.too_many <= 0:
                return removed


@dataclass(slots=True, kw_only=True)
class _Round:
    """One turn of one destination; `turn` moves with the cursor."""

    spool: Spool
    progress: Progress
    destination: Destination
    turn: Turn
    failpoints: Failpoints
    log: FilteringBoundLogger
    taken: int = 0

    async def run(self, limits: Limits, clock: Callable[[], float]) -> int:
        ends_at = clock() + limits.budget_seconds
        with contextlib.suppress(_RoundOver):
            while entries := await self.progress.read(self.turn, limits.batch):
                async with contextlib.aclosing(self._parts(entries)) as parts:
                    async for part in parts:
                        await self._offer(part, limits.take_seconds)
                        if clock() >= ends_at:
                            return self.taken
        return self.taken

    async def _parts(self, entries: Sequence[Entry]) -> AsyncGenerator[Part, None]:
        part = Part()
        for start in range(0, len(entries), GROUP):
            for entry, line in await self._rendered(entries[start : start + GROUP]):
                if isinstance(line, UnreadableEvent):
                    if part.entries:
                        yield part
                    yield Part([entry], reason=line.detail)
                    part = Part()
                    continue
                part.add(entry, line)
                if part.size_bytes >= PART_BYTES:
                    yield part
                    part = Part()
        if part.entries:
            yield part

    async def _rendered(self, entries: Sequence[Entry]) -> list[tuple[Entry, bytes | UnreadableEvent]]:
        records = [(entry, _decoded(entry)) for entry in entries]
        message_ids = {record.message_id for _, record in records if isinstance(record, EventRecord)}
        messages = await self.spool.load_summaries(list(message_ids))
        lines: list[tuple[Entry, bytes | UnreadableEvent]] = []
        for entry, record in records:
            if isinstance(record, UnreadableEvent):
                lines.append((entry, record))
                continue
            try:
                lines.append((entry, line_of(record, messages, entry.id)))
            except UnreadableEvent as error:
                lines.append((entry, error))
        return lines

    async def _offer(self, part: Part, take_seconds: float) -> None:
        """Returns when the cursor is behind the part. Raises _RoundOver."""
        waiting = [part]
        while waiting:
            part = waiting.pop()
            if part.reason:
                await self._give_up(part.entries[0], part.reason)
                continue
            try:
                await self._take(part, take_seconds)
            except Refused as error:
                if len(part.entries) > 1:
                    waiting += reversed(part.halves())
                else:
                    await self._give_up(part.entries[0], error.reason)
            else:
                self.failpoints.reached("publisher.after_write")
                await self._advance(part.entries)
                self.taken += len(part.entries)

    async def _take(self, part: Part, take_seconds: float) -> None:
        try:
            async with asyncio.timeout(take_seconds):
                await self.destination.take(part.lines)
        except Refused:
            raise
        except Exception as error:
            await self._remember(error)
            if isinstance(error, TryLater | TimeoutError):
                raise _RoundOver from error
            raise  # a bug: for the edge of the process, but no reason to offer the part without a pause

    async def _remember(self, error: Exception) -> None:
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
        )
        await self.progress.fail(self.turn, pause, reason)

    async def _give_up(self, entry: Entry, reason: str) -> None:
        self.log.error("events.refused", destination=self.turn.name, event_id=entry.id, reason=reason)
        await self._advance([entry], refused=[(entry, reason)])

    async def _advance(self, entries: Sequence[Entry], refused: Sequence[tuple[Entry, str]] = ()) -> None:
        turn = await self.progress.advance(self.turn, entries[-1].id, len(entries), refused)
        if turn is None:
            raise _RoundOver
        self.turn = turn


def _decoded(entry: Entry) -> Record | UnreadableEvent:
    try:
        return decoded(entry.raw)
    except UnreadableEvent as error:
        return error
