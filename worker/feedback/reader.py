"""Reads a feed of events for ever and gives each of them to the entry point.

Theory of operation
1. The position is kept in the spool and written after the page's events were noted. A crash before that reads the
   page again, and noting is harmless when it is repeated: nothing is skipped, nothing done twice.
2. Beside it stands the instant, by the server's clock, at which the last read began that came to the end of the feed.
   The confirm policy rests on it: what SES had to tell by then is noted. A read of a backlog moves the position only.
3. A feed that began anew (another id, or shorter than the position) is read from its start.
4. A source or spool that is away is asked again with growing pauses; it is logged when that begins and ends.
Text that is no event is counted and logged, a line a page, and stops nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from structlog.typing import FilteringBoundLogger

from config.errors import TryLater
from config.failpoints import Failpoints
from spool.tally import Tally
from worker.feedback.events import Confirms, SentCall, call_of, note_call
from worker.feedback.simulator_feed import Page

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
# After a read without events: a source that does not wait by itself is not asked in a circle.
_IDLE_PAUSE_SECONDS = 0.05
# Calls noted side by side: few, mail goes first.
_AT_ONCE = 20


class Feed(Protocol):
    """A source with positions."""

    source: str

    async def read(self, since: int) -> Page:
        """Raises TryLater."""
        ...


class FeedbackSpool(Confirms, Protocol):
    """What is asked of the spool."""

    async def feedback_position(self, source: str) -> str:
        """The position that feedback_seen was last given; "" = none. Raises StoreUnavailable."""
        ...

    async def feedback_seen(self, source: str, position: str, seen_at_ms: int) -> None:
        """The source was read up to this position; 0 = and not to its end. Raises StoreUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Position:
    """How far a source has been read."""

    #: Which feed of that source.
    feed: str = ""
    #: Events of it that were read.
    number: int = 0

    def encode(self) -> str:
        """Text for the spool."""
        return f"{self.feed}:{self.number}"


def position_of(text: str) -> Position:
    """The inverse; the start for text of another form."""
    feed, _, number = text.rpartition(":")
    return Position(feed, int(number)) if number.isdecimal() else Position()


class Reader:
    """One feed, read until it is cancelled. `clock_ms` is the server's, in epoch milliseconds."""

    def __init__(
        self,
        spool: FeedbackSpool,
        feed: Feed,
        *,
        tally: Tally,
        failpoints: Failpoints,
        log: FilteringBoundLogger,
        clock_ms: Callable[[], Awaitable[int]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._spool = spool
        self._feed = feed
        self._tally = tally
        self._failpoints = failpoints
        self._log = log
        self._clock_ms = clock_ms
        self._sleep = sleep

    async def run(self) -> None:
        """For ever."""
        failures = 0
        while True:
            try:
                if not await self.read_page():
                    await self._sleep(_IDLE_PAUSE_SECONDS)
            except TryLater as error:
                if not failures:
                    self._log.warning(
                        "feedback.away", source=self._feed.source, reason=error.reason, detail=error.detail
                    )
                failures += 1
                await self._sleep(pause_seconds(failures))
            else:
                if failures:
                    self._log.info("feedback.back", source=self._feed.source, failures=failures)
                failures = 0

    async def read_page(self) -> int:
        """One read and what follows from it; how many lines it brought.

        Raises TryLater; then nothing of the page counts as read.
        """
        source = self._feed.source
        since = position_of(await self._spool.feedback_position(source))
        begun_at_ms = await self._clock_ms()
        page = await self._feed.read(since.number)
        if since.number and (page.feed != since.feed or page.next < since.number):
            self._log.info("feedback.began_anew", source=source)
            await self._spool.feedback_seen(source, Position(page.feed).encode(), 0)
            return 0
        await self._note(page.lines)
        self._failpoints.reached("feedback.before_position")
        reached = Position(page.feed, page.next)
        await self._spool.feedback_seen(source, reached.encode(), 0 if page.is_cut else begun_at_ms)
        return len(page.lines)

    async def _note(self, lines: tuple[bytes, ...]) -> None:
        events = [event_of(line) for line in lines]
        garbage = sum(event is None for event in events)
        if garbage:
            self._tally.count("feedback_events:garbage", garbage)
            self._log.warning("feedback.garbage", source=self._feed.source, lines=garbage)
        calls = [call_of(event) for event in events if event is not None]
        if foreign := sum(call is None for call in calls):
            self._tally.count("feedback_events:foreign", foreign)
        # Several events of a page are often about one call.
        ours = list({(call.message_id, call.attempt_number): call for call in calls if call}.values())
        for start in range(0, len(ours), _AT_ONCE):
            await asyncio.gather(*(self._note_one(call) for call in ours[start : start + _AT_ONCE]))

    async def _note_one(self, call: SentCall) -> None:
        verdict = await note_call(self._spool, call)
        self._tally.count(f"feedback_events:{verdict}")
        if verdict == "noted":
            about = {"message_id": call.message_id, "attempt": call.attempt_number}
            self._log.info("feedback.confirmed", **about, ses_message_id=call.ses_message_id)


def event_of(line: bytes) -> dict[str, Any] | None:
    """One line of a feed; None for what is no JSON object."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return event if isinstance(event, dict) else None


def pause_seconds(failures: int) -> float:
    """Pause after so many failures in a row (1 = the first)."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 20), LONGEST_PAUSE_SECONDS)
