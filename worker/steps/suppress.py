"""Before anything is sent: who is on the suppression list gets no mail, and that is told as SES tells it, as a bounce.

Looked at with every round, right before the recipients that may be sent to now are relayed: those that a function has
yet to decide about may still get another address. A round may take minutes, waiting for slots, tokens and SES: so it is
asked again before a batch when the last answer is a second old. While the list is empty nothing is asked but that, once
a second in a process. A bounce of ours goes out whatever the list says; where the list is not used, tools have none.
"""

import dataclasses

from sending_events.records import EventRecord, set_of
from spool.records import Message
from spool.states import Happening, RecipientState
from spool.suppression import Suppression
from worker.relay.parts import waiting_parts
from worker.tools import Tools
from worker.work import Work

#: What a sender is told of such a recipient, beside the address.
SUPPRESSED_WORDS = "the address is on the suppression list: earlier mail to it bounced, or was complained about"


# So old an answer may be when a batch is begun.
_HOLDS_MS = 1000


def must_ask_again(work: Work, tools: Tools) -> bool:
    """Whether somebody may have entered the list since it was asked for this message; costs no request.

    Where the list was empty no answer was kept: that it still is has an age of its own.
    """
    suppression = tools.suppression
    if suppression is None or suppression.is_known_empty or work.message.door == "bounce":
        return False
    return abs(tools.now_ms() - work.suppression_asked_at_ms) >= _HOLDS_MS  # a clock may be set back


async def without_suppressed(work: Work, tools: Tools) -> Work:
    """The work after its suppressed recipients were refused; its message is the same where there are none.

    Raises StoreUnavailable.
    """
    suppression = tools.suppression
    if suppression is None or suppression.is_known_empty or work.message.door == "bounce":
        return work
    if await suppression.is_empty():
        return work
    asked_at_ms = tools.now_ms()
    found = await _suppressed(work.message, suppression)
    work = dataclasses.replace(work, suppression_asked_at_ms=asked_at_ms)
    for recipients in found:
        work = _refused(work, recipients, tools)
    return work


async def _suppressed(message: Message, suppression: Suppression) -> tuple[tuple[int, ...], ...]:
    """The recipients that wait and are suppressed, as indexes, by the parts of the message that they are in."""
    waiting = set(message.indexes(RecipientState.WAITING))
    parts = [tuple(one for one in part.recipients if one in waiting) for part in waiting_parts(message)]
    known = await suppression.among([message.recipients[one] for part in parts for one in part])
    found = (tuple(one for one in part if message.recipients[one] in known) for part in parts)
    return tuple(part for part in found if part)


def _refused(work: Work, recipients: tuple[int, ...], tools: Tools) -> Work:
    message = work.message
    tools.log.info("recipient.suppressed", recipients=len(recipients))
    event = EventRecord(
        "suppressed",
        message.message_id,
        tools.now_ms(),
        recipients,
        configuration_set=set_of(message, recipients),
    )
    after = message.having(recipients, Happening.SUPPRESSED)
    return work.learnt(
        dataclasses.replace(after, suppressed=message.suppressed | frozenset(recipients)),
        events=(event.encode(),),
        rejected_recipients=len(recipients),
        suppressed_recipients=len(recipients),
    )
