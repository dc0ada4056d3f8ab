"""Rounds of destinations in a worker process: who is told of events, and what is given to them at this moment.

A round may wait for its destination for half a minute. So a `publish` task begins it and waits a moment only: however
many destinations hang, no thread of Celery's is held, and mail and other destinations go on. What is under way is
bounded in number; what finds no place is announced again. The settings' own destinations (file, log) always have one:
sets, and destinations that hang, can be made by whoever has a key of the API.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

from structlog.typing import FilteringBoundLogger

from config.errors import TryLater
from config.failpoints import Failpoints
from config.settings import Settings
from sending_events.configuration_sets.records import is_of_a_set
from sending_events.configuration_sets.store import ConfigurationSets
from sending_events.destinations import open_destinations
from sending_events.destinations.opening import make_context, open_target
from sending_events.progress import Kept
from sending_events.publisher import Publisher
from sending_events.registry import Registry
from sending_events.round import Limits
from spool.store import Spool

#: Rounds of sets' destinations under way in one process; each holds a part of events, a megabyte or four.
MAX_ROUNDS = 64
# So long a task stays, so that Flower shows what most rounds took.
_TASK_SECONDS = 0.5
# A worker that stops lets rounds end by themselves so long; a part that is cut is offered again.
_STOP_SECONDS = 5.0


def open_publisher(settings: Settings, spool: Spool, failpoints: Failpoints, stack: AsyncExitStack) -> Publisher:
    """The publisher of a process; what its destinations open is closed with the stack. Raises Refused."""
    context = make_context(settings, spool.redis)
    stack.push_async_callback(context.close)
    events = settings.events
    registry = Registry(
        open_destinations(settings),
        ConfigurationSets(spool.redis, settings),
        partial(open_target, context=context),
        default_set=events.default_configuration_set,
    )
    return Publisher(
        spool,
        registry,
        failpoints,
        Limits(max_age_seconds=events.max_age_seconds),
        max_backlog=events.max_backlog,
        max_backlog_bytes=events.max_backlog_bytes,
        kept=Kept(events.replay_seconds, events.replay_events),
    )


class Rounds:
    """Those of this process. `on_taken` is called after a round that a destination took something in."""

    def __init__(
        self,
        publisher: Publisher,
        log: FilteringBoundLogger,
        on_taken: Callable[[], None],
        *,
        most: int = MAX_ROUNDS,
        stop_seconds: float = _STOP_SECONDS,
    ) -> None:
        self._publisher = publisher
        self._log = log
        self._on_taken = on_taken
        self._most = most
        self._stop_seconds = stop_seconds
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def begin(self, name: str) -> None:
        """Begins a round of the destination unless one is under way, and waits for it a moment."""
        if name in self._under_way:
            return
        if is_of_a_set(name) and sum(map(is_of_a_set, self._under_way)) >= self._most:
            return
        one = asyncio.create_task(self._run(name))
        self._under_way[name] = one
        one.add_done_callback(lambda _: self._under_way.pop(name, None))
        await asyncio.wait([one], timeout=_TASK_SECONDS)

    async def _run(self, name: str) -> None:
        try:
            if await self._publisher.publish(name):
                self._on_taken()
        except TryLater as error:
            self._log.warning("events.round_failed", destination=name, error=error.reason, detail=error.detail)
        except Exception as error:  # noqa: BLE001 - the edge: a bug in a destination is the trouble of that one
            self._log.error("events.round_failed", destination=name, error=type(error).__name__, exc_info=error)

    async def finish(self) -> None:
        """Returns when none is under way; what takes long is cut."""
        if not self._under_way:
            return
        await asyncio.wait(list(self._under_way.values()), timeout=self._stop_seconds)
        left = list(self._under_way.values())
        for one in left:
            one.cancel()
        if left:
            await asyncio.wait(left)
