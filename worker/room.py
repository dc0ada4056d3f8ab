"""How many messages a process holds at once.

A task that finds no room waits before it claims, so that what cannot
be worked on now stays due for others and memory is bounded.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Room:
    """Places for messages, given in the order of asking."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._free = places
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def places(self, wanted: int) -> AsyncIterator[None]:
        """Holds `wanted` places; more than there are counts as all of them."""
        wanted = min(wanted, self._places)
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            async with self._changed:
                self._free += wanted
                self._changed.notify_all()
