"""Notes what a call brought: the attempt gets its outcome, its recipients their next state, the world its event.

Used by the relay right after the call, and by the load step for answers that an earlier holder of the message could
not write any more. What is noted goes to the spool with the next write.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal, assert_never

from sending_events.records import EventRecord
from spool.records import Attempt, OutcomeName
from spool.sending_quota import FactKind, RouteFact, RouteView
from spool.states import ACCOUNT_TROUBLE, IDENTITY, IN_LANE, Happening
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
    of_code,
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

NO_ANSWER = "no answer from SES"
UNKNOWN_ANSWER = "SES answered what nobody knows"


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
        "reject", work.message.message_id, tools.now_ms(), recipients, reason=why.reason, attempt=why.number
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

    What is the route's matter brings the message back to its lane, and the route decides when it is tried again. What
    is its own matter makes it wait by itself, longer each time.
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
    "": lambda _: Delay("lane", IN_LANE, told="SES unavailable"),
    "account": lambda code: Delay("lane", IN_LANE, told=f"{ACCOUNT_TROUBLE}: {code}"),
    "identity": lambda _: Delay("parked", IDENTITY, told=IDENTITY),
    "message": lambda code: Delay("parked", f"{UNKNOWN_ANSWER}: {code}", told=f"{UNKNOWN_ANSWER}: {code}"),
}


def _facts(work: Work, outcome: Outcome, addresses: int, tools: Tools) -> tuple[RouteFact, ...]:
    """What the route learns from a call of now; an old answer says nothing about it."""
    if work.seat is None:
        return ()
    route = work.seat.route
    if isinstance(outcome, Accepted):
        return (RouteFact("ok", route),)
    kind = _fact_kind(outcome, tools.routes.view(route))
    if kind is None:
        return ()
    return (RouteFact(kind, route, outcome.code, words_of(outcome.code, outcome.reason), addresses),)


def _fact_kind(outcome: Rejected | Split | Throttled | Unavailable | Unknown, view: RouteView) -> FactKind | None:
    match outcome:
        case Rejected() | Split():  # SES can be reached; whether a paused account sends again does not show
            return None if view.trouble and view.trouble.is_account else "ok"
        case Throttled():
            return "daily" if outcome.is_daily else "throttled"
        case Unavailable(scope="account"):
            return "trouble"
        case Unavailable(scope=""):
            return "unreachable"
        case Unavailable() | Unknown():
            return None
        case _:
            assert_never(outcome)


def _log(closed: Attempt, outcome: Outcome, tools: Tools) -> None:
    about = {"attempt": closed.number, "recipients": len(closed.recipients)}
    match outcome:
        case Accepted(ses_message_id):
            tools.log.info("batch.sent", **about, ses_message_id=ses_message_id)
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


def _unavailable(attempt: Attempt) -> Outcome:
    known = of_code(attempt.code, attempt.reason)  # tells account trouble from the rest
    return known if isinstance(known, Unavailable) else Unavailable(attempt.code, attempt.reason)


_OUTCOMES: dict[OutcomeName, Callable[[Attempt], Outcome]] = {
    "accepted": lambda attempt: Accepted(attempt.ses_message_id),
    "rejected": lambda attempt: Rejected(attempt.code, attempt.reason),
    "split": lambda attempt: Split(attempt.code, attempt.reason),
    "throttled": lambda attempt: Throttled(attempt.code, attempt.reason),
    "unavailable": _unavailable,
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
    )
    return (event.encode(),)
