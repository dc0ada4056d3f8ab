"""What the rules decided about a message, as values: written with the message, read by the relay and by people.

Theory of operation
1. A message without a verdict was not judged yet, or there were no rules: everybody goes the ordinary way.
2. The first judgement gives every recipient a decision, or a call of a function that will decide about it. Decisions
   DROP and BOUNCE are states of the recipient from then on; all others belong to a part, which says how they go.
3. A recipient that a function has still to decide about is in no part, so nothing sends to it.
4. A call keeps its invocation id, its tries and its beginning here: whoever holds the message next goes on with them.
Invariant: each recipient, an added one too, has exactly one decision or is in exactly one sync call that waits.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import orjson

Direction = Literal["INBOUND", "OUTBOUND"]
#: WorkMail's names. RUN_LAMBDA is no decision: the function's answer is, or its fallback.
DecidedAction = Literal["DROP", "BOUNCE", "MOVE_TO_JUNK", "DEFAULT", "BYPASS_SPAM_CHECK"]
CallState = Literal["waits", "answered", "failed"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of some recipients, and why."""

    action: DecidedAction
    recipients: tuple[int, ...]
    #: Name of the rule; "" = none matched.
    rule: str = ""
    #: What matched, or what the function said; one line for people.
    because: str = ""
    #: The bounceMessage.
    text: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """A rule that changed how some recipients' mail goes, without deciding whether it goes."""

    rule: str
    recipients: tuple[int, ...]
    because: str
    #: In words, for instance `lane express, header X-Team`.
    actions: str


@dataclass(frozen=True, slots=True)
class Part:
    """Recipients whose mail goes the same way: same bytes, same lane, same route, same tags."""

    recipients: tuple[int, ...]
    direction: Direction = "OUTBOUND"
    #: "" = as the settings choose.
    lane: str = ""
    route: str = ""
    configuration_set: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    #: Added on top when it is sent, in this order.
    headers: tuple[tuple[str, str], ...] = ()
    #: Where a function's updated content is; "" = the message as accepted.
    content_ref: str = ""
    #: Its bytes, for the memory that they need.
    content_bytes: int = 0
    #: Names of archives that keep it.
    archives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """One function that is asked about some recipients, over all its tries."""

    rule: str
    function: str
    mode: Literal["sync", "async"]
    #: 32 hex digits, the same for every try.
    invocation_id: str
    recipients: tuple[int, ...]
    #: How those go for whom the function says DEFAULT, as templates; together they hold all its recipients.
    parts: tuple[Part, ...] = ()
    state: CallState = "waits"
    tries: int = 0
    #: Begin of the first try, ms; 0 = none yet.
    first_at_ms: int = 0
    #: Begin of the next one, ms.
    next_at_ms: int = 0
    #: Why the last try failed; safe to show.
    error: str = ""
    timeout_minutes: float = 0.0
    fallback: DecidedAction = "DEFAULT"
    fallback_text: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """All that rules and functions said about a message."""

    #: Of the rule set that judged it.
    version: str
    decisions: tuple[Decision, ...] = ()
    applied: tuple[Applied, ...] = ()
    parts: tuple[Part, ...] = ()
    calls: tuple[FunctionCall, ...] = ()
    #: Addresses that rules and functions added, in order; their indexes follow those of the envelope.
    added: tuple[str, ...] = ()
    #: Index → the address that stands in for the one of the envelope.
    replaced: Mapping[int, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """JSON for the message's hash; fields that hold their default are left out."""
        return orjson.dumps(_slim(self))

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """The inverse of encode."""
        values = orjson.loads(raw)
        return cls(
            version=values["version"],
            decisions=tuple(Decision(**_tuples(one)) for one in values.get("decisions", ())),
            applied=tuple(Applied(**_tuples(one)) for one in values.get("applied", ())),
            parts=tuple(_part(one) for one in values.get("parts", ())),
            calls=tuple(
                FunctionCall(**_tuples({**one, "parts": [_part(part) for part in one.get("parts", ())]}))
                for one in values.get("calls", ())
            ),
            added=tuple(values.get("added", ())),
            replaced={int(index): address for index, address in values.get("replaced", {}).items()},
        )

    def effective(self, envelope: tuple[str, ...]) -> tuple[str, ...]:
        """To whom the mail goes: the envelope with what was replaced, then whom it adds."""
        if not self.replaced:
            return envelope + self.added
        return tuple(self.replaced.get(index, address) for index, address in enumerate(envelope)) + self.added

    @property
    def content_refs(self) -> frozenset[str]:
        """Where updated contents of this message are."""
        parts = (*self.parts, *(part for call in self.calls for part in call.parts))
        return frozenset(part.content_ref for part in parts if part.content_ref)

    def decision_of(self, index: int) -> Decision | None:
        """The decision about one recipient; None while a function has to decide."""
        return next((one for one in self.decisions if index in one.recipients), None)

    @property
    def undecided(self) -> frozenset[int]:
        """Recipients that a function has still to decide about."""
        return frozenset(
            index for call in self.calls if call.mode == "sync" and call.state == "waits" for index in call.recipients
        )


def _slim(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        found = {}
        for one in dataclasses.fields(value):
            held = getattr(value, one.name)
            default = one.default_factory() if callable(one.default_factory) else one.default
            if held != default:
                found[one.name] = _slim(held)
        return found
    if isinstance(value, tuple):
        return [_slim(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): one for key, one in value.items()}
    return value


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(held) if isinstance(held, list) else held for name, held in values.items()}


def _part(values: dict[str, Any]) -> Part:
    headers = tuple((name, value) for name, value in values.get("headers", ()))
    return Part(**{**_tuples(values), "headers": headers, "recipients": tuple(values.get("recipients", ()))})
