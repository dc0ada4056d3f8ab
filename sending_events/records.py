"""Event records: the short form that is written with the state change. rendering.py makes SES's JSON of it.

The short form names recipients by index and the message by id; who publishes it loads the message. SES's own event
types keep their names (Send, Reject, Bounce); what only we know is called `sluice:Accepted`, `sluice:Deferred`,
`sluice:Dropped`, `sluice:Expired`, `sluice:Held`, `sluice:Bounced` (by a rule), `sluice:RuleApplied`, so that a
consumer of SES events cannot mistake it. What an operator did is `sluice:Operator` (operator_acts.py), what SES tells
later is in feedback_records.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

import orjson

from config.errors import Refused
from spool.keys import is_message_id
from spool.records import Message
from spool.verdicts import Direction

EventKind = Literal[
    "accepted", "send", "reject", "deferred", "dropped", "expired", "held", "rule_applied", "bounced", "suppressed"
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
    # Not sent because of the list: SES tells that as a bounce.
    "suppressed": ("Bounce", "bounce"),
}


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
            recipients, get = values.get("r"), values.get
            return cls(  # by position: as fast again, for every event
                checked_text(values["k"]),
                checked_id(values["id"]),
                values["at"],
                None if recipients is None else tuple(recipients),
                get("ses", ""),
                get("why", ""),
                get("n", 0),
                get("next", 0),
                get("to", ""),
                get("rule", ""),
                get("do", ""),
                get("way", ""),
                get("ver", ""),
                checked_text(get("set", "")),
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


def checked_id(message_id: str) -> str:
    """The id, when it has the form of one of ours. Raises ValueError."""
    if not is_message_id(message_id):
        raise ValueError("not a message id")
    return message_id


def checked_text(value: Any) -> Any:
    """The value, when it is a text: others cannot be looked up, and would stop whoever tries. Raises TypeError."""
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def iso(at_ms: int) -> str:
    """SES's time form: ISO 8601, milliseconds, Z."""
    seconds, milliseconds = divmod(at_ms, 1000)
    return f"{_iso_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=256)
def _iso_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]  # strftime takes four times as long
