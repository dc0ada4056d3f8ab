"""The publisher: brings the events of the spool to the destinations, each at its own pace.

Theory of operation
1. Events lie in one stream, in the order of the state changes that wrote them. The entry's id is the event's id.
2. Every destination has a cursor: the last entry it has taken or did not want. A new one of the settings starts at the
   oldest entry kept, a new one of a configuration set after the newest (registry.py); without a cursor it is told
   nothing and holds nothing back. A process acts by the sets that it looked at within a second: a script that finds a
   later change of the destination does nothing for it, and the process looks again.
3. `publish` takes the destination's turn, reads on from the cursor, leaves out what it does not want, renders the rest,
   gives a part to the destination, and moves the cursor when the part was taken (round.py). A crash between taking and
   moving offers the same part again, with the same event ids: at least once. A process that lost its turn meanwhile
   moves nothing and notes no failure; an update of the destination and a replay take the turn away.
4. A destination that fails is left alone by all processes for a growing pause; the others do not notice. What it has
   not taken for `max_age_seconds` becomes a dead letter.
5. A part that is refused for good is halved until the refused entry is alone; that one becomes a dead letter and the
   rest is taken, in order. So does one that a destination fails over in a way that nobody thought of, five times. An
   entry that cannot be rendered becomes a dead letter at once.
6. `trim` removes what all destinations have behind them, but for what is kept for a replay, and the oldest entries
   beyond `max_backlog` or `max_backlog_bytes`: a dead destination loses events, counted, before the server fills up.
   While the server is above its mark nothing is kept for a replay. A destination that is no longer configured holds
   nothing back; configured again, it goes on where it was or at the oldest entry kept.
7. A replay sets a cursor back (replay.py): 3 goes on from there, with the same event ids.
Invariant: every entry is in the stream, or behind every configured cursor, or counted as lost; an entry behind a
cursor was not wanted, was taken at least once, or is counted as refused or as too old.
"""

import random
import time
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from config.failpoints import Failpoints
from config.logs import get_log
from config.settings import MIB
from sending_events.loading import Loader
from sending_events.progress import Kept, Most, Progress, SetsChanged, Trim
from sending_events.registry import Registry, Subscription
from sending_events.round import Limits, Round
from sending_events.skimming import Skimmer
from spool.store import Spool

# Looks at sets that change all the time, before something is left for later.
_LOOKS = 3


class Publisher:
    """Gives events to destinations. One object a process; any number of processes."""

    def __init__(
        self,
        spool: Spool,
        registry: Registry,
        failpoints: Failpoints,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        *,
        lock_seconds: float = 10.0,
        max_backlog: int = 1_000_000,
        max_backlog_bytes: int = 512 * MIB,
        kept: Kept = Kept(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.monotonic,
        log: FilteringBoundLogger | None = None,
    ) -> None:
        self._registry = registry
        self._failpoints = failpoints
        self._limits = limits
        self._max_backlog = max_backlog
        self._max_backlog_bytes = max_backlog_bytes
        self._spool = spool
        self._kept = kept
        self._clock = clock
        self._log = log or get_log()
        self._loader = Loader(spool)
        self._progress = Progress(spool.redis, lock_seconds=lock_seconds)
        self._skimmer = Skimmer(self._progress, registry)

    @property
    def names(self) -> tuple[str, ...]:
        """The destinations, as of the last look."""
        return self._registry.names

    async def publish(self, name: str) -> int:
        """Offers what waits for a destination until that is done or the budget is used; how many were taken.

        0 at once when there is no such destination (any more), another process serves it or it is left alone after a
        failure. Raises TryLater when the spool does not answer; a destination's own failure is logged and remembered,
        not raised.
        """
        for _ in range(_LOOKS):
            await self._registry.refresh(self._progress)
            subscription = self._registry.subscription(name)
            if subscription is None:
                return 0
            try:
                return await self._publish(name, subscription)
            except SetsChanged:
                self._registry.look_soon()
        return 0  # it is announced again

    async def _publish(self, name: str, subscription: Subscription) -> int:
        """Raises SetsChanged before anything is done, when the destination is another one by now."""
        version = self._registry.version if subscription.is_of_a_set else ""
        async with self._progress.turn(name, version) as turn:
            if turn is None:
                return 0
            one_round = Round(
                progress=self._progress,
                registry=self._registry,
                loader=self._loader,
                subscription=subscription,
                turn=turn,
                failpoints=self._failpoints,
                log=self._log,
                limits=self._limits,
            )
            taken = await one_round.run(self._clock)
        if taken:
            self._log.debug("events.published", destination=name, events=taken)
        return taken

    async def look(self) -> None:
        """Who is told: destinations of sets that are new begin here. Raises TryLater."""
        await self._registry.refresh(self._progress)

    async def with_work(self) -> list[str]:
        """The destinations for which `publish` would have something to offer now, in any order; cheap."""
        await self._registry.refresh(self._progress)
        cursors, without = await self._progress.ready(self.names)
        await self._progress.start(self._registry.standpoints(without))
        of_sets, found = {}, []
        for name, cursor in cursors.items():
            subscription = self._registry.subscription(name)
            if subscription and subscription.is_of_a_set:
                of_sets[name] = cursor
            else:
                found.append(name)
        found += await self._skimmer.wanting(of_sets)
        random.shuffle(found)  # so that none is always the last when there are more than can be served at once
        return found

    async def backlogs(self) -> dict[str, int]:
        """Entries waiting for each destination; cheap."""
        await self._registry.refresh(self._progress)
        return await self._progress.backlogs(self.names)

    async def trim(self) -> int:
        """Removes what nobody needs any more, and the oldest beyond the limits; how many were removed."""
        await self._registry.refresh(self._progress, is_urgent=True)
        await self._progress.start(self._registry.off)
        removed = 0
        kept = Kept() if self._spool.is_full else self._kept
        most = Most(self._max_backlog, await self._progress.most_bytes(self._max_backlog_bytes))
        while True:
            step = await self._trim(most, kept)
            removed += step.removed
            for name, lost in step.lost.items():
                limits = {"max_backlog": most.events, "max_backlog_bytes": most.size_bytes}
                self._log.error("events.lost", destination=name, events=lost, **limits)
            if step.left <= 0 or step.removed == 0:
                return removed

    async def _trim(self, most: Most, kept: Kept) -> Trim:
        for _ in range(_LOOKS):
            try:
                return await self._progress.trim(self.names, most, kept, self._registry.version)
            except SetsChanged:
                await self._registry.refresh(self._progress, is_urgent=True)
        # Whoever changes them all the time must not let the server fill up.
        return await self._progress.trim(self.names, most, kept)
