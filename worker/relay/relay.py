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
from spool.records import Message
from spool.states import HELD_BY_OPERATOR, NO_ROUTE, PAUSED_DOMAIN, Happening, RecipientState
from worker.relay.batches import Condemned
from worker.relay.fence import capture, capture_folder
from worker.relay.note import note_condemned
from worker.relay.one_call import kept, relayed
from worker.relay.passage import next_step, passage_of, paused_recipients
from worker.tools import Tools
from worker.work import Continue, Delay, LeaseLost, StepFailed, Stop, Work

# The end of a pause of a domain is noticed this late at most, its beginning at the message's next turn.
_PAUSE_LOOK_SECONDS = 60.0
_CAPTURED = "captured by relay.fence"


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
    if passage.fenced and tools.settings.relay.fence == "capture":
        work = await _captured(work, sorted(passage.fenced), tools)
    try:
        while work.delay is None and (step := next_step(work.message, passage, tools.routes)):
            if isinstance(step, Condemned):
                work = note_condemned(work, step, tools)
                continue
            work = await relayed(work, step, passage, tools)
            if work.delay is None and passage.ses.slots.locked():  # the next batch has to wait
                work = await kept(work, tools)
    except (LeaseLost, StepFailed):
        raise
    except Exception as error:
        raise StepFailed(work) from error
    if work.delay is None and RecipientState.WAITING in work.message.states:
        work = work.delayed(_until_resumed(work.message, tools))
    return Continue(work)


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


def _until_resumed(message: Message, tools: Tools) -> Delay:
    """Only recipients of paused domains are left: until the first pause ends, but no longer than is good to look."""
    pauses = tools.routes.domain_pauses
    paused = paused_recipients(message, tools.routes.paused_domains)
    ends = {pauses[message.recipients[index].rpartition("@")[2].lower()] for index in paused} - {0}
    left_seconds = (min(ends) - tools.now_ms()) / 1000 if ends else _PAUSE_LOOK_SECONDS
    return Delay("parked", PAUSED_DOMAIN, after_seconds=min(_PAUSE_LOOK_SECONDS, max(0.5, left_seconds)))
