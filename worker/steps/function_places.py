"""How many messages of one process may be with their functions at once, so that a slow function stops no other mail.

Theory of operation
1. A function is called by as many messages at once as its rule's `concurrency` says. A few more wait for their turn,
   and as many as will have it within seconds. All functions together get a bounded number of messages, below what the
   process may hold.
2. Who finds no place is given a time to come back: the times of one function are as far apart as it takes for one
   call, so 10,000 messages behind a slow function come back one by one and not all at once. That is no try.
3. How long a call takes is learnt from those that ended and from how long those under way have taken so far. A guess
   that is too small brings somebody back too early, who gets another time; one too large is forgotten in five minutes.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from worker.room import Room

_SHORTEST_SECONDS, _LONGEST_SECONDS = 1.0, 300.0
# For each place so many wait beside it: it is taken again at once.
_WAITING_PER_PLACE = 3
# So long a wait is worth no second claim.
_SHORT_SECONDS = 5.0
_FIRST_GUESS_SECONDS = 0.1
# What a new measurement is worth against all before it.
_NEWS = 0.2


@dataclass(slots=True)
class _Queue:
    room: Room
    places: int
    inside: int = 0
    learnt_seconds: float = _FIRST_GUESS_SECONDS
    #: When the calls under way began.
    began: list[float] = field(default_factory=list)
    #: The last time that was given away.
    given_until: float = 0.0

    def seconds_per_call(self, now: float) -> float:
        return max(self.learnt_seconds, now - min(self.began, default=now))

    def has_room(self, now: float) -> bool:
        if self.inside < self.places * (1 + _WAITING_PER_PLACE):
            return True
        return self.inside / self.places * self.seconds_per_call(now) <= _SHORT_SECONDS


class FunctionPlaces:
    """The places of all functions of one process."""

    def __init__(self, messages: int = 25, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = messages
        self._clock = clock
        self._inside = 0
        self._queues: dict[tuple[str, int], _Queue] = {}

    def seconds_until_free(self, rule: str, concurrency: int) -> float:
        """0 = come in; else when to come back."""
        queue, now = self._queue(rule, concurrency), self._clock()
        if self._inside < self._most and queue.has_room(now):
            return 0.0
        seconds = queue.seconds_per_call(now)
        queue.given_until = max(now + seconds, queue.given_until + seconds / queue.places)
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
                queue.began.append(began)
                try:
                    yield
                finally:
                    queue.began.remove(began)
                    queue.learnt_seconds += _NEWS * (self._clock() - began - queue.learnt_seconds)
        finally:
            queue.inside -= 1
            self._inside -= 1

    def _queue(self, rule: str, concurrency: int) -> _Queue:
        known = self._queues.get((rule, concurrency))
        if known is None:
            known = self._queues[rule, concurrency] = _Queue(Room(concurrency), concurrency)
        return known
