"""Event records: the short form that is written with the state change, and the SES JSON made of it when published.

The short form names recipients by index and the message by id; the publisher loads the message and renders the
record in the shape of SES event publishing (developer guide, "Contents of event data"). SES's own event types keep
their names (Send, Reject); what only we know is called `sluice:Accepted`, `sluice:Deferred`, `sluice:Dropped`,
`sluice:Expired`, `sluice:Held`, `sluice:Bounced` (by a rule), `sluice:RuleApplied`, so that a consumer of SES events
cannot mistake it; the members of ruleApplied are those of WorkMail's RULE_APPLIED. What an operator did is
`sluice:Operator` (operator_acts.py): about the line and no message, so it has no `mail`.

Fields of SES that are absent because nobody here knows them: mail.sourceArn, mail.sendingAccountId, the From, To
and Subject of commonHeaders, the automatic tags `ses:*`. Ours beyond SES: eventId, the tags `sluice:*`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from config.errors import Refused
from spool.keys import is_message_id
from spool.records import Message
from spool.verdicts import Direction

EventKind = Literal[
    "accepted", "send", "reject", "deferred", "dropped", "expired", "held", "rule_applied", "bounced"
]  # fmt: skip

# kind → (eventType, name of its object), SES's spelling where SES has the event.
EVENT_TYPES: dict[EventKind, tuple[str, str]] = {
    "send": ("Send", "send"),
    "reject": ("Reject", "reject"),
    "accepted": ("sluice:Accepted", "accepted"),
    "deferred": ("sluice:Deferred", "deferred"),
    "dropped": ("sluice:Dropped", "dropped"),
    "expired": ("sluice:Expired", "expired"),
    "held": ("sluice:Held", "held"),
    "rule_applied": ("sluice:RuleApplied", "ruleApplied"),
    "bounced": ("sluice:Bounced", "bounced"),
}

# WorkMail's words for the kind of a rule.
_RULE_TYPES: dict[Direction, str] = {"INBOUND": "INBOUND_RULE", "OUTBOUND": "OUTBOUND_RULE"}


class UnreadableEvent(Refused):
    """Not an event in the short form, or one that does not fit its message."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """The short form. `recipients` None = all of the message's."""

    kind: EventKind
    message_id: str
    at_ms: int
    recipients: tuple[int, ...] | None = None
    ses_message_id: str = ""
    reason: str = ""
    #: Number of the attempt this is about, 0 for none.
    attempt: int = 0
    #: When the next attempt is due, for deferred.
    next_at_ms: int = 0
    #: Who got the batch instead of its recipients; "" = nobody did.
    redirected_to: str = ""
    #: Name of the rule that this is about, what it does in words, for mail in which direction ("" = either), and the
    #: version of the rule set; "" = no rule.
    rule: str = ""
    action: str = ""
    direction: Direction | Literal[""] = ""
    version: str = ""
    #: The configuration set whose destinations are told, see set_of; "" = none.
    configuration_set: str = ""

    def encode(self) -> bytes:
        """JSON for the stream; empty fields are left out. On the hot path of every door and worker."""
        values: dict[str, Any] = {"k": self.kind, "id": self.message_id, "at": self.at_ms}
        if self.recipients is not None:
            values["r"] = self.recipients
        if self.ses_message_id:
            values["ses"] = self.ses_message_id
        if self.reason:
            values["why"] = self.reason
        if self.attempt:
            values["n"] = self.attempt
        if self.next_at_ms:
            values["next"] = self.next_at_ms
        if self.redirected_to:
            values["to"] = self.redirected_to
        if self.configuration_set:
            values["set"] = self.configuration_set
        if self.rule or self.action:
            values |= {short: told for short, told in zip(_RULE_FIELDS, self._about_rule, strict=True) if told}
        try:
            return orjson.dumps(values)
        except TypeError:  # text from outside that is no proper text must not stop the settlement it belongs to
            return orjson.dumps({name: _proper(held) for name, held in values.items()})

    @property
    def _about_rule(self) -> tuple[str, str, str, str]:
        return self.rule, self.action, self.direction, self.version

    @classmethod
    def decode(cls, raw: bytes) -> "EventRecord":
        """The inverse of encode. Raises UnreadableEvent."""
        try:
            values = orjson.loads(raw)
            recipients = values.get("r")
            return cls(
                kind=values["k"],
                message_id=_checked(values["id"]),
                at_ms=values["at"],
                recipients=None if recipients is None else tuple(recipients),
                ses_message_id=values.get("ses", ""),
                reason=values.get("why", ""),
                attempt=values.get("n", 0),
                next_at_ms=values.get("next", 0),
                redirected_to=values.get("to", ""),
                rule=values.get("rule", ""),
                action=values.get("do", ""),
                direction=values.get("way", ""),
                version=values.get("ver", ""),
                configuration_set=values.get("set", ""),
            )
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise UnreadableEvent("not an event", detail=f"{type(error).__name__}: {error}") from error


_RULE_FIELDS = ("rule", "do", "way", "ver")


def _proper(held: Any) -> Any:
    return held.encode("utf-8", "backslashreplace").decode() if isinstance(held, str) else held


def set_of(message: Message, recipients: Sequence[int] | None = None) -> str:
    """The configuration set of an event about these recipients: what a rule chose for them, else what the sender said.

    Recipients of one event have one fate, so the first one's part decides.
    """
    if message.verdict is not None and recipients:
        part = next((one for one in message.verdict.parts if recipients[0] in one.recipients), None)
        if part is not None and part.configuration_set:
            return part.configuration_set
    return message.parameters.configuration_set


def _checked(message_id: str) -> str:
    if not is_message_id(message_id):
        raise ValueError("not a message id")
    return message_id


def rendered_line(record: EventRecord, message: Message | None, event_id: str) -> bytes:
    """The record as one line of JSON without a line end. Raises UnreadableEvent."""
    try:
        return orjson.dumps(rendered(record, message, event_id))
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise UnreadableEvent(
            "the event does not fit its message", detail=f"{type(error).__name__}: {error}"
        ) from error


def rendered(record: EventRecord, message: Message | None, event_id: str) -> dict[str, Any]:
    """The record in SES's shape. A forgotten message leaves the fields that only it knows empty."""
    event_type, object_name = EVENT_TYPES[record.kind]
    addresses = _addresses(record, message)
    return {
        "eventType": event_type,
        "eventId": event_id,
        "mail": _mail(record, message, addresses),
        object_name: _object(record, addresses),
    }


def _mail(record: EventRecord, message: Message | None, addresses: list[str]) -> dict[str, Any]:
    tags: dict[str, Sequence[str]] = {"sluice:message-id": [record.message_id]}
    if record.attempt:
        tags["sluice:attempt"] = [str(record.attempt)]
    if record.redirected_to:
        tags["sluice:redirected-to"] = [record.redirected_to]
    if message and message.user:
        tags["sluice:user"] = [message.user]
    # SES: the instant and the id of the call. What never reached SES has the instant and the id of our door.
    is_about_a_call = record.kind in {"send", "reject"}
    id_ = record.ses_message_id or record.message_id
    return {
        "timestamp": iso(record.at_ms if message is None or is_about_a_call else message.accepted_at_ms),
        "messageId": id_,
        "source": message.sender if message else "",
        "destination": addresses,
        "headersTruncated": True,  # the spool keeps one header only
        "headers": _headers(message),
        "commonHeaders": {"messageId": id_},
        "tags": tags,
    }


def _headers(message: Message | None) -> list[dict[str, str]]:
    if message is None or not message.header_message_id:
        return []
    bare = message.header_message_id.removeprefix("<").removesuffix(">")
    return [{"name": "Message-ID", "value": f"<{bare}>"}]


def _object(record: EventRecord, addresses: list[str]) -> dict[str, Any]:
    if record.kind == "send":
        return {}  # as SES has it
    if record.kind == "reject":
        return {"reason": record.reason}
    values: dict[str, Any] = {"timestamp": iso(record.at_ms), "recipients": addresses}
    rule = {
        "ruleName": record.rule,
        "ruleType": _RULE_TYPES[record.direction] if record.direction else "",
        "ruleActions": record.action,
        "version": record.version,
    }
    values |= {name: told for name, told in rule.items() if told}
    if record.reason:
        values["reason"] = record.reason
    if record.next_at_ms:
        values["nextAttemptAt"] = iso(record.next_at_ms)
    return values


def _addresses(record: EventRecord, message: Message | None) -> list[str]:
    if message is None:
        return []
    if record.recipients is None:
        return list(message.envelope if record.kind == "accepted" else message.recipients)
    return [message.recipients[index] for index in record.recipients]


def iso(at_ms: int) -> str:
    """SES's time form: ISO 8601, milliseconds, Z."""
    seconds, milliseconds = divmod(at_ms, 1000)
    # strftime takes four times as long.
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{milliseconds:03d}Z"
