"""What time brings, done by every worker on its own: no leader, no schedule process, harmless when done twice.

Theory of operation
1. Each round runs spool's sweep: messages of silent workers and parked ones whose hour has come are due again.
2. What is due and was not claimed within a second gets a (new) nudge, but only while the Celery queue is short and
   this process could take more: a long queue wakes the workers anyway. Messages that were lost with a worker before
   travel alone, so that one that kills workers does not take others with it.
3. A full round is followed by the next at once, and so is a large task: a backlog moves at the speed of the workers.
   While the queue is empty no nudge is under way, so what is due is not left to wait for its second.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from redis import exceptions

from config.errors import TryLater
from spool.nudge import IDS_PER_TASK
from worker.tools import Tools

_LIMIT = 1000
# So many tasks are kept waiting in the queue when there is work; more would only grow it.
_WINDOW_TASKS = 16
_BUSY_PAUSE_SECONDS = 0.1
_SUSPECT_CRASHES = 2


class Sweeper:
    """Sweeps until it is cancelled."""

    def __init__(self, tools: Tools, *, is_saturated: Callable[[], bool]) -> None:
        self._tools = tools
        self._is_saturated = is_saturated
        self._hurry = asyncio.Event()
        #: time.monotonic() since when due messages found no claimer; None = there are none.
        self.overdue_since: float | None = None

    async def run(self) -> None:
        """For ever; a store that is away is met with patience."""
        while True:
            is_busy = False
            try:
                is_busy = await self.sweep()
            except (TryLater, exceptions.RedisError, OSError) as error:
                self._tools.log.warning("sweep.failed", error=str(error))
            seconds = self._tools.settings.worker.sweep_seconds * (0.75 + self._tools.chance() / 2)
            await self._pause(min(_BUSY_PAUSE_SECONDS, seconds) if is_busy else seconds)

    def hurry(self) -> None:
        """A large task has ended: perhaps there is more, and nobody to say so."""
        self._hurry.set()

    async def _pause(self, seconds: float) -> None:
        self._hurry.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    async def sweep(self) -> bool:
        """One round; True when there was as much to do as one round takes."""
        tools = self._tools
        waiting_tasks = _WINDOW_TASKS if self._is_saturated() else await tools.nudger.queue_length()
        room = max(0, _WINDOW_TASKS - waiting_tasks) * IDS_PER_TASK
        found = await tools.spool.sweep(
            limit=_LIMIT,
            max_crashes=tools.settings.worker.max_crashes,
            nudges=room,
            is_queue_empty=waiting_tasks == 0,
        )
        if found.lease_ended:
            tools.log.warning("sweep.leases_ended", messages=len(found.lease_ended))
        for message_id in found.held:
            tools.log.error("message.held", message_id=message_id, reason="workers lost")
        await tools.nudger.push(groups_of(found.to_nudge))
        self._watch(is_overdue=bool(found.to_nudge) or (room == 0 and found.due > 0))
        is_cut_off = found.woken >= _LIMIT or len(found.lease_ended) >= _LIMIT
        return is_cut_off or (found.due > 0 and len(found.to_nudge) >= room)

    def _watch(self, *, is_overdue: bool) -> None:
        if not is_overdue:
            self.overdue_since = None
        elif self.overdue_since is None:
            self.overdue_since = time.monotonic()


def groups_of(found: Sequence[tuple[str, int]]) -> list[list[str]]:
    """Ids by fifties; one that was lost with a worker more than once goes alone."""
    calm = [message_id for message_id, crashes in found if crashes < _SUSPECT_CRASHES]
    suspects = [[message_id] for message_id, crashes in found if crashes >= _SUSPECT_CRASHES]
    return [calm[start : start + IDS_PER_TASK] for start in range(0, len(calm), IDS_PER_TASK)] + suspects
