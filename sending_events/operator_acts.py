"""What an operator did, as an event: one record for each act of the command line or of /admin/, message or not.

The record is written with the act, or right after it when the act goes over many messages; then it has the counts.
Published it is `sluice:Operator`. Addresses stand in it only where the operator wrote them, as a filter or a scope.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from sending_events.records import UnreadableEvent, iso

Action = Literal["pause", "resume", "hold", "release", "cancel", "retry", "drain", "undrain", "replay"]
KIND = "operator"
EVENT_TYPE, OBJECT_NAME = "sluice:Operator", "operator"


@dataclass(frozen=True, slots=True)
class OperatorAct:
    """One act."""

    action: Action
    at_ms: int
    #: user@host of a terminal, or "api".
    by: str
    #: What was paused or drained: "all", "lane:bulk", "worker:name" …
    scope: tuple[str, ...] = ()
    #: The filter that chose the messages, as it was given.
    chosen_by: Mapping[str, Any] = field(default_factory=dict)
    #: Ids that chose them, at most `SHOWN_IDS`.
    message_ids: tuple[str, ...] = ()
    #: What it did: for instance {"held_messages": 12}.
    counts: Mapping[str, int] = field(default_factory=dict)
    why: str = ""
    #: End of a pause; 0 = none.
    until_ms: int = 0

    def encode(self) -> bytes:
        """JSON for the stream; empty fields are left out."""
        values: dict[str, Any] = {"k": KIND, "at": self.at_ms, "do": self.action, "by": _proper(self.by)}
        more = {
            "scope": [_proper(one) for one in self.scope],
            "where": {name: _proper(value) for name, value in self.chosen_by.items()},
            "ids": self.message_ids[:SHOWN_IDS],
            "n": dict(self.counts),
            "why": _proper(self.why),
            "until": self.until_ms,
        }
        return orjson.dumps({**values, **{name: value for name, value in more.items() if value}})

    @classmethod
    def decode(cls, raw: bytes) -> "OperatorAct":
        """The inverse of encode. Raises UnreadableEvent."""
        try:
            return cls._of(orjson.loads(raw))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise UnreadableEvent("not an event", detail=f"{type(error).__name__}: {error}") from error

    @classmethod
    def _of(cls, values: Mapping[str, Any]) -> "OperatorAct":
        return cls(
            action=values["do"],
            at_ms=int(values["at"]),
            by=values["by"],
            scope=tuple(values.get("scope", ())),
            chosen_by=dict(values.get("where", {})),
            message_ids=tuple(values.get("ids", ())),
            counts=dict(values.get("n", {})),
            why=values.get("why", ""),
            until_ms=int(values.get("until", 0)),
        )


#: Ids written out in one event.
SHOWN_IDS = 50


def rendered(act: OperatorAct, event_id: str) -> dict[str, Any]:
    """The act as it is told outside."""
    told: dict[str, Any] = {"timestamp": iso(act.at_ms), "action": act.action, "by": act.by}
    more = {
        "scope": list(act.scope),
        "filter": dict(act.chosen_by),
        "messageIds": list(act.message_ids),
        "counts": dict(act.counts),
        "reason": act.why,
        "until": iso(act.until_ms) if act.until_ms else "",
    }
    told |= {name: value for name, value in more.items() if value}
    return {"eventType": EVENT_TYPE, "eventId": event_id, OBJECT_NAME: told}


def _proper(value: Any) -> Any:
    """Text of a terminal that is no proper UTF-8 must not stop the act it belongs to."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Sequence):
        return [_proper(one) for one in value]
    return value
