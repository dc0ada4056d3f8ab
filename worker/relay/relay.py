"""The step that sends: what waits goes out in batches, one call each, each call between an intent and an outcome.

Theory of operation
1. Recipients that are too old expire; the others that wait are split into batches of at most 50, in order.
2. For each batch: the attempt is written (intent), SES is called once, the outcome is noted. The note of one batch
   travels with the intent of the next, the last one with the end of the message: always before anything else is
   sent for this message.
3. After Throttled or Unavailable the rest of the message waits: SES said it about the account, not about the batch.
4. A crash between intent and outcome leaves an attempt without outcome; the next holder's load step settles it.
Invariant: at most one batch of a message is in doubt for each lost call, and no recipient is in two batches at once.

Quota, lanes, confirmation of unknown outcomes and bisecting of refused batches have their place here: before the
intent of a batch, and in `_noted`.
"""

import dataclasses
from typing import Literal, assert_never

from sending_events.records import EventRecord
from spool.records import Attempt, OutcomeName
from spool.states import Happening, RecipientState
from worker.relay.batches import split
from worker.relay.mime import without_private_headers
from worker.relay.outcomes import Accepted, Outcome, Rejected, Throttled, Unavailable, Unknown
from worker.relay.ses import LeaseEnded
from worker.relay.wire import Call
from worker.tools import Tools
from worker.work import Continue, Stop, Work, write

BATCH_TAG = "sluice-batch"
STOPPING = "worker stopping"

OUTCOME_NAMES: dict[type[Outcome], OutcomeName] = {
    Accepted: "accepted",
    Rejected: "rejected",
    Throttled: "throttled",
    Unavailable: "unavailable",
    Unknown: "unknown",
}


async def relay(work: Work, tools: Tools) -> Continue | Stop:
    """Sends what can be sent now. Raises LeaseLost."""
    work = expired(work, tools)
    waiting = work.message.indexes(RecipientState.WAITING)
    if not waiting:
        return Continue(work)
    content, tags = without_private_headers(work.content)
    for batch in split(waiting):
        async with tools.ses.slots:
            if tools.stopping.is_set():
                return Continue(dataclasses.replace(work, delay_reason=STOPPING))
            tools.failpoints.reached("relay.before_intent")
            work, attempt = await _intended(work, batch, tools)
            tools.failpoints.reached("relay.after_intent")
            outcome = await _called(work, attempt, content, tags, tools)
            tools.failpoints.reached("relay.after_call")
        work = _noted(work, attempt, outcome, tools)
        if work.delay_reason:
            break
    return Continue(work)


def expired(work: Work, tools: Tools) -> Work:
    """Gives up the waiting recipients of a message that is older than relay.max_age_seconds."""
    age_seconds = (tools.now_ms() - work.message.accepted_at_ms) / 1000
    too_old = work.message.indexes(RecipientState.WAITING)
    if not too_old or age_seconds <= tools.settings.relay.max_age_seconds:
        return work
    tools.log.warning("recipient.expired", recipients=len(too_old), age_seconds=int(age_seconds))
    reason = f"not sent within {tools.settings.relay.max_age_seconds / 3600:g} hours"
    event = EventRecord("expired", work.message.message_id, tools.now_ms(), too_old, reason=reason)
    return work.learnt(
        work.message.having(too_old, Happening.EXPIRED), events=(event.encode(),), expired_recipients=len(too_old)
    )


async def _intended(work: Work, batch: tuple[int, ...], tools: Tools) -> tuple[Work, Attempt]:
    """Records the attempt before the call, together with the outcome of the batch before."""
    number = max((attempt.number for attempt in work.message.attempts), default=0) + 1
    attempt = Attempt(number, batch, tools.now_ms(), tools.worker)
    message = work.message.having(batch, Happening.ATTEMPT_STARTED)
    message = dataclasses.replace(message, attempts=(*message.attempts, attempt))
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


def _noted(work: Work, attempt: Attempt, outcome: Outcome, tools: Tools) -> Work:
    """What the outcome means for the batch's recipients, and whether the rest has to wait."""
    name = OUTCOME_NAMES[type(outcome)]
    tools.tally.count(f"ses_calls:{name}")
    closed = _closed(attempt, outcome, tools.now_ms())
    count = len(attempt.recipients)
    log = tools.log.bind(attempt=attempt.number, recipients=count)
    reason, happening, event = "", Happening.NOT_TAKEN, None
    match outcome:
        case Accepted(ses_message_id):
            happening, event = Happening.ACCEPTED, _event("send", work, closed)
            log.info("batch.sent", ses_message_id=ses_message_id)
        case Rejected(code):
            happening, event = Happening.REJECTED, _event("reject", work, closed)
            log.warning("batch.rejected", code=code)
        case Throttled(code):
            reason = "throttled"
            log.info("batch.throttled", code=code)
        case Unavailable(code):
            reason = "SES unavailable"
            log.warning("batch.unavailable", code=code, reason=outcome.reason)
        case Unknown(code):
            is_resent = tools.settings.relay.unknown == "resend"
            happening = Happening.CALL_LOST if is_resent else Happening.DOUBT_KEPT
            reason = "no answer from SES"
            log.warning("batch.unknown", code=code, reason=outcome.reason)
        case _:
            assert_never(outcome)
    message = work.message.having(attempt.recipients, happening)
    attempts = tuple(closed if one.number == attempt.number else one for one in message.attempts)
    work = work.learnt(
        dataclasses.replace(message, attempts=attempts),
        attempts=(closed,),
        events=(event,) if event else (),
        **{_COUNTERS[name]: count},
    )
    return dataclasses.replace(work, delay_reason=reason)


_COUNTERS: dict[OutcomeName, str] = {
    "accepted": "sent_recipients",
    "rejected": "rejected_recipients",
    "throttled": "throttled_recipients",
    "unavailable": "unavailable_recipients",
    "unknown": "unknown_recipients",
}


def _closed(attempt: Attempt, outcome: Outcome, ended_at_ms: int) -> Attempt:
    ended = dataclasses.replace(attempt, outcome=OUTCOME_NAMES[type(outcome)], ended_at_ms=ended_at_ms)
    if isinstance(outcome, Accepted):
        return dataclasses.replace(ended, ses_message_id=outcome.ses_message_id)
    return dataclasses.replace(ended, code=outcome.code, reason=outcome.reason[:500])


def _event(kind: Literal["send", "reject"], work: Work, attempt: Attempt) -> bytes:
    return EventRecord(
        kind,
        work.message.message_id,
        attempt.ended_at_ms or attempt.started_at_ms,
        attempt.recipients,
        ses_message_id=attempt.ses_message_id,
        reason=attempt.reason,
        attempt=attempt.number,
    ).encode()
