"""What the rules decided about a message, as values: written with the message, read by the relay and by people.

Theory of operation
1. A message without a verdict was not judged yet, or there were no rules: everybody goes the ordinary way.
2. The first judgement gives every recipient a decision, or a call of a function that will decide about it. Decisions
   DROP and BOUNCE are states of the recipient from then on; all others belong to a part, which says how they go.
3. A recipient that a function has still to decide about is in no part, so nothing sends to it.
4. A call keeps its invocation id, its tries and its beginning here: whoever holds the message next goes on with them.
5. What another version wrote beside these fields is passed over when it is read, and lost with the next write.
Invariant: each recipient, an added one too, has exactly one decision or is in exactly one sync call that waits.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, Self, TypeVar

import orjson

Direction = Literal["INBOUND", "OUTBOUND"]
#: WorkMail's names. RUN_LAMBDA is no decision: the function's answer is, or its fallback.
DecidedAction = Literal["DROP", "BOUNCE", "MOVE_TO_JUNK", "DEFAULT", "BYPASS_SPAM_CHECK"]
CallState = Literal["waits", "answered", "failed"]

Piece = TypeVar("Piece")


class UnreadableVerdict(Exception):  # noqa: N818 - says what it is
    """What is written is no verdict."""


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
    #: One of ours; "" = as the sender said.
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
        """The inverse of encode. Raises UnreadableVerdict."""
        try:
            return cls._decoded(orjson.loads(raw))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise UnreadableVerdict(f"{type(error).__name__}: {error}") from error

    @classmethod
    def _decoded(cls, values: dict[str, Any]) -> Self:
        return cls(
            version=values["version"],
            decisions=tuple(_piece(Decision, one) for one in values.get("decisions", ())),
            applied=tuple(_piece(Applied, one) for one in values.get("applied", ())),
            parts=tuple(_part(one) for one in values.get("parts", ())),
            calls=tuple(
                _piece(FunctionCall, {**one, "parts": [_part(part) for part in one.get("parts", ())]})
                for one in values.get("calls", ())
            ),
            added=tuple(_text(address) for address in values.get("added", ())),
            replaced={int(index): _text(address) for index, address in values.get("replaced", {}).items()},
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
    def decided(self) -> Mapping[int, Decision]:
        """The decisions about all who have one: for many recipients, where decision_of would look through all."""
        return {index: one for one in reversed(self.decisions) for index in one.recipients}

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


def _text(held: Any) -> str:
    if not isinstance(held, str):
        raise TypeError("not a text")
    return held


@cache
def _names(kind: type[Any]) -> frozenset[str]:
    return frozenset(one.name for one in dataclasses.fields(kind))


def _piece(kind: type[Piece], values: dict[str, Any]) -> Piece:
    """A part of the verdict from its fields."""
    if not isinstance(values["recipients"], list | tuple):
        raise TypeError("not a list of recipients")
    names = _names(kind)  # type: ignore[arg-type] # a class is hashable
    return kind(
        **{name: tuple(held) if isinstance(held, list) else held for name, held in values.items() if name in names}
    )


def _part(values: dict[str, Any]) -> Part:
    headers = tuple((name, value) for name, value in values.get("headers", ()))
    return _piece(Part, {**values, "headers": headers, "recipients": tuple(values.get("recipients", ()))})
