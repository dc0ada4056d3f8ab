"""Applies what waits in the spool's inbox: events of POST /feedback/sns, and those about sends that were not known yet.

An event is removed when it was applied; a crash before that shows it again. One about a send that stays unknown for
`[feedback] keep_unknown_seconds` is foreign: mail of somebody else who uses the account, or of another installation.

Nothing is said about the past while an event is here that came before the read began, also when it is hidden because
somebody took it and did not apply it, after a crash or a failure. Those about unknown sends do not count: a call in
doubt is known.
"""

from collections.abc import Sequence
from typing import Protocol

from spool.feedback_inbox import Waiting
from worker.feedback.apply import Verdict
from worker.feedback.horizon import Horizon
from worker.feedback.reader import Applies, sorted_out
from worker.feedback.surroundings import Surroundings

INBOX_SOURCE = "inbox"
_PAGE = 50
#: SNS tries again three times, 20 s apart; what it gave up in between is not seen here.
_SNS_LATENESS_MS = 75_000
#: After a bug, which the next version may not have; and how long that is hoped for.
_FAILED_PAUSE_SECONDS, _FAILED_SECONDS = 60.0, 6 * 3600.0
_LONGEST_PAUSE_SECONDS = 60.0


class Inbox(Protocol):
    """spool/feedback_inbox.py."""

    async def take(self, limit: int) -> list[Waiting]: ...

    async def put_off(self, ids: Sequence[str], seconds: float) -> None: ...

    async def park_unknown(self, ids: Sequence[str], seconds: float) -> None: ...

    async def oldest_at_ms(self) -> int | None: ...

    async def remove(self, ids: Sequence[str]) -> None: ...


class InboxReader:
    """The inbox, read page by page."""

    source = INBOX_SOURCE
    idle_seconds = 0.5

    def __init__(
        self,
        inbox: Inbox,
        applier: Applies,
        horizon: Horizon,
        around: Surroundings,
        *,
        keep_unknown_seconds: float,
    ) -> None:
        self._inbox = inbox
        self._applier = applier
        self._horizon = horizon
        self._keep_unknown_seconds = keep_unknown_seconds
        self._around = around

    async def read_page(self) -> int:
        """Some of those whose time has come; how many. Raises TryLater: then they come again."""
        begun_at_ms = await self._around.clock_ms()
        page = await self._inbox.take(_PAGE)
        events = sorted_out([one.event for one in page], self.source, self._around)
        verdicts = dict(zip(events, await self._applier.apply_all(list(events.values())), strict=True))
        for index, one in enumerate(page):
            await self._settle(one, verdicts.get(index))
        oldest_at_ms = await self._inbox.oldest_at_ms()
        is_end = oldest_at_ms is None or oldest_at_ms > begun_at_ms
        await self._horizon.reached(self.source, "", begun_at_ms - _SNS_LATENESS_MS if is_end else 0)
        return len(page)

    async def _settle(self, one: Waiting, verdict: Verdict | None) -> None:
        if verdict == "later":
            return  # it is shown again by itself
        if verdict == "unknown" and one.age_seconds < self._keep_unknown_seconds:
            left_seconds = self._keep_unknown_seconds - one.age_seconds
            await self._inbox.park_unknown([one.id], min(pause_seconds(one.age_seconds), left_seconds))
        elif verdict == "failed" and one.age_seconds < _FAILED_SECONDS:
            # As an unknown one, or a bug about one event would leave every call in doubt where it is.
            await self._inbox.park_unknown([one.id], _FAILED_PAUSE_SECONDS)
        else:
            if verdict == "unknown":
                self._around.tally.count("feedback_events:foreign")
                self._around.log.info("feedback.foreign", waited_seconds=round(one.age_seconds))
            await self._inbox.remove([one.id])


def pause_seconds(age_seconds: float) -> float:
    """How long an event about an unknown send is left alone: longer the longer it has waited."""
    return min(_LONGEST_PAUSE_SECONDS, max(1.0, age_seconds / 2))
