"""Reads the SQS queue of SES's events and gives each to the entry point.

Theory of operation
1. A message is deleted when everything that follows from its event is done. A crash before that, or a spool that does
   not answer, and it comes again when its time of hiding is over; applying it twice changes nothing.
2. An event about a send that is not known yet is put into the spool's inbox and then deleted. When the inbox is full it
   stays where it is.
3. Text that is no event is counted, logged and deleted: it would come again for days. An event that meets a bug of ours
   stays; the queue's own redrive policy, if it has one, says how often it comes.
4. What the reads prove about the past is horizon.py's.
"""

from collections.abc import Sequence
from typing import Protocol

import orjson

from spool.scripts import StoreFull
from worker.feedback.horizon import Horizon, Quiet
from worker.feedback.patience import IDLE_PAUSE_SECONDS
from worker.feedback.reader import UNKNOWN_PAUSE_SECONDS, Applies, Keeps, sorted_out
from worker.feedback.sqs_queue import HIDDEN_SECONDS, Batch, QueueMessage
from worker.feedback.surroundings import Surroundings


class Queue(Protocol):
    """worker/feedback/sqs_queue.py."""

    source: str

    async def receive(self) -> Batch:
        """Raises TryLater."""
        ...

    async def delete(self, messages: Sequence[QueueMessage]) -> int:
        """Raises TryLater."""
        ...


class QueueReader:
    """One queue, read batch by batch."""

    idle_seconds = IDLE_PAUSE_SECONDS

    def __init__(
        self,
        queue: Queue,
        applier: Applies,
        inbox: Keeps,
        horizon: Horizon,
        around: Surroundings,
    ) -> None:
        self._queue = queue
        self._applier = applier
        self._inbox = inbox
        self._horizon = horizon
        self._around = around
        self._quiet = Quiet(HIDDEN_SECONDS * 1000)

    @property
    def source(self) -> str:
        """The queue's URL."""
        return self._queue.source

    async def read_page(self) -> int:
        """One read and what follows from it; how many messages it brought. Raises TryLater: then they come again."""
        try:
            return await self._read()
        except Exception:
            self._quiet.disturbed()
            raise

    async def _read(self) -> int:
        begun_at_ms = await self._around.clock_ms()
        batch = await self._queue.receive()
        done = await self._applied(batch.messages)
        self._around.failpoints.reached("feedback.before_delete")
        if done and (failed := await self._queue.delete(done)):
            self._around.log.warning("feedback.not_deleted", source=self.source, messages=failed)
        if len(done) < len(batch.messages):
            self._quiet.disturbed()
            return len(batch.messages)
        sent = [one.sent_at_ms for one in batch.messages if one.sent_at_ms]
        oldest_at_ms = min(sent, default=None)
        seen_at_ms = self._quiet.seen_at_ms(begun_at_ms, is_end=batch.is_end, oldest_sent_at_ms=oldest_at_ms)
        await self._horizon.reached(self.source, "", seen_at_ms)
        return len(batch.messages)

    async def _applied(self, messages: Sequence[QueueMessage]) -> list[QueueMessage]:
        """Those that may be deleted."""
        events = sorted_out([one.body for one in messages], self.source, self._around)
        verdicts = dict(zip(events, await self._applier.apply_all(list(events.values())), strict=True))
        done = []
        for index, message in enumerate(messages):
            verdict = verdicts.get(index)
            if verdict == "later":
                continue
            if verdict not in {"unknown", "failed"} or await self._kept(orjson.dumps(events[index])):
                done.append(message)
        return done

    async def _kept(self, event: bytes) -> bool:
        try:
            await self._inbox.keep(event, after_seconds=UNKNOWN_PAUSE_SECONDS, is_unknown=True)
        except StoreFull:
            return False
        return True
