"""What SES tells later about mail that went through here (Delivery, Bounce, Complaint …), as a record of the stream.

The record holds SES's own event as it came, so that nothing of it is lost when our own record of the message is
forgotten. What is told outside is that event with our ids and tags; rendering.py says how.
"""

from dataclasses import dataclass, field
from typing import Any

import orjson

from sending_events.records import UnreadableEvent, checked_id, checked_text

KIND = "ses"


@dataclass(frozen=True, slots=True)
class FeedbackRecord:
    """One event of SES about one batch of a message of ours."""

    #: SES's eventType: Delivery, Bounce, Complaint, DeliveryDelay, Reject, Rendering Failure, Open, Click …
    event_type: str
    message_id: str
    #: When SES says that it happened, epoch milliseconds.
    at_ms: int
    ses_message_id: str
    #: SES's JSON in the shape of event publishing (eventType, mail, the object).
    event: dict[str, Any] = field(repr=False)
    #: Number of the attempt, 0 = not known.
    attempt: int = 0
    #: The configuration set whose destinations are told; "" = none.
    configuration_set: str = ""

    def encode(self) -> bytes:
        """JSON for the stream."""
        values = {
            "k": KIND,
            "id": self.message_id,
            "at": self.at_ms,
            "type": self.event_type,
            "ses": self.ses_message_id,
            "n": self.attempt,
            "set": self.configuration_set,
            "event": self.event,
        }
        return orjson.dumps({name: value for name, value in values.items() if value})

    @classmethod
    def decode(cls, raw: bytes) -> "FeedbackRecord":
        """The inverse. Raises UnreadableEvent."""
        try:
            values = orjson.loads(raw)
            return cls(
                event_type=checked_text(values["type"]),
                message_id=checked_id(values["id"]),
                at_ms=int(values["at"]),
                ses_message_id=checked_text(values.get("ses", "")),
                event=_members(values["event"]),
                attempt=int(values.get("n", 0)),
                configuration_set=checked_text(values.get("set", "")),
            )
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise UnreadableEvent("not an event", detail=f"{type(error).__name__}: {error}") from error


def _members(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value
