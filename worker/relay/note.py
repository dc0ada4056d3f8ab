"""Notes what a call brought: the attempt gets its outcome, its recipients their next state, the world its event.

Used by the relay right after the call, and by the load step for answers that an earlier holder of the message could
not write any more. What is noted goes to the spool with the next write.
"""

import dataclasses
from typing import Literal, assert_never

from sending_events.records import EventRecord
from spool.records import Attempt, OutcomeName
from spool.states import ACCOUNT_TROUBLE, Happening
from worker.relay.outcomes import Accepted, Outcome, Rejected, Throttled, Unavailable, Unknown, of_code
from worker.tools import Tools
from worker.work import Work

OUTCOME_NAMES: dict[type[Outcome], OutcomeName] = {
    Accepted: "accepted",
    Rejected: "rejected",
    Throttled: "throttled",
    Unavailable: "unavailable",
    Unknown: "unknown",
}

COUNTERS: dict[OutcomeName, str] = {
    "accepted": "sent_recipients",
    "rejected": "rejected_recipients",
    "throttled": "throttled_recipients",
    "unavailable": "unavailable_recipients",
    "unknown": "unknown_recipients",
}


def note(work: Work, attempt: Attempt, outcome: Outcome, tools: Tools) -> Work:
    """What the outcome means for the batch's recipients, and whether the rest has to wait."""
    name = OUTCOME_NAMES[type(outcome)]
    tools.tally.count(f"ses_calls:{name}")
    closed = _closed(attempt, outcome, tools.now_ms())
    count = len(attempt.recipients)
    about = {"attempt": attempt.number, "recipients": count}
    reason, happening, event = "", Happening.NOT_TAKEN, None
    match outcome:
        case Accepted(ses_message_id):
            happening, event = Happening.ACCEPTED, _event("send", work, closed)
            tools.log.info("batch.sent", **about, ses_message_id=ses_message_id)
        case Rejected(code):
            happening, event = Happening.REJECTED, _event("reject", work, closed)
            tools.log.warning("batch.rejected", **about, code=code)
        case Throttled(code):
            reason = "throttled"
            tools.log.info("batch.throttled", **about, code=code)
        case Unavailable(code):
            reason = f"{ACCOUNT_TROUBLE}: {code}" if outcome.blames_account else "SES unavailable"
            tools.log.warning("batch.unavailable", **about, code=code, reason=outcome.reason)
        case Unknown(code):
            is_resent = tools.settings.relay.unknown == "resend"
            happening = Happening.CALL_LOST if is_resent else Happening.DOUBT_KEPT
            reason = "no answer from SES"
            tools.log.warning("batch.unknown", **about, code=code, reason=outcome.reason)
        case _:
            assert_never(outcome)
    attempts = tuple(closed if one.number == attempt.number else one for one in work.message.attempts)
    return work.learnt(
        work.message.having(attempt.recipients, happening, attempts),
        attempts=(closed,),
        events=(event,) if event else (),
        delay_reason=reason,
        **{COUNTERS[name]: count},
    )


def outcome_of(attempt: Attempt) -> Outcome | None:
    """The inverse: what the record of an attempt says; None while it is open."""
    match attempt.outcome:
        case None:
            return None
        case "accepted":
            return Accepted(attempt.ses_message_id)
        case "rejected":
            return Rejected(attempt.code, attempt.reason)
        case "throttled":
            return Throttled(attempt.code, attempt.reason)
        case "unavailable":
            return of_code(attempt.code, attempt.reason)  # tells account trouble from the rest
        case "unknown":
            return Unknown(attempt.code, attempt.reason)
        case _:
            assert_never(attempt.outcome)


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


def _event(kind: Literal["send", "reject"], work: Work, attempt: Attempt) -> bytes:
    return EventRecord(
        kind,
        work.message.message_id,
        attempt.ended_at_ms or attempt.started_at_ms,
        attempt.recipients,
        ses_message_id=attempt.ses_message_id,
        reason=attempt.reason,
        attempt=attempt.number,
    ).encode()
