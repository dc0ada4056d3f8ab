"""Fourth step: the sender is told about recipients that were refused or expired, or bounced by a rule, once each.

The bounce is accepted into the spool in the same transaction that marks those recipients as told, so a crash gives
neither two bounces nor none. A message with the null sender is never answered (RFC 5321 section 6.1). Nor is a rule's
text ever an answer to something that no person sent (RFC 3834 section 2): that SES refused it is told all the same.
What was dropped is told to nobody, and about recipients that rules or functions added the sender never knew: no bounce
shows their addresses. Who shares the address of another by a rule, and so was dropped, shares its failure. SES makes no
mail for a recipient on the suppression list, so mail of the API gets the Bounce event alone, unless bounce mail is on.
"""

import dataclasses
from collections.abc import Mapping

from config.settings import Settings
from spool.records import Message, NewMessage, new_message_id
from spool.states import RecipientState
from spool.verdicts import Decision
from worker.bounces import Failure, compose_bounce, without_addresses
from worker.relay.outcomes import MAX_REASON_CHARACTERS
from worker.rules.choice import TWICE
from worker.steps.suppress import SUPPRESSED_WORDS
from worker.tools import Tools
from worker.work import Continue, Stop, Work, write


async def tell(work: Work, tools: Tools) -> Continue | Stop:
    """Makes at most one bounce for all that failed since the last one."""
    untold = untold_failures(work.message, tools.settings)
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


def untold_failures(message: Message, settings: Settings) -> list[int]:
    """Recipients that the sender, if there is one, has still to hear of."""
    if not message.sender:
        return []
    told_by_event = message.suppressed if message.door == "api" and not settings.feedback.bounce_mail else frozenset()
    return sorted(index for index, failing in _untold(message).items() if failing not in told_by_event)


def _untold(message: Message) -> Mapping[int, int]:
    """Each of those, and the recipient whose failure it is: mostly its own."""
    failed = message.indexes(RecipientState.REJECTED, RecipientState.EXPIRED)
    if not failed:
        return {}
    decisions = message.verdict.decided if message.verdict else {}
    failures = {index: index for index in failed if index < len(message.envelope)} | _shared(message, failed, decisions)
    untold = {index: failing for index, failing in failures.items() if index not in message.told}
    if message.is_auto_submitted or message.door == "bounce":
        return {index: one for index, one in untold.items() if _rule_bounce(message, one, decisions) is None}
    return untold


def _shared(message: Message, failed: tuple[int, ...], decisions: Mapping[int, Decision]) -> dict[int, int]:
    """Who was dropped because another gets the mail at the same address, where nobody gets it there any more."""
    sharing = [
        index
        for index in message.indexes(RecipientState.DROPPED)
        if index in decisions and decisions[index].because == TWICE
    ]
    if not sharing:
        return {}
    failed_at = {message.recipients[index].lower(): index for index in reversed(failed)}
    alive = {
        message.recipients[index].lower()
        for index, state in enumerate(message.states)
        if state not in {RecipientState.REJECTED, RecipientState.EXPIRED, RecipientState.DROPPED}
    }
    addresses = ((index, message.recipients[index].lower()) for index in sharing)
    return {index: failed_at[one] for index, one in addresses if one in failed_at and one not in alive}


def _rule_bounce(message: Message, index: int, decisions: Mapping[int, Decision]) -> Decision | None:
    """The decision of a rule that bounced this recipient."""
    decision = decisions.get(index) if message.states[index] is RecipientState.REJECTED else None
    return decision if decision and decision.action == "BOUNCE" else None


def _bounce(work: Work, untold: list[int], tools: Tools) -> NewMessage:
    message = work.message
    decisions, failing = message.verdict.decided if message.verdict else {}, _untold(message)
    return compose_bounce(
        message_id=new_message_id(),
        original=message,
        original_content=work.content,
        failures=[_failure(message, index, failing[index], decisions) for index in untold],
        reporting_host=tools.settings.smtp.hostname,
        bounce_sender=tools.settings.relay.bounce_sender,
        now_ms=tools.now_ms(),
    )


def _failure(message: Message, index: int, failing: int, decisions: Mapping[int, Decision]) -> Failure:
    address = message.envelope[index]  # as the sender knows it
    if failing in message.suppressed:
        return Failure(address, "5.1.1", SUPPRESSED_WORDS)
    if decision := _rule_bounce(message, failing, decisions):
        text = decision.text or _BLOCKED
        return Failure(address, "5.7.1", text, text)
    if message.states[failing] is RecipientState.EXPIRED:
        return Failure(address, "4.4.7", "it could not be sent in time")
    return Failure(address, "5.0.0", f"Amazon SES refused it: {_said(message, failing)}")


def _said(message: Message, index: int) -> str:
    """SES's words about a recipient, without addresses that the sender did not write."""
    why = max(
        (one for one in message.attempts if one.outcome in {"rejected", "split"}),
        key=lambda one: (index in one.recipients, one.outcome == "rejected", one.number),
        default=None,
    )
    if why is None:
        return ""
    is_cut = len(why.reason) >= MAX_REASON_CHARACTERS
    hidden = {message.recipients[one] for one in why.recipients}
    reason = without_addresses(why.reason, hidden, message.envelope, is_cut=is_cut) if message.verdict else why.reason
    return f"{why.code} {reason}".strip()
