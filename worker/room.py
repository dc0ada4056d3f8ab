"""How much a process holds at once, in places: messages, or bytes of contents.

What finds no room waits before it takes anything, in the order of asking: a large one is not overtaken for ever.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Room:
    """Places, given in the order of asking. Giving back is not awaited, so that no cancellation can lose a place."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._free = places
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, wanted: int) -> int:
        """Waits for `wanted` places; more than there are counts as all of them. Returns how many were taken."""
        wanted = min(wanted, self._places)
        if not self._waiting and self._free >= wanted:
            self._free -= wanted
            return wanted
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(wanted)
            elif (wanted, turn) in self._waiting:  # else it was passed over before its task heard of the cancellation
                self._waiting.remove((wanted, turn))
                self._serve()
            raise
        return wanted

    def give(self, places: int) -> None:
        """Gives places back."""
        self._free += places
        self._serve()

    @asynccontextmanager
    async def places(self, wanted: int) -> AsyncIterator[None]:
        """Holds places for the length of a block."""
        taken = await self.take(wanted)
        try:
            yield
        finally:
            self.give(taken)

    def _serve(self) -> None:
        while self._waiting and self._free >= self._waiting[0][0]:
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= wanted
                turn.set_result(None)
