"""Last step: the end of the message, or where it waits for what. Also what happens when a step failed.

What still waits goes where its delay says: due (the worker stops), to its lane (the route decides when), parked (by
itself, longer with every round, or until a function is asked again), held (an operator decides). Where several of these
hold, relay/delays.py makes one move of them. When nobody waits but recipients whose call ended without an answer, the
message waits for SES's own event of that call, or is held. When all have their end but an async function was not asked
yet, the message waits for that.
"""

import dataclasses
from typing import Literal

from config.errors import TryLater
from sending_events.records import EventRecord
from sending_events.sets_of_parts import by_set
from spool.states import AWAITS_EVENT, IN_DOUBT, IN_LANE, RecipientState, awaits_function
from worker.relay.delays import Wait, merged
from worker.relay.relay import parked_seconds
from worker.steps import tries
from worker.steps.aside import join_aside
from worker.steps.doubts import seconds_until_settled
from worker.tools import Tools
from worker.work import Delay, LeaseLost, Stop, Work, age_seconds, write

# In a lane no distance at all would mean that only the turn brings the message back.
_SOON_SECONDS = 0.01


async def finish(work: Work, tools: Tools) -> Stop:
    """Writes what is left and moves the message. Raises LeaseLost."""
    tools.failpoints.reached("relay.after_outcome")
    is_waiting = RecipientState.WAITING in work.message.states
    work = await join_aside(work, tools, is_done=not is_waiting)
    until_asked = _until_asked(work, tools)
    if is_waiting:
        work = _with_function(work, until_asked, tools)
        assert work.delay is not None, "the relay says why somebody waits"
        return await _MOVES[work.delay.to](work, work.delay, tools)
    if RecipientState.UNKNOWN in work.message.states:
        return await _in_doubt(work, until_asked, tools)
    if until_asked:
        return await _park(work, until_asked, tools)
    await write(work.learnt(work.message, finished_messages=1), tools, to="done")
    tools.failpoints.reached("finish.after_settle")
    await tools.spool.forget_content(work.message)
    tools.log.info("message.finished", recipients=len(work.message.recipients))
    return Stop("done")


def _until_asked(work: Work, tools: Tools) -> Delay | None:
    """Until a function is asked next; None when none has to be. No later than its recipients grow too old."""
    calls = tries.waiting(work.message.verdict)
    if not calls:
        return None
    first = min(calls, key=lambda call: call.next_at_ms)
    after_seconds = (first.next_at_ms - tools.now_ms()) / 1000
    if any(call.mode == "sync" for call in calls):
        left_seconds = tools.settings.relay.max_age_seconds - age_seconds(work, tools) + 0.5
        after_seconds = min(after_seconds, left_seconds) if left_seconds > 0 else after_seconds
    return Delay("parked", awaits_function(first.rule), after_seconds=max(_SOON_SECONDS, after_seconds))


def _with_function(work: Work, until_asked: Delay | None, tools: Tools) -> Work:
    """The delay of the relay and that of a function as one."""
    if until_asked is None:
        return work
    if work.delay is None:
        return work.delayed(until_asked)
    waits = [Wait(work.delay, work.seat, work.queued or 0), Wait(until_asked)]
    wait = merged(waits, lambda delay: parked_seconds(work, delay, tools), lambda _: (False, False, 0))
    return work.delayed(wait.delay)


async def _put_back(work: Work, _: Delay, tools: Tools) -> Stop:
    await write(work, tools, to="due")
    return Stop("due")


async def _queue(work: Work, delay: Delay, tools: Tools) -> Stop:
    """To its lane; it wakes by itself only to expire, and never again once it was spared that."""
    left_seconds = tools.settings.relay.max_age_seconds - age_seconds(work, tools)
    looks = [one for one in (left_seconds + 0.5, delay.after_seconds) if one is not None and one > 0]
    work = _deferred(work, delay, tools, 0)
    await write(work, tools, to="lane", after_seconds=min(looks, default=0.0), reason=IN_LANE)
    tools.gate_wanted.set()
    if delay.told:
        waiting = len(work.message.indexes(RecipientState.WAITING))
        tools.log.info("message.parked", reason=delay.told, lane=work.seat and work.seat.lane, recipients=waiting)
    return Stop("lane")


async def _park(work: Work, delay: Delay, tools: Tools) -> Stop:
    """The rest waits by itself: longer with every round, never past its end of life."""
    message, after_seconds = work.message, delay.after_seconds
    rounds = message.rounds if after_seconds is not None else message.rounds + 1
    if after_seconds is None:
        after_seconds = min(delay.longest_seconds, tools.backoff.delay_seconds(rounds, tools.chance()))
        left_seconds = tools.settings.relay.max_age_seconds - age_seconds(work, tools) + 0.5
        if left_seconds > 0:  # else it was spared, and goes on as before
            after_seconds = min(after_seconds, left_seconds)
    work = _deferred(work, delay, tools, tools.now_ms() + int(after_seconds * 1000))
    await write(work, tools, to="parked", after_seconds=after_seconds, reason=delay.reason, rounds=rounds)
    waiting = len(message.indexes(RecipientState.WAITING))
    tools.log.info("message.parked", reason=delay.reason, seconds=round(after_seconds, 1), recipients=waiting)
    return Stop("parked")


async def _hold(work: Work, delay: Delay, tools: Tools) -> Stop:
    await write(work.learnt(work.message, held_messages=1), tools, to="held", reason=delay.reason)
    tools.log.warning("message.held", reason=delay.reason)
    return Stop("held")


_HELD_IN_DOUBT = Delay("held", IN_DOUBT)
_MOVES = {"due": _put_back, "lane": _queue, "parked": _park, "held": _hold}


async def _in_doubt(work: Work, until_asked: Delay | None, tools: Tools) -> Stop:
    """Nobody waits but those who may have the message already."""
    if tools.settings.unknown_policy != "confirm":
        return await (_park(work, until_asked, tools) if until_asked else _hold(work, _HELD_IN_DOUBT, tools))
    after_seconds = seconds_until_settled(work.message, tools)
    if until_asked and until_asked.after_seconds is not None:
        after_seconds = min(after_seconds, until_asked.after_seconds)
    await write(work, tools, to="parked", after_seconds=after_seconds, reason=AWAITS_EVENT)
    tools.log.info("message.parked", reason=AWAITS_EVENT, seconds=round(after_seconds, 1))
    return Stop("parked")


def _deferred(work: Work, delay: Delay, tools: Tools, next_at_ms: int) -> Work:
    """The event of a delay that is told; whoever only waits for its turn tells nothing."""
    if not delay.told:
        return work
    message = work.message
    waiting = message.indexes(RecipientState.WAITING)
    told = EventRecord("deferred", message.message_id, tools.now_ms(), reason=delay.told, next_at_ms=next_at_ms)
    events = tuple(
        dataclasses.replace(told, recipients=recipients, configuration_set=name).encode()
        for name, recipients in by_set(message, waiting).items()
    )
    return work.learnt(message, events=events, deferred_recipients=len(waiting))


async def give_back(work: Work, tools: Tools, step: str, error: TryLater) -> str:
    """Something the step needs is away (store, content, credentials): the message waits, nobody is to blame."""
    tools.log.warning("message.failed", step=step, error=error.detail, is_temporary=True)
    return await _settle_failure(work, tools, "parked", error.reason, rounds=work.message.rounds + 1)


async def hold_or_retry(work: Work, tools: Tools, step: str, error: BaseException | None) -> str:
    """A bug in a step: tried again a few times, then held so that others are not kept waiting."""
    failures = work.message.failures + 1
    tools.log.error("message.failed", step=step, failures=failures, error=type(error).__name__, exc_info=error)
    reason = f"step {step} failed: {type(error).__name__}"
    if failures < tools.settings.worker.max_failures:
        return await _settle_failure(work, tools, "parked", reason, failures=failures)
    tools.log.error("message.held", reason=reason)
    return await _settle_failure(work, tools, "held", reason, failures=failures)


async def _settle_failure(
    work: Work,
    tools: Tools,
    to: Literal["parked", "held"],
    reason: str,
    *,
    failures: int | None = None,
    rounds: int | None = None,
) -> str:
    """Moves the message with all that is known of it: what SES answered before the step failed stays answered."""
    delay_seconds = tools.backoff.delay_seconds(work.message.failures + work.message.rounds + 1, tools.chance())
    if to == "held":
        work = work.learnt(work.message, held_messages=1)
    try:
        await write(work, tools, to=to, after_seconds=delay_seconds, reason=reason, failures=failures, rounds=rounds)
    except LeaseLost:
        return "lease lost"
    except TryLater as error:  # the lease ends by itself and the message is due again
        tools.log.warning("spool.unavailable", error=error.detail)
        return "lease left"
    return to
