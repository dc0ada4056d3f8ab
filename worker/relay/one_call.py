"""One batch: a slot, its tokens and its intent, the call, its outcome noted.

The slot is taken first, so that no recorded attempt waits for one. When the route has no token at this moment the
slot is given back; a message with a turn waits in the line of its lane, where only the first asks again. Where others
are known to wait a newcomer does not even ask.

All of that may take long. Who has entered the suppression list meanwhile is refused, and the next batch is another one.
"""

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from spool.records import Attempt
from spool.sending_quota import Denied, RouteView, Take
from spool.states import IN_LANE, Happening
from worker.relay.batches import Batch, judged, rewrites_headers
from worker.relay.choice import has_turn_at
from worker.relay.note import note, own_delay
from worker.relay.outcomes import Outcome, Unavailable
from worker.relay.passage import Passage, blamed, call_for, has_queue, may_rewrite, redirect_of
from worker.relay.ses import LeaseEnded
from worker.relay.wire import Call
from worker.steps.suppress import must_ask_again, without_suppressed
from worker.tools import Tools
from worker.work import Delay, LeaseLost, StepFailed, Work, intend, write

# Why the rest of a message is given back at once: the worker stops, or its task has run for long enough.
STOPPING = Delay("due", "worker stopping")
# A message with a turn waits for its tokens where it is, if it is not for longer than this.
_SHORT_WAIT_MS = 5000
_TO_LANE = Delay("lane", IN_LANE)
# The gate of the worker that looks last has let somebody of the lane go first.
_AFTER_THE_PROBE_SECONDS = 1.5


async def relayed(work: Work, batch: Batch, passage: Passage, tools: Tools) -> Work:
    """The work after one batch, or with the reason why it and the rest wait. Raises LeaseLost, StepFailed."""
    line, view = tools.lines.of(passage.seat), tools.routes.view(passage.seat.route)
    has_turn = has_turn_at(work.message, passage.seat)
    own = own_delay(work.message)
    if not has_turn and not own and has_queue(view, passage.seat.lane):  # the spool would say no
        return work.delayed(_TO_LANE)
    async with AsyncExitStack() as place:
        is_in_line = has_turn and not line.is_empty
        if is_in_line:
            if not line.has_room(view.rate):
                return work.delayed(_TO_LANE)
            work = await kept(work, tools)
            await place.enter_async_context(line.place(len(batch.recipients)))
        while True:
            answer = await _tried(work, batch, passage, tools, when_granted=place.aclose)
            if isinstance(answer, Work):
                return answer
            if not (has_turn and _is_short(answer)) or not (is_in_line or line.has_room(view.rate)):
                return work.delayed(_after_failing(own, answer, view) if own else _TO_LANE)
            ask_again_at = time.monotonic() + answer.wait_ms / 1000
            work = await kept(work, tools)
            if not is_in_line:
                await place.enter_async_context(line.place(len(batch.recipients)))
                is_in_line = True
            await asyncio.sleep(ask_again_at - time.monotonic())  # at once when the line took longer


def _after_failing(own: Delay, answer: Denied, view: RouteView) -> Delay:
    """Where a message waits whose own call failed for the route's sake.

    In its lane it would be first, and so the next probe again, though others may fare better. What is known of those
    is up to a second old, so it waits by itself as well when nobody else seems to be there: until just after the probe.
    """
    if answer.why != "trouble":
        return _TO_LANE
    if any(lane.messages for lane in view.lanes.values()):
        return own
    return dataclasses.replace(own, after_seconds=answer.wait_ms / 1000 + _AFTER_THE_PROBE_SECONDS)


async def kept(work: Work, tools: Tools) -> Work:
    """Before a wait: what SES answered must not wait with the message."""
    return await write(work, tools) if work.has_unwritten else work


async def _tried(
    work: Work, batch: Batch, passage: Passage, tools: Tools, when_granted: Callable[[], Awaitable[None]]
) -> Work | Denied:
    async with passage.ses.slots:
        if tools.stopping.is_set() or time.monotonic() > work.deadline:
            return work.delayed(STOPPING)
        try:
            if must_ask_again(work, tools):
                asked = await without_suppressed(work, tools)
                if asked.message is not work.message:
                    return asked
                work = asked
            tools.failpoints.reached("relay.before_intent")
            number = max((attempt.number for attempt in work.message.attempts), default=0) + 1
            call = call_for(work.message, batch.recipients, number, passage, tools.settings)
            instead = redirect_of(batch.recipients, passage, tools.settings)
            attempt = Attempt(number, batch.recipients, tools.now_ms(), tools.worker, redirected_to=instead)
            answer = await _intended(work, attempt, Take(passage.seat, len(call.recipients), passage.limits), tools)
            if isinstance(answer, Denied):
                return answer
            work = answer
            await when_granted()
            tools.failpoints.reached("relay.after_intent")
            outcome = await _called(work, call, passage, tools)
            is_rewritten = rewrites_headers(work.message)  # once is all that can help, whatever else would be mended
            outcome = judged(outcome, call, lambda: not is_rewritten and may_rewrite(call, tools.settings))
            outcome = blamed(outcome, passage)
            work = note(work, attempt, outcome, tools, addresses=len(call.recipients))
            tools.failpoints.reached("relay.after_call")
        except LeaseLost:
            raise
        except Exception as error:  # whatever it was: what SES answered so far must not be forgotten
            raise StepFailed(work) from error
        return work


async def _intended(work: Work, attempt: Attempt, take: Take, tools: Tools) -> Work | Denied:
    """Records the attempt before the call, together with the outcome of the batch before."""
    message = work.message.having(attempt.recipients, Happening.ATTEMPT_STARTED, (*work.message.attempts, attempt))
    if has_turn_at(message, take.seat):
        message = dataclasses.replace(message, turn=max(0, message.turn - take.recipients))
    return await intend(work.learnt(message, attempts=(attempt,)), take, tools)


async def _called(work: Work, call: Call, passage: Passage, tools: Tools) -> Outcome:
    try:
        return await passage.ses.send(call, lambda: tools.leases.is_valid(work.lease))
    except LeaseEnded:  # known for certain: SES has seen nothing of it
        return Unavailable("LeaseEnded", "the lease ended before anything was sent", "message")


def _is_short(denied: Denied) -> bool:
    return denied.why == "rate" and denied.wait_ms <= _SHORT_WAIT_MS
