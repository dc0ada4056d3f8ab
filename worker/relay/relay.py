"""The step that sends: what waits goes out in batches, one call each, each call between an intent and an outcome.

Theory of operation
1. Each part of the message (parts.py; without rules there is one) gets its passage: seat (route and lane), content,
   tags. Recipients that the fence keeps are captured. What follows is done for one part after the other: a part that
   has to wait stops only those that would wait for the same. Who is on the suppression list has been refused before
   (steps/suppress.py), and is looked for again before a batch when that is a second ago: a round takes minutes.
2. batches.py says which recipients the next call is for, or which are refused without one.
3. For each batch (one_call.py): the attempt is written together with its tokens (intent), SES is called once, the
   outcome is noted. The note of one batch travels with the intent of the next, the last one with the end of the
   message: always before anything else is sent for this message, and before waiting for a slot or for tokens.
4. An intent that the route denies is not written, and the message goes to its lane; the gate brings it back.
5. After Throttled or Unavailable the rest of the message waits as well, but for parts that take another route: SES
   said it about the account. What it said about sender, bytes or configuration set is said of that part alone, and so
   is what fails here. Where parts wait for different things the message makes one move (delays.py).
6. Who is left for a paused domain alone is looked at when all the rest is sent: the pauses are read, and where one has
   ended those parts go round again. So what is parked was paused a moment ago, and the walk of a resume finds it.
7. A crash between intent and outcome leaves an attempt without outcome; the next holder's load step settles it.
Invariant: at most one batch of a message is in doubt for each lost call, and no recipient is in two batches at once.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

from config.errors import TryLater
from sending_events.records import EventRecord, set_of
from spool.content import ContentUnavailable
from spool.sending_quota import Seat
from spool.states import NO_ROUTE, PAUSED_DOMAIN, Happening, RecipientState
from spool.verdicts import Part
from worker.relay.batches import Condemned
from worker.relay.choice import lane_header
from worker.relay.delays import Wait, merged
from worker.relay.fence import capture, capture_folder
from worker.relay.mime import header_end
from worker.relay.note import note_condemned
from worker.relay.one_call import kept, relayed
from worker.relay.parts import waiting_parts
from worker.relay.passage import Passage, next_step, passage_of, paused_recipients
from worker.steps.suppress import without_suppressed
from worker.tools import Tools
from worker.work import Continue, Delay, LeaseLost, StepFailed, Stop, Work, age_seconds

# Who ends a pause of a domain, or gives it an earlier end, wakes what waits for it. So this is for the case that it
# died halfway; and looking must cost nothing where a million messages wait.
_PAUSE_LOOK_SECONDS = 6 * 3600.0
# After the end of a pause: each gate has noticed it, and not all of them come at the same moment.
_PAUSE_END_SECONDS = 1.0
_NO_ROUTE = Delay("held", NO_ROUTE, is_only_of_part=True)
_CAPTURED = "captured by relay.fence"
_SHOWN_LANE = 32


async def relay(work: Work, tools: Tools) -> Continue | Stop:
    """Sends what can be sent now. Raises LeaseLost, StepFailed."""
    if work.delay is not None or RecipientState.WAITING not in work.message.states:
        return Continue(work)  # in the first case it is given back
    work = await without_suppressed(work, tools)
    if RecipientState.WAITING not in work.message.states:
        return Continue(work)
    waits: list[Wait] = []
    parts: Sequence[Part] = waiting_parts(work.message)
    while parts:
        work, paused = await _parts_relayed(work, parts, waits, tools)
        parts = await _resumed(work, paused, waits, tools)
    if not waits:
        return Continue(work)
    wait = merged(waits, lambda delay: parked_seconds(work, delay, tools), lambda seat: _rank(seat, tools))
    is_whole = len(waits) == 1 and work.message.verdict is None
    queued = None if is_whole else wait.recipients
    return Continue(dataclasses.replace(work, delay=wait.delay, seat=wait.seat or work.seat, queued=queued))


async def _parts_relayed(
    work: Work, parts: Sequence[Part], waits: list[Wait], tools: Tools
) -> tuple[Work, Sequence[Part]]:
    """The work after what can be sent now of these parts, and those of which only paused recipients are left.

    Why others wait is added to `waits`. Raises LeaseLost, StepFailed.
    """
    paused: list[Part] = []
    failure: BaseException | None = None
    for part in parts:
        if not _has_waiting(work, part):  # they entered the suppression list meanwhile
            continue
        work = dataclasses.replace(work, delay=None)
        try:
            work = await _part_relayed(work, part, waits, tools)
        except StepFailed as failed:
            if failed.__cause__ is None or isinstance(failed.__cause__, TryLater):
                raise  # what is away is away for the others as well
            work, failure = failed.work, failure or failed.__cause__
            continue
        if work.delay is not None:
            waits.append(Wait(work.delay, work.seat, len(_waiting_of(work, part))))
            if work.delay.to == "due":
                paused.clear()  # they come round with the rest
                break
        elif _has_waiting(work, part):
            paused.append(part)
    if failure is not None:
        raise StepFailed(work) from failure
    return work, paused


async def _resumed(work: Work, paused: Sequence[Part], waits: list[Wait], tools: Tools) -> Sequence[Part]:
    """The parts again when a pause that kept them has ended; else they wait.

    What the gate told may be older than a resume: then its walk has passed, and nobody would wake the message.
    Raises StepFailed.
    """
    paused = [part for part in paused if _has_waiting(work, part)]
    if not paused:
        return ()
    try:
        tools.routes.saw_pauses(await tools.spool.read_pauses())
    except Exception as error:
        raise StepFailed(work) from error
    kept = paused_recipients(work.message, tools.routes.paused_domains)
    if any(not _waiting_of(work, part) <= kept for part in paused):
        return paused  # all of them: what is known of the others is old when these are through
    waits += [Wait(_until_resumed(work, part, tools), recipients=len(_waiting_of(work, part))) for part in paused]
    return ()


async def _part_relayed(work: Work, part: Part, waits: Sequence[Wait], tools: Tools) -> Work:
    """The work after what can be sent now of one part; its delay says why the rest of it waits.

    Raises LeaseLost, StepFailed.
    """
    try:
        return await _relayed(work, part, waits, tools)
    except (LeaseLost, StepFailed):
        raise
    except ContentUnavailable as error:
        tools.log.warning("message.failed", step="relay", error=error.detail, is_temporary=True)
        missing = Delay("parked", error.reason, is_only_of_part=True)
        return dataclasses.replace(work, seat=None, delay=missing)
    except Exception as error:  # what the parts before have learnt must not be forgotten
        raise StepFailed(work) from error


async def _relayed(work: Work, part: Part, waits: Sequence[Wait], tools: Tools) -> Work:
    content = await _content_of(work, part, tools)
    passage = passage_of(work.message, content, tools.settings, tools.routes, part)
    if passage is None:
        return dataclasses.replace(work, seat=None, delay=_NO_ROUTE)
    work = dataclasses.replace(work, seat=passage.seat)
    if before := _same_wait(waits, passage.seat):
        return work.delayed(dataclasses.replace(before, told=""))
    _tell_unknown_places(content, passage, tools)
    if passage.fenced and tools.settings.relay.fence == "capture":
        work = await _captured(work, passage, tools)
    return await _sent(work, passage, tools)


def _has_waiting(work: Work, part: Part) -> bool:
    """Whether somebody of the part waits; nearly always the first."""
    return any(work.message.states[index] is RecipientState.WAITING for index in part.recipients)


def _waiting_of(work: Work, part: Part) -> frozenset[int]:
    """Who of the part waits."""
    states = work.message.states
    return frozenset(index for index in part.recipients if states[index] is RecipientState.WAITING)


async def _content_of(work: Work, part: Part, tools: Tools) -> bytes:
    if not part.content_ref:
        return work.content
    known = work.contents.get(part.content_ref)
    return known if known is not None else await tools.spool.contents.get(part.content_ref)


def _same_wait(waits: Sequence[Wait], seat: Seat) -> Delay | None:
    """Why a part with this seat waits as well, by what parts before it met."""
    for wait in waits:
        if wait.seat is None or wait.seat.route != seat.route or wait.delay.is_only_of_part:
            continue
        is_turn_only = wait.delay.to == "lane" and not wait.delay.told
        if not is_turn_only or wait.seat.lane == seat.lane:
            return wait.delay
    return None


def _rank(seat: Seat, tools: Tools) -> tuple[bool, bool, int]:
    """An open route first, of its lanes an open one, then the lanes in their order."""
    routes, shares = tools.routes, list(tools.settings.lanes.shares)
    return not routes.is_open(seat.route), not routes.is_lane_open(seat), shares.index(seat.lane)


def parked_seconds(work: Work, delay: Delay, tools: Tools) -> float:
    """How long a parked delay lasts; one that grows with every round would be in its next."""
    if delay.after_seconds is not None:
        return delay.after_seconds
    return min(delay.longest_seconds, tools.backoff.delay_seconds(work.message.rounds + 1, tools.chance()))


def _tell_unknown_places(content: bytes, passage: Passage, tools: Tools) -> None:
    """An application, or a rule, that misspells its lane is told nowhere else."""
    lanes, part = tools.settings.lanes, passage.part
    wanted = lane_header(content[: header_end(content)]) if lanes.header else None
    for lane in (part.lane, wanted or ""):
        name = lane[:_SHOWN_LANE]
        if name and lane not in lanes.shares and tools.repeats.is_due(f"lane.unknown {name}", tools.now_ms()):
            tools.log.warning("lane.unknown", wanted=name, used=passage.seat.lane)
    route = part.route[:_SHOWN_LANE]
    if route and not passage.seat.is_fixed and tools.repeats.is_due(f"rule.route {route}", tools.now_ms()):
        tools.log.warning("route.not_for_rule", wanted=route, used=passage.seat.route)


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


async def _captured(work: Work, passage: Passage, tools: Tools) -> Work:
    """The fenced recipients get no mail; what they would have got is kept as a file first."""
    message, recipients, part = work.message, tuple(sorted(passage.fenced)), passage.part
    addresses = [message.recipients[index] for index in recipients]
    is_changed = part.headers or part.content_ref
    content = passage.content if is_changed else work.content
    name = hashlib.blake2b(content, digest_size=4).hexdigest() if is_changed else ""
    await capture(capture_folder(tools.settings), message.message_id, content, addresses, content_name=name)
    tools.log.info("recipient.captured", recipients=len(recipients))
    event = EventRecord(
        "dropped",
        message.message_id,
        tools.now_ms(),
        recipients,
        reason=_CAPTURED,
        configuration_set=set_of(message, recipients),
    )
    return work.learnt(
        message.having(recipients, Happening.DROPPED), events=(event.encode(),), dropped_recipients=len(recipients)
    )


def _until_resumed(work: Work, part: Part, tools: Tools) -> Delay:
    """Only recipients of paused domains are left: until the first pause ends, but no longer than is good to look."""
    message, pauses = work.message, tools.routes.domain_pauses
    paused = paused_recipients(message, tools.routes.paused_domains) & _waiting_of(work, part)
    ends = {pauses[message.recipients[index].rpartition("@")[2].lower()] for index in paused} - {0}
    after_seconds = _PAUSE_LOOK_SECONDS * (0.75 + tools.chance() / 4)
    if ends:
        left_seconds = max(0.0, (min(ends) - tools.now_ms()) / 1000)
        after_seconds = min(after_seconds, left_seconds + _PAUSE_END_SECONDS + tools.chance())
    if tools.settings.relay.expire_while_paused:
        left_seconds = tools.settings.relay.max_age_seconds - age_seconds(work, tools)
        after_seconds = min(after_seconds, max(0.5, left_seconds + 0.5))
    return Delay("parked", PAUSED_DOMAIN, after_seconds=after_seconds, is_only_of_part=True)
