"""How many messages of one process may be with their functions at once, so that a slow function stops no other mail.

Theory of operation
1. A function is called by as many messages at once as its rule's `concurrency` says; a few more wait for their turn.
   All functions together get a bounded number of messages, below what the process may hold.
2. Who finds no place is given a time to come back: the times of one function are as far apart as it takes for one
   call, so 10,000 messages behind a slow function come back one by one and not all at once. That is no try.
What is estimated wrongly is mended by the next estimate: nobody is sent away for longer than five minutes.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from worker.room import Room

_SHORTEST_SECONDS, _LONGEST_SECONDS = 1.0, 300.0
# For each place so many wait beside it: it is taken again at once.
_WAITING_PER_PLACE = 3
_FIRST_GUESS_SECONDS = 1.0
# What a new measurement is worth against all before it.
_NEWS = 0.2


@dataclass(slots=True)
class _Queue:
    room: Room
    places: int
    inside: int = 0
    seconds_per_call: float = _FIRST_GUESS_SECONDS
    #: The last time that was given away.
    given_until: float = field(default=0.0)


class FunctionPlaces:
    """The places of all functions of one process."""

    def __init__(self, messages: int = 25, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = messages
        self._clock = clock
        self._inside = 0
        self._queues: dict[tuple[str, int], _Queue] = {}

    def seconds_until_free(self, rule: str, concurrency: int) -> float:
        """0 = come in; else when to come back."""
        queue = self._queue(rule, concurrency)
        if self._inside < self._most and queue.inside < queue.places * (1 + _WAITING_PER_PLACE):
            return 0.0
        now = self._clock()
        apart = queue.seconds_per_call / queue.places
        queue.given_until = max(now + queue.seconds_per_call, queue.given_until + apart)
        queue.given_until = min(queue.given_until, now + _LONGEST_SECONDS)
        return max(_SHORTEST_SECONDS, queue.given_until - now)

    @asynccontextmanager
    async def place(self, rule: str, concurrency: int) -> AsyncIterator[None]:
        """For the length of a call; waits for those who came before."""
        queue = self._queue(rule, concurrency)
        queue.inside += 1
        self._inside += 1
        try:
            async with queue.room.places(1):
                began = self._clock()
                try:
                    yield
                finally:
                    took = self._clock() - began
                    queue.seconds_per_call += _NEWS * (took - queue.seconds_per_call)
        finally:
            queue.inside -= 1
            self._inside -= 1

    def _queue(self, rule: str, concurrency: int) -> _Queue:
        known = self._queues.get((rule, concurrency))
        if known is None:
            known = self._queues[rule, concurrency] = _Queue(Room(concurrency), concurrency)
        return known
