"""What a worker does now and then beside its tasks: tell the publisher, and tidy up.

Any worker does it, without a leader; done twice it does no harm. Whatever fails in here is logged and tried again: mail
must go on when events, or the tidying, cannot.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from redis import exceptions

from config.errors import TryLater
from sending_events.publisher import Publisher
from spool.orphans import collect_orphans
from spool.safety import SafetyWatch
from spool.suppression import Suppression
from worker.heartbeat import Heartbeat
from worker.tools import Tools

_ANNOUNCE_SECONDS = 0.2
_TIDY_SECONDS = 60.0
_TELL_SECONDS = 60.0
_LOOK_AT_MEMORY_SECONDS = 3.0
# What functions may read is kept for a day unless the settings say otherwise, so an hour more is little.
_TIDY_FLOW_SECONDS = 3600.0


class Announcer:
    """Nudges the publisher soon after this process wrote events, and now and then for those of the doors."""

    def __init__(self, tools: Tools, publisher: Publisher) -> None:
        self._tools = tools
        self._publisher = publisher
        self._has_news = True
        self._told, self._told_at = "", -math.inf

    def has_news(self) -> None:
        """Events were written."""
        self._has_news = True

    async def run(self) -> None:
        """For ever."""
        rounds = 0
        while True:
            await asyncio.sleep(_ANNOUNCE_SECONDS)
            rounds += 1
            if not self._has_news and rounds % 10:
                continue
            self._has_news = False
            try:
                with suppress(TryLater, exceptions.RedisError, OSError):
                    for name in await self._publisher.with_work():
                        await self._tools.nudger.push_publish(name)
            except Exception as error:  # noqa: BLE001 - the edge: trouble with events is none of the mail's
                self._tell(error)

    def _tell(self, error: Exception) -> None:
        """The same trouble once a minute."""
        now, words = time.monotonic(), repr(error)
        if self._told == words and now - self._told_at < _TELL_SECONDS:
            return
        self._told, self._told_at = words, now
        self._tools.log.error("events.announce_failed", error=type(error).__name__, exc_info=error)


class MemoryWatcher:
    """Tells the spool whether its server is above the mark: then nothing is kept that mail can do without.

    That it is full is logged by the doors, which refuse mail for it.
    """

    def __init__(self, tools: Tools) -> None:
        self._spool, self._log = tools.spool, tools.log
        self._safety = SafetyWatch(tools.spool.redis, tools.settings)

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - a nicety, and no reason to end a worker
                self._log.exception("sweep.failed")
            await asyncio.sleep(_LOOK_AT_MEMORY_SECONDS)

    async def look(self) -> None:
        """Once; without an answer what was known stays."""
        self._spool.is_full = (await self._safety.check()).is_full


class Tidier:
    """Removes what nobody needs any more."""

    def __init__(self, tools: Tools, publisher: Publisher, heartbeat: Heartbeat) -> None:
        self._tools = tools
        self._chores: tuple[Callable[[], Awaitable[object]], ...] = (
            publisher.trim,
            heartbeat.forget_dead_workers,
            self._collect_orphans,
            self._tidy_flow,
            self._tidy_suppression,
        )
        self._flow_tidied_at = -math.inf

    async def run(self) -> None:
        """For ever, each chore on its own: a failure of one does not keep the others from their turn."""
        while True:
            await asyncio.sleep(_TIDY_SECONDS * (0.5 + self._tools.chance()))
            await self.tidy()

    async def tidy(self) -> None:
        """Every chore once."""
        for chore in self._chores:
            try:
                await chore()
            except (TryLater, exceptions.RedisError, OSError) as error:
                self._tools.log.warning("sweep.failed", error=str(error))
            except Exception as error:  # the edge: a bug in a chore is no reason to stop the mail
                self._tools.log.exception("sweep.failed", error=type(error).__name__)

    async def _collect_orphans(self) -> None:
        if removed := await collect_orphans(self._tools.spool, older_than_seconds=3600, now=time.time()):
            self._tools.log.info("spool.orphans_removed", contents=removed)

    async def _tidy_suppression(self) -> None:
        await Suppression(self._tools.spool.redis).tidy()  # also where it is not used now

    async def _tidy_flow(self) -> None:
        if time.monotonic() - self._flow_tidied_at < _TIDY_FLOW_SECONDS:
            return
        if removed := await self._tools.flow.tidy(time.time()):
            self._tools.log.info("flow.tidied", contents=removed)
        self._flow_tidied_at = time.monotonic()
