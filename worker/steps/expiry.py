"""Who is too old: recipients that have waited for longer than relay.max_age_seconds are given up.

Nobody expires for what an operator has to mend or has ordered: while the account of the route is in trouble, or while
the mail is paused (unless relay.expire_while_paused). And the time of holds, pauses and troubles, which the spool
counts, does not make a message older (age_seconds). Nor does anybody expire about whom a function has still to decide:
its fallback does that first (judge.py).
"""

from collections.abc import Iterable

from sending_events.records import EventRecord
from sending_events.sets_of_parts import by_set
from spool.records import Message
from spool.sending_quota import Pause
from spool.states import Happening, RecipientState
from worker.relay.choice import fairness_key
from worker.relay.note import outcome_of
from worker.relay.outcomes import Unavailable
from worker.relay.passage import paused_recipients
from worker.tools import Tools
from worker.work import Work, age_seconds


async def expire(work: Work, tools: Tools) -> Work:
    """Gives up the waiting recipients of a message that is too old. Raises StoreUnavailable."""
    max_age_seconds = tools.settings.relay.max_age_seconds
    if RecipientState.WAITING not in work.message.states or age_seconds(work, tools) <= max_age_seconds:
        return work
    if _is_account_to_blame(work, tools):
        return work
    undecided = work.message.verdict.undecided if work.message.verdict else frozenset[int]()
    too_old = tuple(index for index in work.message.indexes(RecipientState.WAITING) if index not in undecided)
    if not tools.settings.relay.expire_while_paused:
        pauses = await tools.spool.read_pauses()
        if is_paused(work.message, pauses, tools.now_ms()):
            return work
        spared = paused_recipients(work.message, tools.routes.paused_domains)
        too_old = tuple(index for index in too_old if index not in spared)
    return _expired(work, too_old, tools) if too_old else work


def _expired(work: Work, too_old: tuple[int, ...], tools: Tools) -> Work:
    tools.log.warning("recipient.expired", recipients=len(too_old), age_seconds=int(age_seconds(work, tools)))
    reason = f"not sent within {tools.settings.relay.max_age_seconds / 3600:g} hours"
    message, now_ms = work.message, tools.now_ms()
    events = tuple(
        EventRecord("expired", message.message_id, now_ms, recipients, reason=reason, configuration_set=name).encode()
        for name, recipients in by_set(message, too_old).items()
    )
    return work.learnt(message.having(too_old, Happening.EXPIRED), events=events, expired_recipients=len(too_old))


def _is_account_to_blame(work: Work, tools: Tools) -> bool:
    """Whether an account is in trouble now, or its own last call was: an operator's matter, no reason for a bounce.

    Which account it waited for is not known any more when it wakes; that of another route spares it as well, and then
    it goes on with its own. That SES throttled it since says nothing about the time it waited by itself.
    """
    troubles = [tools.routes.view(name).trouble for name in tools.routes.names]
    if any(trouble and trouble.is_account for trouble in troubles):
        return True
    answered = [attempt for attempt in work.message.attempts if attempt.outcome != "throttled"]
    last = outcome_of(answered[-1]) if answered else None
    return isinstance(last, Unavailable) and last.scope in {"account", "denied"}


def is_paused(message: Message, pauses: Iterable[Pause], now_ms: int) -> bool:
    """Whether an operator paused all mail, or the route, lane or sender of this message."""
    scopes = {"all", f"user:{fairness_key(message)}"}
    if message.seat:
        scopes |= {f"route:{message.seat.route}", f"lane:{message.seat.lane}"}
    return any(pause.scope in scopes and (not pause.until_ms or pause.until_ms > now_ms) for pause in pauses)
