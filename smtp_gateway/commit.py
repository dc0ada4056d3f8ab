"""From the final dot to the reply: when OK may be said, and what becomes of a message whose answer came too late.

Theory of operation
1. The spool's accept returns when the message is on the disk of the server; only then the answer is ACCEPTED.
2. A store that does not answer may have taken the message. The same message_id is offered again, which is harmless,
   with growing pauses, until `commit_timeout_seconds` are over. Most restarts of a server end here, unnoticed.
3. Then the client is told 451 and will send again. The message is taken back as soon as the store answers, so that
   the client's second try makes no second mail; the spool refuses a commit that arrives after that. A worker that
   was faster keeps it: a duplicate is then not avoidable.
4. A crash between 1 and the reply leaves a message that was never answered for: the client sends again. SMTP has no
   remedy for it (RFC 1047).
A client that disconnects while its message is committed changes nothing: the message was complete.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from config.errors import TryLater
from config.failpoints import Failpoints
from config.logs import get_log
from sending_events.records import EventRecord
from smtp_gateway.admission import Reservation
from smtp_gateway.replies import Reply
from spool.content import ContentUnavailable
from spool.group_commit import GroupCommit
from spool.records import NewMessage
from spool.safety import SafetyReport
from spool.scripts import StoreFull, StoreUnavailable

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
WITHDRAWN_REASON = "taken back: the client was told to send it again"


class Keeper(Protocol):
    """What the gateway asks of the spool."""

    async def accept(self, message: NewMessage) -> None:
        """Returns when the message is safe. Raises StoreUnavailable, StoreFull or ContentUnavailable."""
        ...

    async def withdraw(self, message_ids: Sequence[str], *, events: Sequence[bytes] = ()) -> list[bool]:
        """Takes messages back; True for each that was there and is gone. Raises StoreUnavailable."""
        ...


class HasReport(Protocol):
    """What the gateway asks of the safety watch."""

    report: SafetyReport


class Committer:
    """Commits messages of all sessions of a process. The spool groups what comes at the same time."""

    def __init__(
        self, spool: Keeper, safety: HasReport, *, timeout_seconds: float, failpoints: Failpoints | None = None
    ) -> None:
        self._spool = spool
        self._safety = safety
        self._timeout_seconds = timeout_seconds
        self._failpoints = failpoints or Failpoints("")
        self._late: set[asyncio.Task[None]] = set()
        self._withdrawals = GroupCommit(self._withdraw_group)

    def refusal(self) -> Reply | None:
        """Why no mail can be taken now, if so; asked at MAIL and again before the commit."""
        report = self._safety.report
        if not report.is_safe:
            return Reply.STORE_NOT_SAFE
        return Reply.STORE_FULL if report.is_full else None

    async def commit(self, message: NewMessage, memory: Reservation) -> Reply:
        """ACCEPTED or a 4xx, in time. Releases the memory as soon as the content is not needed any more."""
        refusal = self.refusal()
        if refusal:
            memory.release()
            return refusal
        self._failpoints.reached("gateway.before_commit")
        loop = asyncio.get_running_loop()
        accept = loop.create_task(self._accept(message, loop.time() + self._timeout_seconds))
        accept.add_done_callback(lambda _: memory.release())
        await _ended_or_late(accept, self._timeout_seconds)
        if not accept.done():  # it ends by itself, and its memory is held until then
            self._take_back_later(message.message_id)
            return Reply.STORE_SILENT
        reply, is_perhaps_kept = accept.result()
        if is_perhaps_kept:
            self._take_back_later(message.message_id)
        if reply is Reply.ACCEPTED:
            self._failpoints.reached("gateway.after_commit")
        return reply

    async def drain(self, seconds: float) -> None:
        """Waits so long for messages that are to be taken back, then lets them be."""
        if self._late:
            await asyncio.wait(self._late, timeout=seconds)
        for task in self._late:
            task.cancel()

    async def _accept(self, message: NewMessage, deadline: float) -> tuple[Reply, bool]:
        """(reply, whether the message may be in the spool although the reply is a refusal)."""
        loop = asyncio.get_running_loop()
        pause, is_perhaps_kept = FIRST_PAUSE_SECONDS, False
        while True:
            try:
                await self._spool.accept(message)
            except StoreFull:
                return Reply.STORE_FULL, is_perhaps_kept
            except ContentUnavailable:
                return Reply.STORE_SILENT, is_perhaps_kept
            except StoreUnavailable as error:
                is_perhaps_kept = True
                if loop.time() + pause >= deadline:
                    get_log().warning("spool.unavailable", message_id=message.message_id, error=error.detail)
                    return Reply.STORE_SILENT, True
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                return Reply.ACCEPTED, False

    def _take_back_later(self, message_id: str) -> None:
        task = asyncio.get_running_loop().create_task(self._take_back(message_id))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _take_back(self, message_id: str) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                was_there = await self._withdrawals.add(message_id)
            except TryLater:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                if was_there:
                    get_log().info("message.withdrawn", message_id=message_id)
                return

    async def _withdraw_group(self, message_ids: Sequence[str]) -> list[bool]:
        now_ms = int(time.time() * 1000)
        events = [EventRecord("dropped", one, now_ms, reason=WITHDRAWN_REASON).encode() for one in message_ids]
        return await self._spool.withdraw(message_ids, events=events)


async def _ended_or_late(task: asyncio.Task[tuple[Reply, bool]], seconds: float) -> None:
    """asyncio.wait([task], timeout=…) in half the time: this is on every message's way."""
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not woken.done():
            woken.set_result(None)

    timer = loop.call_later(seconds, wake)
    task.add_done_callback(wake)
    try:
        await woken
    finally:
        timer.cancel()
