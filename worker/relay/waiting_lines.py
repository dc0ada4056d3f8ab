"""The lines of one process: who waits for a few tokens of a route's lane waits behind one another.

Only the first of a line asks the spool again; the others would learn the same, at the cost of a round trip each. A line
takes as many as the route serves in about a second: turns are given half a second ahead, so who comes to a longer one
has its turn from a time when more was allowed, and does better to go back to its lane.
"""

from asyncio import Lock
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from spool.sending_quota import Seat

_LONGEST_SECONDS = 1.0


class WaitingLine:
    """The line of one route and lane; it serves those who wait in their order."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._recipients = 0

    @property
    def is_empty(self) -> bool:
        """Nobody waits, and nobody is asking after a wait."""
        return not self._lock.locked()

    def has_room(self, recipients_per_second: float) -> bool:
        """Whether one more may wait."""
        return self._recipients <= recipients_per_second * _LONGEST_SECONDS

    @asynccontextmanager
    async def place(self, recipients: int) -> AsyncIterator[None]:
        """Entered when it is one's turn to ask; the next may when it is left."""
        self._recipients += recipients
        try:
            async with self._lock:
                yield
        finally:
            self._recipients -= recipients


class WaitingLines:
    """One for each route and lane: their number is that of the settings."""

    def __init__(self) -> None:
        self._lines: defaultdict[tuple[str, str], WaitingLine] = defaultdict(WaitingLine)

    def of(self, seat: Seat) -> WaitingLine:
        """The line of this route and lane."""
        return self._lines[seat.route, seat.lane]
