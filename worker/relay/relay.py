"""The step that sends: what waits goes out in batches, one call each, each call between an intent and an outcome.

Theory of operation
1. The message gets its passage: seat (route and lane), content, tags. Recipients that the fence keeps are captured.
2. batches.py says which recipients the next call is for, or which are refused without one.
3. For each batch (one_call.py): the attempt is written together with its tokens (intent), SES is called once, the
   outcome is noted. The note of one batch travels with the intent of the next, the last one with the end of the
   message: always before anything else is sent for this message, and before waiting for a slot or for tokens.
4. An intent that the route denies is not written, and the message goes to its lane; the gate brings it back.
5. After Throttled or Unavailable the rest of the message waits as well: SES said it about the account.
6. A crash between intent and outcome leaves an attempt without outcome; the next holder's load step settles it.
Invariant: at most one batch of a message is in doubt for each lost call, and no recipient is in two batches at once.
"""

import dataclasses
from collections.abc import Sequence

from sending_events.records import EventRecord
from spool.states import HELD_BY_OPERATOR, NO_ROUTE, PAUSED_DOMAIN, Happening, RecipientState
from worker.relay.batches import Condemned
from worker.relay.choice import lane_header
from worker.relay.fence import capture, capture_folder
from worker.relay.mime import header_end
from worker.relay.note import note_condemned
from worker.relay.one_call import kept, relayed
from worker.relay.passage import Passage, next_step, passage_of, paused_recipients
from worker.tools import Tools
from worker.work import Continue, Delay, LeaseLost, StepFailed, Stop, Work, age_seconds

# Who ends a pause of a domain, or gives it an earlier end, wakes what waits for it. So this is for the case that it
# died halfway; and looking must cost nothing where a million messages wait.
_PAUSE_LOOK_SECONDS = 6 * 3600.0
# After the end of a pause: each gate has noticed it, and not all of them come at the same moment.
_PAUSE_END_SECONDS = 1.0
_CAPTURED = "captured by relay.fence"
_SHOWN_LANE = 32


async def relay(work: Work, tools: Tools) -> Continue | Stop:
    """Sends what can be sent now. Raises LeaseLost, StepFailed, CaptureFailed."""
    if RecipientState.WAITING not in work.message.states:
        return Continue(work)
    if work.message.is_hold_wanted:
        return Continue(work.delayed(Delay("due", HELD_BY_OPERATOR)))  # the spool holds what is moved
    passage = passage_of(work.message, work.content, tools.settings, tools.routes)
    if passage is None:
        return Continue(work.delayed(Delay("held", NO_ROUTE)))
    work = dataclasses.replace(work, seat=passage.seat)
    _tell_unknown_lane(work, tools)
    if passage.fenced and tools.settings.relay.fence == "capture":
        work = await _captured(work, sorted(passage.fenced), tools)
    work = await _sent(work, passage, tools)
    while work.delay is None and RecipientState.WAITING in work.message.states:
        if await _is_still_paused(work, passage, tools):
            work = work.delayed(_until_resumed(work, tools))
        else:
            work = await _sent(work, passage, tools)
    return Continue(work)


def _tell_unknown_lane(work: Work, tools: Tools) -> None:
    """An application that misspells its lane is told nowhere else."""
    lanes = tools.settings.lanes
    wanted = lane_header(work.content[: header_end(work.content)]) if lanes.header else None
    if wanted is None or wanted in lanes.shares:
        return
    name = wanted[:_SHOWN_LANE]
    if tools.repeats.is_due(f"lane.unknown {name}", tools.now_ms()):
        tools.log.warning("lane.unknown", wanted=name, used=lanes.default)


async def _sent(work: Work, passage: Passage, tools: Tools) -> Work:
    """Batch after batch, until nothing is left that may be sent now. Raises LeaseLost, StepFailed."""
    try:
        while work.delay is None and (step := next_step(work.message, passage, tools.routes)):
            if isinstance(step, Condemned):
                work = note_condemned(work, step, tools)
                continue
            if passage.ses.slots.locked():  # what SES answered to the batch before must not wait with this one
                work = await kept(work, tools)
            work = await relayed(work, step, passage, tools)
    except (LeaseLost, StepFailed):
        raise
    except Exception as error:
        raise StepFailed(work) from error
    return work


async def _captured(work: Work, fenced: Sequence[int], tools: Tools) -> Work:
    """The fenced recipients get no mail; what they would have got is kept as a file first."""
    message, recipients = work.message, tuple(fenced)
    addresses = [message.recipients[index] for index in recipients]
    await capture(capture_folder(tools.settings), message.message_id, work.content, addresses)
    tools.log.info("recipient.captured", recipients=len(recipients))
    event = EventRecord("dropped", message.message_id, tools.now_ms(), recipients, reason=_CAPTURED)
    return work.learnt(
        message.having(recipients, Happening.DROPPED), events=(event.encode(),), dropped_recipients=len(recipients)
    )


async def _is_still_paused(work: Work, passage: Passage, tools: Tools) -> bool:
    """What the gate told may be older than a resume: then its walk has passed, and nobody would wake the message.

    Raises StepFailed.
    """
    try:
        tools.routes.saw_pauses(await tools.spool.read_pauses())
    except Exception as error:
        raise StepFailed(work) from error
    return next_step(work.message, passage, tools.routes) is None


def _until_resumed(work: Work, tools: Tools) -> Delay:
    """Only recipients of paused domains are left: until the first pause ends, but no longer than is good to look."""
    message, pauses = work.message, tools.routes.domain_pauses
    waiting = message.indexes(RecipientState.WAITING)
    paused = paused_recipients(message, tools.routes.paused_domains).intersection(waiting)
    ends = {pauses[message.recipients[index].rpartition("@")[2].lower()] for index in paused} - {0}
    after_seconds = _PAUSE_LOOK_SECONDS * (0.75 + tools.chance() / 4)
    if ends:
        left_seconds = max(0.0, (min(ends) - tools.now_ms()) / 1000)
        after_seconds = min(after_seconds, left_seconds + _PAUSE_END_SECONDS + tools.chance())
    if tools.settings.relay.expire_while_paused:
        left_seconds = tools.settings.relay.max_age_seconds - age_seconds(work, tools)
        after_seconds = min(after_seconds, max(0.5, left_seconds + 0.5))
    return Delay("parked", PAUSED_DOMAIN, after_seconds=after_seconds)
