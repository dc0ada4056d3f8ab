"""Notes what a call brought: the attempt gets its outcome, its recipients their next state, the world its event.

Used by the relay right after the call, and by the load step for answers that an earlier holder of the message could
not write any more. What is noted goes to the spool with the next write.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal, assert_never

from sending_events.records import EventRecord, set_of
from spool.records import Attempt, Message, OutcomeName
from spool.sending_quota import FactKind, RouteFact, RouteView
from spool.states import ACCOUNT_TROUBLE, IDENTITY, IN_LANE, MAPPED_SET, SES_UNAVAILABLE, UNKNOWN_ANSWER, Happening
from worker.relay.batches import Condemned
from worker.relay.outcomes import (
    Accepted,
    Outcome,
    Rejected,
    Scope,
    Split,
    Throttled,
    Unavailable,
    Unknown,
    unavailable_of_record,
)
from worker.relay.refusals import words_of
from worker.tools import Tools
from worker.work import Delay, Work

OUTCOME_NAMES: dict[type[Outcome], OutcomeName] = {
    Accepted: "accepted",
    Rejected: "rejected",
    Split: "split",
    Throttled: "throttled",
    Unavailable: "unavailable",
    Unknown: "unknown",
}

COUNTERS: dict[OutcomeName, str] = {
    "accepted": "sent_recipients",
    "rejected": "rejected_recipients",
    "split": "split_recipients",
    "throttled": "throttled_recipients",
    "unavailable": "unavailable_recipients",
    "unknown": "unknown_recipients",
}

# Whose call failed for the route's sake is tried again so soon after the route is well at the latest.
_LONGEST_SECONDS = 300.0
_SCOPES_OF_ROUTES: frozenset[Scope] = frozenset({"", "account", "denied"})

NO_ANSWER = "no answer from SES"
# One such call is the network's; many in a row are copies without end, so the route stops as if SES were away.
_UNANSWERED = "calls to SES end without an answer, and it may have taken the mail; check endpoint and proxies"


def note(work: Work, attempt: Attempt, outcome: Outcome, tools: Tools, *, addresses: int = 0) -> Work:
    """What the outcome means for the batch's recipients, for the route, and whether the rest has to wait.

    `addresses`: how many were taken from the route's limits for this call.
    """
    name = OUTCOME_NAMES[type(outcome)]
    tools.tally.count(f"ses_calls:{name}")
    closed = _closed(attempt, outcome, tools.now_ms())
    happening = _happening(outcome, tools)
    _log(closed, outcome, tools)
    attempts = tuple(closed if one.number == attempt.number else one for one in work.message.attempts)
    return work.learnt(
        work.message.having(attempt.recipients, happening, attempts),
        attempts=(closed,),
        events=_events(work, closed),
        facts=_facts(work, outcome, addresses, tools),
        delay=_delay(outcome),
        **{COUNTERS[name]: len(attempt.recipients)},
    )


def note_condemned(work: Work, condemned: Condemned, tools: Tools) -> Work:
    """Recipients that are refused for what SES said about others, or about them and others."""
    why, recipients = condemned.attempt, condemned.recipients
    tools.log.warning("batch.rejected", attempt=why.number, recipients=len(recipients), code=why.code)
    event = EventRecord(
        "reject",
        work.message.message_id,
        tools.now_ms(),
        recipients,
        reason=why.reason,
        attempt=why.number,
        configuration_set=set_of(work.message, recipients),
    )
    message = work.message.having(recipients, Happening.ATTEMPT_STARTED).having(recipients, Happening.REJECTED)
    return work.learnt(message, events=(event.encode(),), rejected_recipients=len(recipients))


def _happening(outcome: Outcome, tools: Tools) -> Happening:
    match outcome:
        case Accepted():
            return Happening.ACCEPTED
        case Rejected():
            return Happening.REJECTED
        case Split():
            return Happening.REFUSED_TOGETHER
        case Throttled() | Unavailable():
            return Happening.NOT_TAKEN
        case Unknown():
            is_resent = tools.settings.unknown_policy == "resend"
            return Happening.CALL_LOST if is_resent else Happening.DOUBT_KEPT
        case _:
            assert_never(outcome)


def _delay(outcome: Outcome) -> Delay | None:
    """Where the rest of the message waits; None = nowhere.

    Who was told to wait for the rate goes back to its lane, and the route decides when it is tried again. Whose call
    failed waits by itself, longer each time, even when it is the route's matter: that it is not the message's own can
    only be told by the calls of others, so the next probe is one of them.
    """
    match outcome:
        case Accepted() | Rejected() | Split():
            return None
        case Throttled(is_daily=is_daily):
            return Delay("lane", IN_LANE, told="daily quota" if is_daily else "throttled")
        case Unavailable(code):
            return _UNAVAILABLE[outcome.scope](code)
        case Unknown():
            return Delay("parked", NO_ANSWER, told=NO_ANSWER)
        case _:
            assert_never(outcome)


_UNAVAILABLE: dict[Scope, Callable[[str], Delay]] = {
    "": lambda _: _of_the_route(SES_UNAVAILABLE),
    "account": lambda code: _of_the_route(f"{ACCOUNT_TROUBLE}: {code}"),
    "denied": lambda code: _of_the_route(f"{ACCOUNT_TROUBLE}: {code}"),
    "identity": lambda _: _of_the_part(IDENTITY),
    "message": lambda code: _of_the_part(f"{UNKNOWN_ANSWER}: {code}"),
    "rule": lambda _: _of_the_part(MAPPED_SET),
}


def _of_the_route(reason: str) -> Delay:
    return Delay("parked", reason, told=reason, longest_seconds=_LONGEST_SECONDS)


def _of_the_part(reason: str) -> Delay:
    return Delay("parked", reason, told=reason, is_only_of_part=True)


def own_delay(message: Message) -> Delay | None:
    """Where a message waits whose own last call failed for the route's sake, as long as the route is in trouble.

    In its lane it would be first again, and so the next probe. None for whoever only waits for others' failures.
    """
    last = outcome_of(message.attempts[-1]) if message.attempts else None
    if isinstance(last, Unknown):
        return Delay("parked", NO_ANSWER, longest_seconds=_LONGEST_SECONDS)
    if not isinstance(last, Unavailable) or last.scope not in _SCOPES_OF_ROUTES:
        return None
    return dataclasses.replace(_UNAVAILABLE[last.scope](last.code), told="")  # told with the call


def _facts(work: Work, outcome: Outcome, addresses: int, tools: Tools) -> tuple[RouteFact, ...]:
    """What the route learns from a call of now; an old answer says nothing about it."""
    if work.seat is None:
        return ()
    route = work.seat.route
    if isinstance(outcome, Accepted):
        return (RouteFact("ok", route),)
    if isinstance(outcome, Unknown):  # SES may have taken them: nobody is given back
        return (RouteFact("unreachable", route, outcome.code, f"{_UNANSWERED} ({outcome.reason})"),)
    kind = _fact_kind(outcome, tools.routes.view(route))
    is_ours = kind == "unreachable" and outcome.reason  # then SES itself said nothing that has words of its own
    words = outcome.reason if is_ours else words_of(outcome.code, outcome.reason)
    lanes = tools.routes.limits(route).lanes_from(work.seat.lane)
    return (RouteFact(kind, route, outcome.code, words, addresses, lanes),)


def _fact_kind(outcome: Rejected | Split | Throttled | Unavailable, view: RouteView) -> FactKind:
    match outcome:
        case Rejected() | Split():  # SES can be reached; whether a paused account sends again does not show
            return "refused" if view.trouble and view.trouble.is_account else "ok"
        case Throttled():
            return "daily" if outcome.is_daily else "throttled"
        case Unavailable():
            return _KINDS[outcome.scope]
        case _:
            assert_never(outcome)


_KINDS: dict[Scope, FactKind] = {
    "": "unreachable",
    "account": "trouble",
    "denied": "denied",
    "identity": "refused",
    "message": "refused",
    "rule": "refused",
}


def _log(closed: Attempt, outcome: Outcome, tools: Tools) -> None:
    about = {"attempt": closed.number, "recipients": len(closed.recipients)}
    match outcome:
        case Accepted(ses_message_id):
            tools.log.info("batch.sent", **about, ses_message_id=ses_message_id)
            if closed.redirected_to:
                tools.log.info("recipient.redirected", **about)
        case Rejected(code):
            tools.log.warning("batch.rejected", **about, code=code)
        case Split(code):
            tools.log.info("batch.split", **about, code=code)
        case Throttled(code, reason):
            tools.log.info("batch.throttled", **about, code=code, reason=reason)
        case Unavailable(code, reason):
            tools.log.warning("batch.unavailable", **about, code=code, reason=reason)
        case Unknown(code, reason):
            tools.log.warning("batch.unknown", **about, code=code, reason=reason)
        case _:
            assert_never(outcome)


def outcome_of(attempt: Attempt) -> Outcome | None:
    """The inverse: what the record of an attempt says; None while it is open."""
    return _OUTCOMES[attempt.outcome](attempt) if attempt.outcome else None


_OUTCOMES: dict[OutcomeName, Callable[[Attempt], Outcome]] = {
    "accepted": lambda attempt: Accepted(attempt.ses_message_id),
    "rejected": lambda attempt: Rejected(attempt.code, attempt.reason),
    "split": lambda attempt: Split(attempt.code, attempt.reason),
    "throttled": lambda attempt: Throttled(attempt.code, attempt.reason),
    "unavailable": lambda attempt: unavailable_of_record(attempt.code, attempt.reason),
    "unknown": lambda attempt: Unknown(attempt.code, attempt.reason),
}


def _closed(attempt: Attempt, outcome: Outcome, ended_at_ms: int) -> Attempt:
    """The attempt with its outcome; an answer that was noted before keeps its instant."""
    return dataclasses.replace(
        attempt,
        outcome=OUTCOME_NAMES[type(outcome)],
        ended_at_ms=attempt.ended_at_ms or ended_at_ms,
        ses_message_id=outcome.ses_message_id if isinstance(outcome, Accepted) else "",
        code="" if isinstance(outcome, Accepted) else outcome.code,
        reason="" if isinstance(outcome, Accepted) else outcome.reason[:500],
    )


_EVENT_KINDS: dict[OutcomeName, Literal["send", "reject"]] = {"accepted": "send", "rejected": "reject"}


def _events(work: Work, attempt: Attempt) -> tuple[bytes, ...]:
    """The event of a final outcome; what may still change has none."""
    kind = _EVENT_KINDS.get(attempt.outcome) if attempt.outcome else None
    if kind is None:
        return ()
    event = EventRecord(
        kind,
        work.message.message_id,
        attempt.ended_at_ms or attempt.started_at_ms,
        attempt.recipients,
        ses_message_id=attempt.ses_message_id,
        reason=attempt.reason,
        attempt=attempt.number,
        redirected_to=attempt.redirected_to,
        configuration_set=set_of(work.message, attempt.recipients),
    )
    return (event.encode(),)
