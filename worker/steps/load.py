"""First step: who is too old, the content, and the calls that an earlier holder of the message left behind.

An earlier holder may have died between intent and answer: the attempt is open, the call may or may not have been
made. Or its answer came after its lease had gone: the attempt has an outcome, its recipients do not know of it yet.
"""

import dataclasses

from sending_events.records import EventRecord
from spool.records import Attempt
from spool.states import Happening, RecipientState
from worker.relay.note import note, outcome_of
from worker.relay.outcomes import Accepted, Outcome, Unavailable, Unknown
from worker.tools import Tools
from worker.work import Continue, Stop, Work, age_seconds, write

NOT_RECORDED = Unknown("NotRecorded", "the worker ended, or a step failed, before SES's answer was recorded")


async def load(work: Work, tools: Tools) -> Continue | Stop:
    """Raises ContentUnavailable when the content is needed and cannot be had."""
    left_behind = _left_behind(work)
    for attempt, outcome in left_behind:
        work = note(work, attempt, outcome, tools)
    work = expired(dataclasses.replace(work, delay_reason=""), tools)
    if left_behind:
        work = await write(work, tools)
    if not work.message.indexes(RecipientState.WAITING):
        return Continue(work)
    return Continue(dataclasses.replace(work, content=await tools.spool.content_of(work.message)))


def _left_behind(work: Work) -> list[tuple[Attempt, Outcome]]:
    """Attempts whose outcome has not reached their recipients, in order."""
    found: list[tuple[Attempt, Outcome]] = []
    for attempt in work.message.attempts:
        outcome = outcome_of(attempt) or NOT_RECORDED
        states = {work.message.states[index] for index in attempt.recipients}
        is_late_success = isinstance(outcome, Accepted) and any(not state.is_final for state in states)
        if is_late_success or (RecipientState.SENDING in states and attempt is _latest(work, attempt)):
            found.append((attempt, outcome))
    return found


def _latest(work: Work, attempt: Attempt) -> Attempt:
    """The newest attempt for the same recipients."""
    return max(
        (one for one in work.message.attempts if set(one.recipients) & set(attempt.recipients)),
        key=lambda one: one.number,
    )


def _is_account_to_blame(work: Work) -> bool:
    """Whether the last call failed for account trouble: an operator's matter, for which nobody gets a bounce."""
    last = outcome_of(work.message.attempts[-1]) if work.message.attempts else None
    return isinstance(last, Unavailable) and last.blames_account


def expired(work: Work, tools: Tools) -> Work:
    """Gives up the waiting recipients of a message that is older than relay.max_age_seconds."""
    age = age_seconds(work, tools)
    too_old = work.message.indexes(RecipientState.WAITING)
    if not too_old or age <= tools.settings.relay.max_age_seconds or _is_account_to_blame(work):
        return work
    tools.log.warning("recipient.expired", recipients=len(too_old), age_seconds=int(age))
    reason = f"not sent within {tools.settings.relay.max_age_seconds / 3600:g} hours"
    event = EventRecord("expired", work.message.message_id, tools.now_ms(), too_old, reason=reason)
    return work.learnt(
        work.message.having(too_old, Happening.EXPIRED), events=(event.encode(),), expired_recipients=len(too_old)
    )
