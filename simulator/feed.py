"""The events of accepted calls in their order, to be read from a position on.

Theory of operation:
1. An accepted call appends its events at once; a position counts events from the start and never changes.
2. An event can be read when its call is `delay_seconds` old. That delay may change at any time; what could be read
   once stays readable.
3. Bounded: when the kept events become too large the oldest go, and the reader sees it by the first position.
4. A position beyond the end comes from a reader of an earlier life of this process: it gets everything.
5. A reader may wait: it is woken by the next call, and again by the clock when the next event is old enough.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulator.events import AcceptedCall, line_of
from simulator.ids import new_request_id
from simulator.mailbox import Happening, happenings

MAX_EVENTS_PER_ANSWER = 1000
#: what a call costs beside its headers and recipients, an event of it, and an event's mention of a recipient
CALL_BYTES = 500
RECIPIENT_BYTES = 80
EVENT_BYTES = 250
MENTION_BYTES = 8


@dataclass(frozen=True, slots=True)
class _Entry:
    at_seconds: float
    call: AcceptedCall
    happening: Happening
    cost_bytes: int


class Feed:
    """A bounded tail of events; `clock` in seconds, never going back."""

    def __init__(self, kept_bytes: int, delay_seconds: float, clock: Callable[[], float]) -> None:
        self._kept_bytes = kept_bytes
        self._delay_seconds = delay_seconds
        self._clock = clock
        self._entries: deque[_Entry] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self._is_closed = False
        #: another one with every start, so that a reader knows whose positions it has
        self.name = new_request_id()
        #: position of the first event still kept
        self.first_position = 0
        #: position of the first event that nobody may read yet
        self._readable_end = 0

    def append(self, call: AcceptedCall, suppressed: Sequence[str] = ()) -> None:
        """Record what SES has to tell of an accepted call; `suppressed` are on the account's list."""
        now = self._clock()
        shared = CALL_BYTES + len(call.headers) + RECIPIENT_BYTES * len(call.destinations)
        for happening in happenings(call.destinations, suppressed):
            cost = shared + EVENT_BYTES + MENTION_BYTES * len(happening.recipients)
            self._entries.append(_Entry(now, call, happening, cost))
            self._bytes += cost
            shared = 0  # the first event pays for what all of them hold
        while self._entries and self._bytes > self._kept_bytes:
            self._bytes -= self._entries.popleft().cost_bytes
            self.first_position += 1
        self._wake_readers()

    def change(self, delay_seconds: float) -> None:
        """Another delay, also for the events that wait for theirs."""
        self._delay_seconds = delay_seconds
        self._wake_readers()

    def close(self) -> None:
        """Let everybody go who waits."""
        self._is_closed = True
        self._wake_readers()

    def read(self, since: int) -> tuple[list[bytes], int]:
        """Lines from a position on, at most `MAX_EVENTS_PER_ANSWER`, and the position behind them."""
        found, following = self.read_happenings(since)
        return [line_of(call, happening) for call, happening in found], following

    def read_happenings(self, since: int) -> tuple[list[tuple[AcceptedCall, Happening]], int]:
        """The same before they are written."""
        end = self._find_readable_end()
        start = max(since, self.first_position) if since <= end else self.first_position
        stop = min(start + MAX_EVENTS_PER_ANSWER, end)
        first = self.first_position
        entries = (self._entries[position - first] for position in range(start, stop))
        return [(entry.call, entry.happening) for entry in entries], max(stop, start)

    def has_more(self, position: int) -> bool:
        """Whether there is something to read from a position on already."""
        return position < self._find_readable_end()

    async def wait(self, since: int, wait_seconds: float) -> None:
        """Return when there is something to read, or the time is up."""
        end_at = self._clock() + wait_seconds
        while self._find_readable_end() == since and not self._is_closed:
            news, now = self._news, self._clock()
            if now >= end_at:
                return
            try:
                async with asyncio.timeout(min(end_at - now, self._seconds_to_next(now))):
                    await news.wait()
            except TimeoutError:
                continue

    def _find_readable_end(self) -> int:
        """Where the readable part ends now; it never goes back."""
        position = max(self._readable_end, self.first_position)
        old_enough = self._clock() - self._delay_seconds
        last = self.first_position + len(self._entries)
        while position < last and self._entries[position - self.first_position].at_seconds <= old_enough:
            position += 1
        self._readable_end = position
        return position

    def _seconds_to_next(self, now: float) -> float:
        index = self._readable_end - self.first_position
        if index >= len(self._entries):
            return float("inf")
        return max(0.0, self._entries[index].at_seconds + self._delay_seconds - now)

    def _wake_readers(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
