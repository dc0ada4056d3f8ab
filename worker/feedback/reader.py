"""Reads a feed of events with positions, the simulator's, and gives each of them to the entry point.

Theory of operation
1. The position is kept in the spool and written after the page's events were applied. A crash before that reads the
   page again, and applying is harmless when it is repeated: nothing is skipped, nothing done twice.
2. Beside it stands the instant, by the server's clock, at which the last read began that came to the end of the feed.
   The confirm policy rests on it: what SES had to tell by then is noted. A read of a backlog moves the position only.
3. A feed that began anew (another id, or shorter than the position) is read from its start.
4. An event about a send that is not known yet, or one that met a bug, goes to the inbox of the spool, which shows it
   again.
Text that is no event is counted and logged, a line a page, and stops nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from config.errors import TryLater
from worker.feedback.apply import Verdict
from worker.feedback.horizon import Horizon
from worker.feedback.patience import IDLE_PAUSE_SECONDS
from worker.feedback.ses_event import unwrapped
from worker.feedback.simulator_feed import Page
from worker.feedback.surroundings import Surroundings

#: First look at an event about a send that is not known yet.
UNKNOWN_PAUSE_SECONDS = 2.0


class NotAllApplied(TryLater):
    """Some events of a page have to come again."""


class Feed(Protocol):
    """A source with positions."""

    source: str

    async def read(self, since: int) -> Page:
        """Raises TryLater."""
        ...


class PositionSpool(Protocol):
    """What is asked of the spool."""

    async def feedback_position(self, source: str) -> str:
        """The position that feedback_seen was last given; "" = none. Raises StoreUnavailable."""
        ...


class Keeps(Protocol):
    """The inbox: spool/feedback_inbox.py."""

    async def keep(self, event: bytes, *, after_seconds: float = 0, is_unknown: bool = False) -> None:
        """Raises StoreUnavailable, StoreFull."""
        ...


class Applies(Protocol):
    """worker/feedback/apply.py."""

    async def apply_all(self, events: Sequence[Mapping[str, Any]]) -> list[Verdict]:
        """Raises TryLater."""
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


def sorted_out(bodies: Sequence[bytes | str], source: str, around: Surroundings) -> dict[int, dict[str, Any]]:
    """The events among what a source brought, by their place in it; what is none is counted, and logged in one line."""
    arrived = [unwrapped(body) for body in bodies]
    if garbage := arrived.count("garbage"):
        around.tally.count("feedback_events:garbage", garbage)
        around.log.warning("feedback.garbage", source=source, lines=garbage)
    if others := arrived.count("set up"):
        around.tally.count("feedback_events:foreign", others)
    return {index: one for index, one in enumerate(arrived) if isinstance(one, dict)}


class Reader:
    """One feed, read page by page."""

    idle_seconds = IDLE_PAUSE_SECONDS

    def __init__(
        self,
        spool: PositionSpool,
        feed: Feed,
        applier: Applies,
        inbox: Keeps,
        horizon: Horizon,
        *,
        around: Surroundings,
    ) -> None:
        self._spool = spool
        self._feed = feed
        self._applier = applier
        self._inbox = inbox
        self._horizon = horizon
        self._around = around

    @property
    def source(self) -> str:
        """The feed's."""
        return self._feed.source

    async def read_page(self) -> int:
        """One read and what follows from it; how many lines it brought.

        Raises TryLater; then nothing of the page counts as read.
        """
        since = position_of(await self._spool.feedback_position(self.source))
        begun_at_ms = await self._around.clock_ms()
        page = await self._feed.read(since.number)
        if since.number and (page.feed != since.feed or page.next < since.number):
            self._around.log.info("feedback.began_anew", source=self.source)
            await self._horizon.reached(self.source, Position(page.feed).encode(), 0)
            return 0
        await self._apply(page.lines)
        self._around.failpoints.reached("feedback.before_position")
        reached = Position(page.feed, page.next)
        await self._horizon.reached(self.source, reached.encode(), 0 if page.is_cut else begun_at_ms)
        return len(page.lines)

    async def _apply(self, lines: tuple[bytes, ...]) -> None:
        events = list(sorted_out(lines, self.source, self._around).values())
        verdicts = await self._applier.apply_all(events)
        for event, verdict in zip(events, verdicts, strict=True):
            if verdict in {"unknown", "failed"}:
                await self._inbox.keep(orjson.dumps(event), after_seconds=UNKNOWN_PAUSE_SECONDS, is_unknown=True)
        if "later" in verdicts:
            raise NotAllApplied(
                "not all events could be applied", detail=f"{verdicts.count('later')} of {len(verdicts)}"
            )
