"""Brings messages back that found no place at their function, as soon as one is free.

They are parked with a time of their own (steps/function_places.py). Waking one is what an operator's retry does: the
message becomes due, and its function is asked at once. One that is not parked yet, or waits in a lane, is left to its
time; so is everything when the spool is away.
"""

import asyncio

from redis import exceptions

from config.errors import TryLater
from spool.operator import touch
from worker.gate import groups_for
from worker.tools import Tools

# Between two looks: what was sent away in this moment is parked in the next.
_PAUSE_SECONDS = 0.02


class FunctionWaker:
    """Wakes until it is cancelled."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._tools.places.freed.wait()
            await asyncio.sleep(_PAUSE_SECONDS)
            self._tools.places.freed.clear()
            try:
                await self.wake()
            except (TryLater, exceptions.RedisError, OSError) as error:
                self._tools.log.warning("spool.unavailable", error=str(error))

    async def wake(self) -> None:
        """Calls back whoever has a place now. Raises TryLater or redis errors."""
        tools = self._tools
        if not (wanted := tools.places.to_wake()):
            return
        words = await touch(tools.spool.redis, "retry", wanted)
        woken = [message_id for message_id, word in zip(wanted, words, strict=True) if word == "done"]
        tools.places.missed(set(wanted).difference(woken))
        await tools.nudger.push(groups_for(woken), is_urgent=True)
