"""How many messages of one process may be with their functions at once, so that a slow function stops no other mail.

Theory of operation
1. A function is called by as many messages at once as its rule's `concurrency` says. A few more wait for their turn,
   and as many as will have it within seconds. All functions together get a bounded number of messages, below what the
   process may hold.
2. Who finds no place is given a time to come back: the times of one function are as far apart as it takes for one
   call, so 10,000 messages behind a slow function come back one by one and not all at once. That is no try. The times
   end after five minutes; who finds all of them given away comes back at random in the last quarter.
3. While somebody has such a time, newcomers take a place that is idle and wait beside one only where that takes
   seconds: the others belong to those who come back. So older mail goes first, and no place is empty meanwhile.
4. When a place is free, those who were sent away by this process come back at once, the oldest first (`to_wake`, for
   function_waker.py): their time is only for the case that this process has ended, or that the guess was too small.
5. How long a call takes is learnt from those that ended and from how long those under way have taken so far. A guess
   that is too small brings somebody back too early, who gets another time; one too large is forgotten in five minutes.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from worker.room import Room

_SHORTEST_SECONDS, _LONGEST_SECONDS = 1.0, 300.0
# For each place so many wait beside it: it is taken again at once.
_WAITING_PER_PLACE = 3
# So long a wait is worth no second claim.
_SHORT_SECONDS = 5.0
_FIRST_GUESS_SECONDS = 0.1
# Of the longest time: over so much of it those are spread for whom no other time is left.
_LAST_PART = 0.25
# What a new measurement is worth against all before it.
_NEWS = 0.2
# So many are remembered of those who were sent away; the others come back at their time.
_REMEMBERED = 10_000
# So much work is called back at once; and who was called and has not come after so long will not.
_WOKEN_WORK_SECONDS = 0.5
_WOKEN_SECONDS = 3.0


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
    #: Messages that were sent away, in order; and those that were called back, with the instant.
    away: dict[str, None] = field(default_factory=dict)
    woken: dict[str, float] = field(default_factory=dict)

    def seconds_per_call(self, now: float) -> float:
        return max(self.learnt_seconds, now - min(self.began, default=now))

    def has_room(self, now: float, *, has_waited: bool) -> bool:
        is_behind = not has_waited and self.given_until > now
        if self.inside < self.places * (1 if is_behind else 1 + _WAITING_PER_PLACE):
            return True
        return self.inside / self.places * self.seconds_per_call(now) <= _SHORT_SECONDS

    def let_in(self, message_id: str) -> None:
        self.away.pop(message_id, None)
        self.woken.pop(message_id, None)

    def send_away(self, message_id: str) -> None:
        self.woken.pop(message_id, None)
        if len(self.away) < _REMEMBERED:
            self.away.setdefault(message_id)

    def next_woken(self, now: float, at_most: int) -> list[str]:
        """Who is called back now."""
        for message_id in [one for one, at in self.woken.items() if now - at > _WOKEN_SECONDS]:
            del self.woken[message_id]
        soon = int(_WOKEN_WORK_SECONDS * self.places / max(self.seconds_per_call(now), 0.001))
        room = min(at_most, max(self.places * (1 + _WAITING_PER_PLACE), soon)) - self.inside - len(self.woken)
        found = list(self.away)[: max(room, 0)]
        for message_id in found:
            del self.away[message_id]
            self.woken[message_id] = now
        if not self.away:
            self.given_until = min(self.given_until, now)
        return found


class FunctionPlaces:
    """The places of all functions of one process."""

    def __init__(
        self,
        messages: int = 25,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._most = messages
        self._clock = clock
        self._chance = chance
        self._inside = 0
        self._queues: dict[tuple[str, int], _Queue] = {}
        #: Set when a place was given back while others wait for one.
        self.freed = asyncio.Event()

    def seconds_until_free(self, rule: str, concurrency: int, message_id: str, *, has_waited: bool = False) -> float:
        """0 = come in; else when to come back. `has_waited`: it comes back at the time that it was given."""
        queue, now = self._queue(rule, concurrency), self._clock()
        if self._inside < self._most and queue.has_room(now, has_waited=has_waited):
            queue.let_in(message_id)
            return 0.0
        queue.send_away(message_id)
        seconds = queue.seconds_per_call(now)
        queue.given_until = max(now + seconds, queue.given_until + seconds / queue.places)
        if queue.given_until > now + _LONGEST_SECONDS:
            queue.given_until = now + _LONGEST_SECONDS
            return _LONGEST_SECONDS * (1 - _LAST_PART * self._chance())
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
            if queue.away:
                self.freed.set()

    def to_wake(self) -> list[str]:
        """Messages that were sent away and have a place now; they are told once."""
        now = self._clock()
        return [
            message_id
            for queue in self._queues.values()
            if queue.away
            for message_id in queue.next_woken(now, queue.inside + self._most - self._inside)
        ]

    def missed(self, message_ids: Collection[str]) -> None:
        """They could not be woken: their time brings them back."""
        for queue in self._queues.values():
            for message_id in message_ids:
                queue.woken.pop(message_id, None)

    def _queue(self, rule: str, concurrency: int) -> _Queue:
        known = self._queues.get((rule, concurrency))
        if known is None:
            known = self._queues[rule, concurrency] = _Queue(Room(concurrency), concurrency)
        return known
