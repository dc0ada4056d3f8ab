"""Up to when all of SES's events have been read: the instant that the confirm policy rests on.

Theory of operation
1. Each source says of each of its reads up to when, by the server's clock, it holds no event any more that was there; 0
   = it cannot say. With several sources an event may come by any of them, so the earliest of their instants counts, and
   none as long as one of them has said nothing.
2. A queue hides what somebody took and has not deleted: after a crash of a reader its events are not seen until they
   come back. So an empty queue proves something only when it was read, without a backlog, for as long as a message can
   be hidden; and then only for the time before (`Quiet`). What was taken and not applied begins that time anew.
3. While there is a backlog the oldest message of a page tells how far the reading is: a queue keeps a rough order.
"""

from collections.abc import Iterable
from typing import Protocol

# Without a position of the source nothing is written for less: a reader without work costs the server next to nothing.
_STEP_MS = 2000


class KeepsPosition(Protocol):
    """What is asked of the spool."""

    async def feedback_seen(self, source: str, position: str, seen_at_ms: int) -> None:
        """The source was read up to this position; 0 = nothing is known about the instant. Raises StoreUnavailable."""
        ...


class Horizon:
    """That of all sources together."""

    def __init__(self, spool: KeepsPosition, sources: Iterable[str]) -> None:
        self._spool = spool
        self._seen_at_ms = dict.fromkeys(sources, 0)
        self._written_ms = 0

    async def reached(self, source: str, position: str, seen_at_ms: int) -> None:
        """A source was read up to a position of its own ("" = it has none) and an instant. Raises StoreUnavailable."""
        if source in self._seen_at_ms:
            self._seen_at_ms[source] = max(self._seen_at_ms[source], seen_at_ms)
        seen_at_ms = min(self._seen_at_ms.values(), default=0)
        if position or seen_at_ms >= self._written_ms + _STEP_MS:
            await self._spool.feedback_seen(source, position, seen_at_ms)
            self._written_ms = max(self._written_ms, seen_at_ms)


class Quiet:
    """What the reads of a queue prove. `hidden_ms`: how long a message that was taken stays hidden."""

    def __init__(self, hidden_ms: int) -> None:
        self._hidden_ms = hidden_ms
        self._read_since_ms: int | None = None
        self._quiet_since_ms: int | None = None

    def seen_at_ms(self, begun_at_ms: int, *, is_end: bool, oldest_sent_at_ms: int | None) -> int:
        """After a read that began then, and whose messages are applied: the instant, 0 = none.

        `is_end`: there was not more; `oldest_sent_at_ms`: of its messages.
        """
        if self._read_since_ms is None:
            self._read_since_ms = begun_at_ms
        if is_end:
            if self._quiet_since_ms is None:
                self._quiet_since_ms = begun_at_ms
            is_long_enough = begun_at_ms - self._quiet_since_ms >= self._hidden_ms
            return begun_at_ms - self._hidden_ms if is_long_enough else 0
        self._quiet_since_ms = None
        if oldest_sent_at_ms is None or begun_at_ms - self._read_since_ms < self._hidden_ms:
            return 0
        return max(0, min(oldest_sent_at_ms, begun_at_ms) - self._hidden_ms)

    def disturbed(self) -> None:
        """A read failed, or left messages that it took: they are hidden, and nothing is proved until they are not."""
        self._read_since_ms = self._quiet_since_ms = None
