"""Applies one event of SES, whatever brought it: the one entry point of every source.

Theory of operation
1. Whose is it? Our tag on the call says so, or our header; else the index of SES's ids, which remembers for ten days.
2. That SES took the call is noted first, which settles a call without an answer (events.py). More does not follow from
   Send: it was told when SES answered.
3. One script writes down the rest once (spool/feedback_book.py): the recipients' states, the record for the event
   stream, the figures. An event that was written before changes nothing.
4. What follows outside that script (followers.py) is announced with it and struck off when done. A crash between the
   two: the source gives the event again, the script says `unfinished`, and what follows is done then.
So an event may be given any number of times, and has to be until `apply` has returned.

An event about a message that is not here is about one that was forgotten, when its id is old enough for that; then it
is applied as far as that goes. Else it is `unknown`: the call's outcome may not be written yet, so the source has to
come back with it, for as long as it likes; it may be mail of another installation, or nobody's here.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from structlog.typing import FilteringBoundLogger

from config.errors import TryLater
from config.failpoints import Failpoints
from spool.feedback_book import Answer, Found, Mark, Telling
from spool.feedback_states import FeedbackHappening
from spool.mailbox_simulator import is_simulated
from spool.tally import Tally
from worker.feedback.events import Confirms, SentCall, note_call
from worker.feedback.ses_event import SesEvent, ses_event_of
from worker.feedback.telling import telling_of

#: written: it was news; repeated: it was told before; noted: a Send event that settled a doubt; known: one that did
#: not; unknown: come back with it; foreign: about nothing of ours; failed: a bug, which the log tells; later: the spool
#: or what follows is away or full, come back with it.
Verdict = Literal["written", "repeated", "noted", "known", "unknown", "foreign", "failed", "later"]

# Events applied side by side: few, mail goes first.
_AT_ONCE = 40
_MILLISECONDS_IN_ID = 16


class Book(Protocol):
    """spool/feedback_book.py."""

    async def find(self, message_id: str, ses_message_id: str) -> Found | None: ...

    async def write(self, telling: Telling) -> Answer: ...

    async def finished(self, mark: Mark) -> None: ...


class Follows(Protocol):
    """What follows from an event beside what is written down: followers.py."""

    def has_some(self, event: SesEvent) -> bool: ...

    async def follow(self, event: SesEvent, found: Found) -> None:
        """Everything; may be repeated. Raises TryLater."""
        ...

    async def note_deliveries(self, sender: str, user: str | None, recipients: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long what is kept."""

    #: A finished message.
    finished_seconds: float
    #: An event about a send that is not known.
    unknown_seconds: float


class Applier:
    """Applies events. `clock_ms` is this machine's."""

    def __init__(
        self,
        spool: Confirms,
        book: Book,
        followers: Follows,
        keeping: Keeping,
        *,
        tally: Tally,
        failpoints: Failpoints,
        log: FilteringBoundLogger,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._spool = spool
        self._book = book
        self._followers = followers
        self.keeping = keeping
        self._tally = tally
        self._failpoints = failpoints
        self._log = log
        self._clock_ms = clock_ms
        self._delivered: Counter[tuple[str, str | None]] = Counter()

    async def apply_all(self, events: Sequence[Mapping[str, Any]]) -> list[Verdict]:
        """Applies a page; what is about one call in its order.

        One that cannot be applied now is `later`, as are those behind it of its call, and holds up no other. Raises
        TryLater when that is all of them: then the whole page has to come again.
        """
        verdicts: dict[int, Verdict] = {}
        by_call: dict[str, list[int]] = {}
        for index, event in enumerate(events):
            by_call.setdefault(_call_text(event), []).append(index)

        async def one_call(indexes: Sequence[int]) -> None:
            for index in indexes:
                verdicts[index] = await self.apply(events[index])

        calls, troubles = list(by_call.values()), list[TryLater]()
        for start in range(0, len(calls), _AT_ONCE):
            some = (one_call(indexes) for indexes in calls[start : start + _AT_ONCE])
            troubles += _troubles_of(await asyncio.gather(*some, return_exceptions=True))
        await self._note_deliveries()
        for trouble in troubles[:1]:
            if not verdicts:
                raise trouble
            about = {"reason": trouble.reason, "detail": trouble.detail}
            self._log.warning("feedback.later", events=len(events) - len(verdicts), **about)
        return [verdicts.get(index, "later") for index in range(len(events))]

    async def apply(self, raw: Mapping[str, Any]) -> Verdict:
        """Applies one event. `raw` is SES's JSON, out of whatever it was wrapped in. Raises TryLater."""
        try:
            verdict = await self._apply(raw)
        except TryLater:
            raise
        except Exception:  # noqa: BLE001 - a bug: one event must not keep all others from being read
            self._log.exception("feedback.failed")
            verdict = "failed"
        if verdict != "unknown":  # that comes again
            self._tally.count(f"feedback_events:{verdict}")
        return verdict

    async def _apply(self, raw: Mapping[str, Any]) -> Verdict:
        event = ses_event_of(raw)
        if event is None:
            return "foreign"
        is_noted = event.call is not None and await self._is_news(event.call)
        found = await self._book.find(event.call.message_id if event.call else "", event.ses_message_id)
        if found is None or (found.message is None and event.call and not self._may_be_forgotten(found.message_id)):
            return self._without_message(event)
        if event.event_type == "Send":
            return "noted" if is_noted else "known"
        if is_noted:
            self._tally.count("feedback_events:noted")
        return await self._written(event, found)

    async def _is_news(self, call: SentCall) -> bool:
        confirmation = await note_call(self._spool, call)
        if confirmation == "noted":
            about = {"message_id": call.message_id, "attempt": call.attempt_number}
            self._log.info("feedback.confirmed", **about, ses_message_id=call.ses_message_id)
        return confirmation == "noted"

    def _may_be_forgotten(self, message_id: str) -> bool:
        """Whether a message with this id, which says when it was accepted, may have been here and not be any more."""
        try:
            accepted_at_ms = int(message_id[:_MILLISECONDS_IN_ID], 16)
        except ValueError:
            return False
        return accepted_at_ms + self.keeping.finished_seconds * 1000 <= self._clock_ms()

    def _without_message(self, event: SesEvent) -> Verdict:
        """Every call of ours has our tag, and its outcome is written soon after it."""
        is_old = self._clock_ms() - event.sent_at_ms > self.keeping.unknown_seconds * 1000
        return "foreign" if is_old or (event.has_tags and event.call is None) else "unknown"

    async def _written(self, event: SesEvent, found: Found) -> Verdict:
        has_followers = self._followers.has_some(event)
        answer = await self._book.write(telling_of(event, found, has_followers=has_followers))
        if answer == "known":
            return "repeated"
        self._failpoints.reached("feedback.after_apply")
        if answer == "written":
            self._tell(event, found)
        if has_followers or answer == "unfinished":
            await self._followers.follow(event, found)
            self._failpoints.reached("feedback.before_finished")
            await self._book.finished(event.mark)
        return "written"

    def _tell(self, event: SesEvent, found: Found) -> None:
        about = {"message_id": found.message_id, "type": event.event_type, "recipients": len(event.recipients)}
        late_seconds = max(0.0, (self._clock_ms() - event.at_ms) / 1000)
        self._tally.observe("feedback:lag", late_seconds)
        self._log.info("feedback.told", **about, sub_type=event.sub_type, late_seconds=round(late_seconds, 1))
        told = (one.happening for one in event.recipients if not is_simulated(one.address))
        delivered = sum(one is FeedbackHappening.DELIVERY for one in told)
        if delivered and not (found.message and found.message.door == "bounce"):
            self._delivered[sender_of(event, found), found.message.user if found.message else None] += delivered

    async def _note_deliveries(self) -> None:
        """A page's deliveries by sender; a kill loses a page of them, which makes a sender look worse by as much."""
        for sender, user in list(self._delivered):
            if recipients := self._delivered.pop((sender, user), 0):  # else another reader notes them
                try:
                    await self._followers.note_deliveries(sender, user, recipients)
                except TryLater:
                    self._delivered[sender, user] += recipients
                    raise


def _troubles_of(ends: Sequence[BaseException | None]) -> list[TryLater]:
    """What kept calls from being applied; anything else than TryLater is raised."""
    for end in ends:
        if end is not None and not isinstance(end, TryLater):
            raise end
    return [end for end in ends if isinstance(end, TryLater)]


def _call_text(event: Mapping[str, Any]) -> str:
    mail = event.get("mail")
    return str(mail.get("messageId")) if isinstance(mail, Mapping) else ""


def sender_of(event: SesEvent, found: Found) -> str:
    """The envelope sender, by SES's word when the message is forgotten."""
    if found.message is not None:
        return found.message.sender
    return event.source.rpartition("<")[2].partition(">")[0].strip()
