"""Lets waiting mail go as tokens come: one look of the spool's gate after the other, in every worker.

The spool decides what goes and when to look again (spool/sending_quota.py); here is the loop around it: nudges for what
was released, the views for this process's caches, and the pause. A look costs what it releases, so the pause is never
longer than a second: that is how old a cached word about a pause or a trouble may be. A worker that rests looks too,
and lets nothing go: it still sends what it has, and must not begin with old views when it is called back.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from redis import exceptions

from config.errors import TryLater
from spool.nudge import IDS_PER_TASK
from worker.tools import Tools

# Messages released by one look; as many come with the next, at once.
_LIMIT = 1000
_SHORTEST_SECONDS = 0.03
_LONGEST_SECONDS = 0.95  # with jitter a second


class GateKeeper:
    """Looks until it is cancelled. `is_resting` = this worker takes no tasks, so it only looks."""

    def __init__(self, tools: Tools, *, is_resting: Callable[[], bool] = lambda: False) -> None:
        self._tools = tools
        self._is_resting = is_resting

    async def run(self) -> None:
        """For ever; a store that is away is met with patience."""
        while True:
            seconds = _LONGEST_SECONDS
            try:
                seconds = await self.look()
            except (TryLater, exceptions.RedisError, OSError) as error:
                self._tools.log.warning("gate.failed", error=str(error))
            await self._pause(seconds)

    async def look(self) -> float:
        """One look; how many seconds until the next may bring something. Raises TryLater or redis errors."""
        tools = self._tools
        tools.gate_wanted.clear()  # before the look: who asks during it may have come too late for it
        limit = 0 if self._is_resting() else _LIMIT
        seen = await tools.spool.gate(tools.routes.all_limits, limit=limit)
        tools.routes.saw(seen)
        await tools.nudger.push(groups_for(seen.released), is_urgent=True)  # they have waited already
        if not limit:
            return _LONGEST_SECONDS
        return 0.0 if len(seen.released) >= limit else seen.next_ms / 1000

    async def _pause(self, seconds: float) -> None:
        """Workers drift apart by the jitter; even when hurried there is a shortest distance."""
        jitter = 0.95 + self._tools.chance() / 10
        seconds = min(max(seconds, _SHORTEST_SECONDS), _LONGEST_SECONDS) * jitter
        await asyncio.sleep(_SHORTEST_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds - _SHORTEST_SECONDS):
                await self._tools.gate_wanted.wait()


def groups_for(message_ids: Sequence[str]) -> list[Sequence[str]]:
    """The ids of each nudge."""
    return [message_ids[start : start + IDS_PER_TASK] for start in range(0, len(message_ids), IDS_PER_TASK)]
