"""What became of a message: the object of `mailsluice show ID --json` and GET /admin/messages/{id}.

The JSON is stable; new fields may be added:
  message_id, state (due | leased | parked | held | done), reason (why it is parked or held), waits_for (what a message
  in a lane waits for now; or ""), until (when it wakes, its lease ends, since when it is held or done; null in a lane),
  accepted_at, size_bytes, door, user, client_address, helo, header_message_id, sender ("" = null sender),
  operation (SendRawEmail, SendEmail, SendSmtpEmail; or ""), configuration_set (that the sender named; or ""), tags
  {name: value}, source_arn, from_arn, return_path_arn (or ""), repeats (how often it came again with its key),
  lane, route, sender_key (where it waits for its turn; or ""), ahead (messages of this sender that go before it; or
  null), is_hold_wanted, rounds, failures, crashes,
  recipients [{address (to whom it goes), state (waiting | sending | unknown | sent | rejected | dropped | expired),
  feedback (what SES told later: none | delayed | answered (a transient bounce or an automatic answer) | delivered |
  transient | refused | bounced | complained), ses_message_id, reason, redirected_to (who got it instead; or ""),
  envelope_address (as accepted; "" = added by a rule or a function), is_added, action (DROP | BOUNCE | MOVE_TO_JUNK |
  DEFAULT | BYPASS_SPAM_CHECK, or "" before that is decided), rule, because, waits_for_function (or "")}] in the order
  of the envelope, those added after it,
  batches [{number, recipients [address], outcome (or null), ses_message_id, started_at, ended_at (or null), code,
  reason, redirected_to, worker}], bounce_told [address],
  rules_version ("" = not judged), rules [{rule, actions, recipients [address], because, text (of a bounce; only of
  rules that decided)}], parts [{recipients [address], direction, lane, route, configuration_set ("" = as the sender
  said), tags {name: value}, headers [name], archives [name], is_updated (by a function)}], function_calls [{rule,
  function, mode, invocation_id, recipients [address], state (waits | answered | failed), tries, first_at, next_at (or
  null), error, timeout_minutes, fallback}].
Instants are ISO 8601 in UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aws_api.admin.feedback_words import told_later
from aws_api.admin.route_words import lane_words
from aws_api.admin.verdict_story import decision_of, recipient_fields, verdict_fields
from config.settings import Settings
from sending_events.records import iso
from spool import operator
from spool.assembly import limits_of
from spool.records import Attempt, Message
from spool.routes import read_routes
from spool.sending_quota import Pause, RouteView
from spool.states import IN_LANE, Place, RecipientState
from spool.store import Spool


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a message in a lane waits for is a fact of its route and of the pauses."""

    routes: Mapping[str, RouteView]
    pauses: Sequence[Pause] = ()
    #: Messages of the same sender that go before it.
    ahead: int | None = None

    def words(self, message: Message) -> str:
        """What it waits for now, with the others of its lane; "" for a message that stands in none."""
        seat = message.seat
        if not is_in_lane(message) or seat is None or seat.route not in self.routes:
            return ""
        if own := [one for one in self.pauses if one.scope == f"user:{seat.sender}"]:
            return f"its sender is paused{': ' + own[0].why if own[0].why else ''}"
        return f"lane {seat.lane} of route {seat.route}: {lane_words(self.routes[seat.route], seat.lane, self.pauses)}"


NOWHERE = Surroundings({})
#: What the fence kept lies at the worker that did it.
CAPTURED = "captured by the fence, see captured/{message_id}.eml in the worker's data dir"
SUPPRESSED = "on the suppression list; mailsluice suppression show ADDRESS says why"


async def read_surroundings(spool: Spool, settings: Settings, message: Message) -> Surroundings:
    """Asks only for a message in a lane. Raises StoreUnavailable."""
    if not is_in_lane(message):
        return NOWHERE
    views = await read_routes(spool, list(limits_of(settings).values()))
    _, pauses = await operator.read_pauses(spool.redis)
    ahead = await operator.ahead_of(spool.redis, message.seat, message.message_id) if message.seat else None
    return Surroundings({view.name: view for view in views}, pauses, ahead)


def is_in_lane(message: Message) -> bool:
    """Whether it waits for its turn."""
    return message.place is Place.PARKED and message.reason == IN_LANE


def described(message: Message, around: Surroundings = NOWHERE) -> dict[str, Any]:
    """The object."""
    seat, parameters = message.seat, message.parameters
    return {
        "message_id": message.message_id,
        "state": message.place.value,
        "reason": message.reason,
        "waits_for": around.words(message),
        "until": iso(message.until_ms) if message.until_ms and not is_in_lane(message) else None,
        "accepted_at": iso(message.accepted_at_ms),
        "size_bytes": message.size_bytes,
        "door": message.door,
        "user": message.user,
        "client_address": message.client_address,
        "helo": message.helo,
        "header_message_id": message.header_message_id,
        "sender": message.sender,
        "operation": parameters.operation,
        "configuration_set": parameters.configuration_set,
        "tags": dict(parameters.tags),
        "source_arn": parameters.source_arn,
        "from_arn": parameters.from_arn,
        "return_path_arn": parameters.return_path_arn,
        "repeats": message.repeats,
        "lane": seat.lane if seat else "",
        "route": seat.route if seat else "",
        "sender_key": seat.sender if seat else "",
        "ahead": around.ahead,
        "is_hold_wanted": message.is_hold_wanted,
        "rounds": message.rounds,
        "failures": message.failures,
        "crashes": message.crashes,
        "recipients": [
            {
                "address": address,
                "state": state.name.lower(),
                "feedback": told_later(message, index).name.lower(),
                **answer_of(message, index),
                **recipient_fields(message, index),
            }
            for index, (address, state) in enumerate(zip(message.recipients, message.states, strict=True))
        ],
        "batches": [_batch(message, attempt) for attempt in message.attempts],
        "bounce_told": [message.recipients[index] for index in sorted(message.told)],
        **verdict_fields(message),
    }


def _batch(message: Message, attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "recipients": [message.recipients[index] for index in attempt.recipients],
        "outcome": attempt.outcome,
        "ses_message_id": attempt.ses_message_id,
        "started_at": iso(attempt.started_at_ms),
        "ended_at": iso(attempt.ended_at_ms) if attempt.ended_at_ms else None,
        "code": attempt.code,
        "reason": attempt.reason,
        "redirected_to": attempt.redirected_to,
        "worker": attempt.worker,
    }


def deciding_attempt(message: Message, index: int) -> Attempt | None:
    """The attempt that explains a recipient's state: the accepted one for `sent`, else the last one."""
    own = [attempt for attempt in message.attempts if index in attempt.recipients]
    if message.states[index] is RecipientState.SENT:
        own = [attempt for attempt in own if attempt.outcome == "accepted"] or own
    return own[-1] if own else None


def answer_of(message: Message, index: int) -> dict[str, str]:
    """What SES said about a recipient: its id for a sent one, its words for another; or why it got nothing."""
    attempt, state = deciding_attempt(message, index), message.states[index]
    is_sent = state is RecipientState.SENT
    reason = attempt.reason if attempt and not is_sent else ""
    decision = decision_of(message, index)
    if state is RecipientState.DROPPED and decision and decision.action == "DROP":
        reason = f"dropped by rule {decision.rule}"
    elif state is RecipientState.REJECTED and decision and decision.action == "BOUNCE":
        reason = decision.text or f"bounced by rule {decision.rule}"
    elif index in message.suppressed:
        reason = SUPPRESSED
    elif state is RecipientState.DROPPED:
        # Giving a message up ends it and says why; who was dropped before that was captured.
        is_given_up = message.place is Place.DONE and message.reason
        reason = message.reason if is_given_up else CAPTURED.format(message_id=message.message_id)
    return {
        "ses_message_id": attempt.ses_message_id if attempt and is_sent else "",
        "reason": reason,
        "redirected_to": attempt.redirected_to if attempt and is_sent else "",
    }
