"""First step: the calls that an earlier holder of the message left behind, who is too old, and the content.

An earlier holder may have died between intent and answer: the attempt is open, the call may or may not have been
made. Or its answer came after its lease had gone: the attempt has an outcome, its recipients do not know of it yet.
"""

import dataclasses
from contextlib import suppress

from spool.content import ContentUnavailable
from spool.records import Attempt
from spool.states import UNREADABLE_VERDICT, RecipientState
from worker.relay.note import note, outcome_of
from worker.relay.outcomes import Accepted, Outcome, Unknown
from worker.steps import tries
from worker.steps.doubts import settle_doubts
from worker.steps.expiry import expire
from worker.steps.tell import untold_failures
from worker.tools import Tools
from worker.work import Continue, Stop, Work, write

NOT_RECORDED = Unknown("NotRecorded", "the worker ended, or a step failed, before SES's answer was recorded")


async def load(work: Work, tools: Tools) -> Continue | Stop:
    """Raises ContentUnavailable when the content is needed and cannot be had, StoreUnavailable, and LeaseLost."""
    if work.message.is_verdict_unreadable:  # nobody can say to whom it may go
        await write(work.learnt(work.message, held_messages=1), tools, to="held", reason=UNREADABLE_VERDICT)
        tools.log.error("message.held", reason=UNREADABLE_VERDICT)
        return Stop("held")
    left_behind = _left_behind(work)
    for attempt, outcome in left_behind:
        work = note(work, attempt, outcome, tools)
    work = await settle_doubts(dataclasses.replace(work, delay=None), tools)
    work = await expire(work, tools)
    if left_behind:
        work = await write(work, tools)
    if RecipientState.WAITING not in work.message.states and not tries.waiting(work.message.verdict):
        if untold_failures(work.message, tools.settings):  # with the headers of the original, if they can be had
            with suppress(ContentUnavailable):
                work = dataclasses.replace(work, content=await tools.spool.content_of(work.message))
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
