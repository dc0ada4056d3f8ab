"""One queue as SQS keeps it, without the wire: what is received stays hidden for a time and comes back unless deleted.

Theory of operation
1. A message is ready, or hidden until an instant (received, or put in with a delay), or gone.
2. A receive hides what it hands out and gives each message a new receipt. Only the newest receipt deletes it or moves
   its instant; an older one is well-formed and does nothing, as with the real service at its strictest.
3. An instant that has come makes the message ready again, behind those that are.
4. Bounded: beyond `kept_messages` the oldest go, whatever their state.
The clock is a parameter: `now` in seconds, from any start, never going back.
"""

import heapq
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from simulator.ids import new_request_id

_RECEIPT = re.compile(r"([0-9]{1,15})#[0-9a-f-]{36}")


@dataclass(slots=True)
class QueuedMessage:
    """A message of the queue and how often it was handed out."""

    message_id: str
    #: Made when somebody receives it: most messages of a simulator are never read.
    body: Callable[[], str]
    sent_ms: int
    visible_at: float
    receipt: str = ""
    receives: int = 0
    first_received_ms: int = field(default=0)


class Queue:
    """Messages in the order of their coming, as far as a queue of this kind has one."""

    def __init__(self, kept_messages: int) -> None:
        self._kept_messages = kept_messages
        self._messages: dict[int, QueuedMessage] = {}
        self._ready: deque[int] = deque()
        self._hidden: list[tuple[float, int]] = []
        self._last_number = 0
        #: Messages that went because there were too many.
        self.dropped = 0

    def put(self, body: Callable[[], str], sent_ms: int, visible_at: float, now: float) -> str:
        """Adds a message that can be received from an instant on; returns its id."""
        self._last_number += 1
        message = QueuedMessage(new_request_id(), body, sent_ms, visible_at)
        self._messages[self._last_number] = message
        if visible_at <= now:
            self._ready.append(self._last_number)
        else:
            heapq.heappush(self._hidden, (visible_at, self._last_number))
        while len(self._messages) > self._kept_messages:
            del self._messages[next(iter(self._messages))]
            self.dropped += 1
        return message.message_id

    def receive(self, most: int, visibility_seconds: float, now: float, now_ms: int) -> list[QueuedMessage]:
        """Hands out at most so many and hides them."""
        self._show_again(now)
        found: list[QueuedMessage] = []
        while self._ready and len(found) < most:
            number = self._ready.popleft()
            message = self._messages.get(number)
            if message is None or message.visible_at > now:
                continue  # deleted, or hidden anew since it was put here
            message.receives += 1
            message.receipt = f"{number}#{new_request_id()}"
            message.first_received_ms = message.first_received_ms or now_ms
            self._hide(number, message, now + visibility_seconds)
            found.append(message)
        return found

    def delete(self, receipt: str) -> bool:
        """Whether the receipt has the form of one; what an old receipt names stays."""
        if (parts := _RECEIPT.fullmatch(receipt)) is None:
            return False
        if (message := self._messages.get(int(parts[1]))) is not None and message.receipt == receipt:
            del self._messages[int(parts[1])]
        return True

    def change_visibility(self, receipt: str, seconds: float, now: float) -> bool | None:
        """Whether the message was in flight and is hidden so much longer from now on; None = that is no receipt."""
        if (parts := _RECEIPT.fullmatch(receipt)) is None:
            return None
        number = int(parts[1])
        message = self._messages.get(number)
        if message is None or message.receipt != receipt or message.visible_at <= now:
            return False
        self._hide(number, message, now + seconds)
        return True

    def _hide(self, number: int, message: QueuedMessage, visible_at: float) -> None:
        message.visible_at = visible_at
        heapq.heappush(self._hidden, (visible_at, number))

    def _show_again(self, now: float) -> None:
        while self._hidden and self._hidden[0][0] <= now:
            visible_at, number = heapq.heappop(self._hidden)
            message = self._messages.get(number)
            if message is not None and message.visible_at == visible_at:  # else it was hidden anew
                self._ready.append(number)

    def has_ready(self, most: int, now: float) -> bool:
        """Whether a receive of so many would be full now; those that were deleted may count."""
        self._show_again(now)
        return len(self._ready) >= most

    def next_visible_at(self) -> float:
        """When the next hidden message comes back, as far as is known; infinite for none."""
        return self._hidden[0][0] if self._hidden else float("inf")

    def counts(self, now: float) -> tuple[int, int, int]:
        """Messages that are ready, in flight, and delayed."""
        ready = sum(message.visible_at <= now for message in self._messages.values())
        delayed = sum(message.visible_at > now and not message.receives for message in self._messages.values())
        return ready, len(self._messages) - ready - delayed, delayed

    def purge(self) -> None:
        """Forgets every message."""
        self._messages.clear()
        self._ready.clear()
        self._hidden.clear()
