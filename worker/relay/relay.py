"""The step that sends: what waits goes out in batches, one call each, each call between an intent and an outcome.

Theory of operation
1. The recipients that wait are split into batches of at most 50, in order.
2. For each batch: the attempt is written (intent), SES is called once, the outcome is noted. The note of one batch
   travels with the intent of the next, the last one with the end of the message: always before anything else is
   sent for this message, and before waiting for a free slot.
3. After Throttled or Unavailable the rest of the message waits: SES said it about the account, not about the batch.
4. A crash between intent and outcome leaves an attempt without outcome; the next holder's load step settles it.
Invariant: at most one batch of a message is in doubt for each lost call, and no recipient is in two batches at once.

Quota, lanes, confirmation of unknown outcomes and bisecting of refused batches have their place here: before the
intent of a batch, and in `note`.
"""

import dataclasses
import time

from spool.records import Attempt
from spool.states import Happening, RecipientState
from worker.relay.batches import split
from worker.relay.mime import without_private_headers
from worker.relay.note import note
from worker.relay.outcomes import Outcome, Unavailable
from worker.relay.ses import LeaseEnded
from worker.relay.wire import Call
from worker.tools import Tools
from worker.work import Continue, LeaseLost, StepFailed, Stop, Work, write

BATCH_TAG = "sluice-batch"
# Why the rest of a message is given back at once: the worker stops, or its task has run for long enough.
STOPPING = "worker stopping"


async def relay(work: Work, tools: Tools) -> Continue | Stop:
    """Sends what can be sent now. Raises LeaseLost."""
    waiting = work.message.indexes(RecipientState.WAITING)
    if not waiting:
        return Continue(work)
    content, tags = without_private_headers(work.content)
    for batch in split(waiting):
        try:
            async with tools.ses.slots:
                if tools.stopping.is_set() or time.monotonic() > work.deadline:
                    return Continue(dataclasses.replace(work, delay_reason=STOPPING))
                tools.failpoints.reached("relay.before_intent")
                work, attempt = await _intended(work, batch, tools)
                tools.failpoints.reached("relay.after_intent")
                outcome = await _called(work, attempt, content, tags, tools)
                work = note(work, attempt, outcome, tools)
                tools.failpoints.reached("relay.after_call")
        except LeaseLost:
            raise
        except Exception as error:  # whatever it was: what SES answered so far must not be forgotten
            raise StepFailed(work) from error
        if work.delay_reason:
            break
        if tools.ses.slots.locked():  # the next batch has to wait: what SES answered must not wait with it
            work = await write(work, tools)
    return Continue(work)


async def _intended(work: Work, batch: tuple[int, ...], tools: Tools) -> tuple[Work, Attempt]:
    """Records the attempt before the call, together with the outcome of the batch before."""
    number = max((attempt.number for attempt in work.message.attempts), default=0) + 1
    attempt = Attempt(number, batch, tools.now_ms(), tools.worker)
    message = work.message.having(batch, Happening.ATTEMPT_STARTED, (*work.message.attempts, attempt))
    return await write(work.learnt(message, attempts=(attempt,)), tools), attempt


async def _called(work: Work, attempt: Attempt, content: bytes, tags: dict[str, str], tools: Tools) -> Outcome:
    call = Call(
        sender=work.message.sender,
        recipients=[work.message.recipients[index] for index in attempt.recipients],
        content=content,
        tags={**tags, BATCH_TAG: f"{work.message.message_id}.{attempt.number}"},
        configuration_set=tools.settings.relay.ses_configuration_set,
    )
    try:
        return await tools.ses.send(call, lambda: tools.leases.is_valid(work.lease))
    except LeaseEnded:  # known for certain: SES has seen nothing of it
        return Unavailable("LeaseEnded", "the lease ended before anything was sent")
