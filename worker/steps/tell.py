"""Fourth step: the sender is told about recipients that were refused or expired, or bounced by a rule, once each.

The bounce is accepted into the spool in the same transaction that marks those recipients as told, so a crash gives
neither two bounces nor none. A message with the null sender is never answered (RFC 5321 section 6.1). Nor is a rule's
text ever an answer to something that no person sent (RFC 3834 section 2): that SES refused it is told all the same.
What was dropped is told to nobody, and about recipients that rules or functions added the sender never knew.
"""

import dataclasses

from spool.records import Message, NewMessage, new_message_id
from spool.states import RecipientState
from spool.verdicts import Decision
from worker.bounces import Failure, compose_bounce
from worker.tools import Tools
from worker.work import Continue, Stop, Work, write


async def tell(work: Work, tools: Tools) -> Continue | Stop:
    """Makes at most one bounce for all that failed since the last one."""
    untold = untold_failures(work.message)
    if not untold:
        return Continue(work)
    tools.failpoints.reached("tell.before_bounce")
    told = work.message.told | frozenset(untold)
    bounce = _bounce(work, untold, tools)
    work = await write(work.learnt(work.message, bounces_made=1), tools, told=told, spawned=(bounce,))
    tools.log.info("bounce.made", recipients=len(untold), bounce_id=bounce.message_id)
    return Continue(dataclasses.replace(work, message=dataclasses.replace(work.message, told=told)))


# What a rule without a text says.
_BLOCKED = "The administrator of this mail system does not let it pass."


def untold_failures(message: Message) -> list[int]:
    """Recipients that the sender, if there is one, has still to hear of."""
    if not message.sender:
        return []
    failed = message.indexes(RecipientState.REJECTED, RecipientState.EXPIRED)
    untold = [index for index in failed if index not in message.told and index < len(message.envelope)]
    if message.is_auto_submitted or message.door == "bounce":
        return [index for index in untold if _rule_bounce(message, index) is None]
    return untold


def _rule_bounce(message: Message, index: int) -> Decision | None:
    """The decision of a rule that bounced this recipient."""
    if message.verdict is None or message.states[index] is not RecipientState.REJECTED:
        return None
    decision = message.verdict.decision_of(index)
    return decision if decision and decision.action == "BOUNCE" else None


def _bounce(work: Work, untold: list[int], tools: Tools) -> NewMessage:
    message = work.message
    return compose_bounce(
        message_id=new_message_id(),
        original=message,
        original_content=work.content,
        failures=[_failure(work, index) for index in untold],
        reporting_host=tools.settings.smtp.hostname,
        bounce_sender=tools.settings.relay.bounce_sender,
        now_ms=tools.now_ms(),
    )


def _failure(work: Work, index: int) -> Failure:
    message = work.message
    address = message.envelope[index]  # as the sender knows it
    if decision := _rule_bounce(message, index):
        text = decision.text or _BLOCKED
        return Failure(address, "5.7.1", text, text)
    if message.states[index] is RecipientState.EXPIRED:
        return Failure(address, "4.4.7", "it could not be sent in time")
    why = max(
        (one for one in message.attempts if one.outcome in {"rejected", "split"}),
        key=lambda one: (index in one.recipients, one.outcome == "rejected", one.number),
        default=None,
    )
    said = f"{why.code} {why.reason}".strip() if why else ""
    return Failure(address, "5.0.0", f"Amazon SES refused it: {said}")
