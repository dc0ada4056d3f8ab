"""Ends a process that is alive but does nothing: Celery workers are known to do that after a lost connection.

It runs in a thread of its own, so that an event loop which stands still is noticed. A drained worker is meant to do
nothing, and its time begins anew when it is drained no more.
"""

import asyncio
import os
import time
from collections.abc import Callable

from worker.sweeper import Sweeper
from worker.tools import Tools

_EXIT_STALLED = 70  # EX_SOFTWARE: the supervisor starts a new one


class Watchdog:
    """`watch` in a thread, `tick` on the loop. `is_resting` = this worker takes no tasks now, on purpose."""

    def __init__(self, tools: Tools, sweeper: Sweeper, *, is_resting: Callable[[], bool]) -> None:
        self._tools = tools
        self._sweeper = sweeper
        self._is_resting = is_resting
        self._last_tick = self._last_claim_at = time.monotonic()

    def claimed(self) -> None:
        """The process was given work."""
        self._last_claim_at = time.monotonic()

    async def tick(self) -> None:
        """The loop goes round. Waits for nothing else, for ever."""
        while True:
            self._last_tick = time.monotonic()
            await asyncio.sleep(1)

    def watch(self) -> None:
        """Never returns."""
        stall_seconds = self._tools.settings.worker.stall_seconds
        while True:
            time.sleep(min(5.0, stall_seconds / 4))
            if problem := self.stalled(stall_seconds):
                self._tools.log.critical("worker.stalled", problem=problem)
                os._exit(_EXIT_STALLED)

    def stalled(self, limit_seconds: float) -> str:
        """What is wrong; "" for nothing."""
        now = time.monotonic()
        if now - self._last_tick > limit_seconds:
            return "the event loop stands still"
        if self._is_resting():
            self._last_claim_at = now
        overdue_since = self._sweeper.overdue_since
        is_overdue = overdue_since is not None and now - overdue_since > limit_seconds
        if is_overdue and now - self._last_claim_at > limit_seconds and not len(self._tools.leases):
            return "messages are due and this worker is given none"
        return ""
