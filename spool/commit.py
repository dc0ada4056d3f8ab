"""From a whole message to the answer: when a door may say OK, and what becomes of a message whose answer came too late.

Theory of operation
1. The spool's accept returns when the message is on the disk of the server; only then the answer is OK, with the id
   that counts: the message's own, or that of the earlier one that it repeats (idempotency.py).
2. A store that does not answer may have taken the message. The same message_id is offered again, which is harmless,
   with growing pauses, until `commit_timeout_seconds` are over. Most restarts of a server end here, unnoticed.
3. Then the client is told to send again (SMTP 451, HTTP 503). The message is taken back as soon as the store answers,
   so that the client's second try makes no second mail; the spool refuses a commit that arrives after that. A worker
   that was faster keeps it: a duplicate is then not avoidable, unless the second try is known as a repeat.
4. A crash between 1 and the answer leaves a message that was never answered for: the client sends again. SMTP has no
   remedy for it (RFC 1047) but a key that makes the repeat known.
A client that disconnects while its message is committed changes nothing: the message was complete.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from config.errors import TryLater
from config.failpoints import Failpoints
from config.logs import get_log
from spool.content import ContentUnavailable
from spool.group_commit import GroupCommit
from spool.records import NewMessage
from spool.safety import SafetyReport
from spool.scripts import StoreFull, StoreUnavailable

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0

#: The store does not keep what it answers for; it has no room; it did not answer in time. All of them mean: later.
Refusal = Literal["not_safe", "full", "silent"]


@dataclass(frozen=True, slots=True)
class Committed:
    """What the door says: OK with this id, or why the message has to come again."""

    refusal: Refusal | None
    message_id: str


class Memory(Protocol):
    """What the message's content takes of the door's memory."""

    def release(self) -> None:
        """Gives it back; may be called again."""
        ...


class Keeper(Protocol):
    """What a door asks of the spool."""

    async def accept(self, message: NewMessage) -> str:
        """Returns when the message is safe: the id that counts.

        Raises StoreUnavailable, StoreFull or ContentUnavailable.
        """
        ...

    async def withdraw(self, message_ids: Sequence[str]) -> list[bool]:
        """Takes messages back; True for each that was there and is gone. Raises StoreUnavailable."""
        ...


class HasReport(Protocol):
    """What a door asks of the safety watch."""

    report: SafetyReport


class Committer:
    """Commits the messages of a door. The spool groups what comes at the same time."""

    def __init__(
        self,
        spool: Keeper,
        safety: HasReport,
        *,
        timeout_seconds: float,
        failpoints: Failpoints | None = None,
    ) -> None:
        self._spool = spool
        self._safety = safety
        self._timeout_seconds = timeout_seconds
        self._failpoints = failpoints or Failpoints("")
        self._late: set[asyncio.Task[None]] = set()
        self._withdrawals = GroupCommit(spool.withdraw)

    def refusal(self) -> Refusal | None:
        """Why no mail can be taken now, if so; asked before a message is read, and by `commit`."""
        report = self._safety.report
        if not report.is_safe:
            return "not_safe"
        return "full" if report.is_full else None

    async def commit(self, message: NewMessage, memory: Memory) -> Committed:
        """The answer, in time. Releases the memory as soon as the content is not needed any more."""
        refusal = self.refusal()
        if refusal:
            memory.release()
            return Committed(refusal, message.message_id)
        self._failpoints.reached("commit.before")
        loop = asyncio.get_running_loop()
        accept = loop.create_task(self._accept(message, loop.time() + self._timeout_seconds))
        accept.add_done_callback(lambda _: memory.release())
        await _ended_or_late(accept, self._timeout_seconds)
        if not accept.done():  # it ends by itself, and its memory is held until then
            self._take_back_later(message.message_id)
            return Committed("silent", message.message_id)
        committed, is_perhaps_kept = accept.result()
        if is_perhaps_kept:
            self._take_back_later(message.message_id)
        if committed.refusal is None:
            self._failpoints.reached("commit.after")
        return committed

    async def drain(self, seconds: float) -> None:
        """Waits so long for messages that are to be taken back, then lets them be."""
        if self._late:
            await asyncio.wait(self._late, timeout=seconds)
        for task in self._late:
            task.cancel()

    async def _accept(self, message: NewMessage, deadline: float) -> tuple[Committed, bool]:
        """(answer, whether the message may be in the spool although the answer is a refusal)."""
        loop = asyncio.get_running_loop()
        own, pause, is_perhaps_kept = message.message_id, FIRST_PAUSE_SECONDS, False
        while True:
            try:
                message_id = await self._spool.accept(message)
            except StoreFull:
                return Committed("full", own), is_perhaps_kept
            except ContentUnavailable:
                return Committed("silent", own), is_perhaps_kept
            except StoreUnavailable as error:
                is_perhaps_kept = True
                if loop.time() + pause >= deadline:
                    get_log().warning("spool.unavailable", message_id=own, error=error.detail)
                    return Committed("silent", own), True
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                return Committed(None, message_id), False

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


async def _ended_or_late(task: asyncio.Task[tuple[Committed, bool]], seconds: float) -> None:
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
