"""The parts of a message: recipients whose mail goes the same way; and a message as one part sees it. Pure.

A part is relayed as if it were a message of its own: what SES says about the bytes of one part says nothing about those
of another. Whoever no rule has touched is in one part together, whether a verdict names them or not; whoever a function
has still to decide about is in none.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import TypeVar

from spool.records import Message, OutcomeName
from spool.states import RecipientState
from spool.verdicts import Part, Verdict
from worker.relay.batches import Batch, Condemned

Held = TypeVar("Held")

# All that is not said is said by the settings and by the message itself.
_UNTOUCHED = Part(())
# Outcomes from which batches.py concludes something; None = the call is open.
_TELLING: frozenset[OutcomeName | None] = frozenset({None, "unknown", "rejected", "split"})


def waiting_parts(message: Message) -> tuple[Part, ...]:
    """The parts in which somebody waits, as they are sent: those untouched first."""
    verdict = message.verdict
    if verdict is None:
        return (dataclasses.replace(_UNTOUCHED, recipients=tuple(range(len(message.recipients)))),)
    touched = tuple(part for part in verdict.parts if not is_untouched(part))
    rest = dataclasses.replace(_UNTOUCHED, recipients=_rest(message, verdict, touched))
    return tuple(part for part in (rest, *touched) if _has_waiting(message, part))


def is_untouched(part: Part) -> bool:
    """Whether the mail of these recipients goes as it would without rules."""
    return dataclasses.replace(part, recipients=(), direction=_UNTOUCHED.direction, archives=()) == _UNTOUCHED


def undecided(message: Message) -> tuple[int, ...]:
    """Recipients that wait for a function."""
    if message.verdict is None:
        return ()
    return tuple(index for index in message.verdict.undecided if message.states[index] is RecipientState.WAITING)


def places_of(part: Part) -> Mapping[int, int]:
    """Index in the message → place in the part. Made once for all batches of a part."""
    return {index: place for place, index in enumerate(part.recipients)}


def seen_by(message: Message, part: Part, places: Mapping[int, int] | None = None) -> Message:
    """The message with the recipients of a part only, and what was refused of them; batches.py works on that.

    A split that went beyond the part is left out: its bad recipient may be elsewhere. So is what batches.py does not
    look at, for a large part has many such attempts.
    """
    if len(part.recipients) == len(message.recipients):
        return message
    inside = places_of(part) if places is None else places
    telling = (one for one in message.attempts if one.outcome in _TELLING)
    seen = ((one, tuple(inside[index] for index in one.recipients if index in inside)) for one in telling)
    return dataclasses.replace(
        message,
        recipients=_picked(message.recipients, part),
        states=_picked(message.states, part),
        attempts=tuple(
            dataclasses.replace(one, recipients=recipients)
            for one, recipients in seen
            if recipients and (one.outcome != "split" or len(recipients) == len(one.recipients))
        ),
    )


def _picked(held: tuple[Held, ...], part: Part) -> tuple[Held, ...]:
    """What belongs to the part; for thousands of recipients, once for each batch."""
    if len(part.recipients) < 2:  # then itemgetter gives no tuple
        return tuple(held[index] for index in part.recipients)
    picked: tuple[Held, ...] = itemgetter(*part.recipients)(held)
    return picked


def in_message(step: Batch | Condemned | None, message: Message, part: Part) -> Batch | Condemned | None:
    """What batches.py said about `seen_by`, in the indexes of the message."""
    if step is None or len(part.recipients) == len(message.recipients):
        return step
    recipients = tuple(part.recipients[place] for place in step.recipients)
    if isinstance(step, Batch):
        return Batch(recipients)
    number = step.attempt.number
    return Condemned(recipients, next(one for one in message.attempts if one.number == number))


def _rest(message: Message, verdict: Verdict, touched: Sequence[Part]) -> tuple[int, ...]:
    elsewhere = {index for part in touched for index in part.recipients} | verdict.undecided
    elsewhere |= {index for one in verdict.decisions if one.action in {"DROP", "BOUNCE"} for index in one.recipients}
    return tuple(index for index in range(len(message.recipients)) if index not in elsewhere)


def _has_waiting(message: Message, part: Part) -> bool:
    return any(message.states[index] is RecipientState.WAITING for index in part.recipients)
