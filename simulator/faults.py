"""Faults that a test switches on: which call they hit, and what then happens instead of a good answer.

A fault is written as JSON, for instance {"kind": "hang_after", "count": 1, "match_recipient": "@example.com"}.
{"kind": "refuse"} answers with the `code`, `status` and `text` that stand beside it, whatever they are.
The active faults are asked in their order for each send that would be accepted; the first that hits decides.
Choosing is all that is done here: the HTTP side carries it out.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum, auto
from random import Random

from simulator.refusals import (
    INTERNAL,
    PAUSED,
    PAUSED_TEXT,
    QUOTA_EXCEEDED,
    RATE_EXCEEDED,
    REJECTED,
    THROTTLED,
    UNAVAILABLE,
    Refusal,
    Refused,
)

MAX_FAULTS = 100
_CODE = re.compile(r"[A-Za-z0-9.]{1,100}")


class Instead(Enum):
    """What the client gets in place of a good answer."""

    REFUSAL = auto()
    GIVEN_REFUSAL = auto()
    SILENCE = auto()
    CLOSED_CONNECTION = auto()
    HTML_PAGE = auto()
    HALF_AN_ANSWER = auto()


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One row of the table: is the message accepted all the same, and what does the client see."""

    is_accepted: bool
    instead: Instead
    refused: Refused | None = None


KINDS: Mapping[str, FaultKind] = {
    "throttle": FaultKind(is_accepted=False, instead=Instead.REFUSAL, refused=Refused(THROTTLED, RATE_EXCEEDED)),
    "daily_quota": FaultKind(is_accepted=False, instead=Instead.REFUSAL, refused=Refused(THROTTLED, QUOTA_EXCEEDED)),
    "error_500": FaultKind(
        is_accepted=False,
        instead=Instead.REFUSAL,
        refused=Refused(INTERNAL, "The request processing has failed because of an unknown error."),
    ),
    "error_503": FaultKind(
        is_accepted=False,
        instead=Instead.REFUSAL,
        refused=Refused(UNAVAILABLE, "The request has failed due to a temporary failure of the server."),
    ),
    "reject": FaultKind(is_accepted=False, instead=Instead.REFUSAL, refused=Refused(REJECTED, "Address blacklisted.")),
    "not_verified": FaultKind(
        is_accepted=False,
        instead=Instead.REFUSAL,
        refused=Refused(
            REJECTED,
            "Email address is not verified. The following identities failed the check in region US-EAST-1: "
            "sender@example.com",
        ),
    ),
    "paused": FaultKind(is_accepted=False, instead=Instead.REFUSAL, refused=Refused(PAUSED, PAUSED_TEXT)),
    "refuse": FaultKind(is_accepted=False, instead=Instead.GIVEN_REFUSAL),
    "hang_before": FaultKind(is_accepted=False, instead=Instead.SILENCE),
    "hang_after": FaultKind(is_accepted=True, instead=Instead.SILENCE),
    "close_before": FaultKind(is_accepted=False, instead=Instead.CLOSED_CONNECTION),
    "close_after": FaultKind(is_accepted=True, instead=Instead.CLOSED_CONNECTION),
    "html_200": FaultKind(is_accepted=True, instead=Instead.HTML_PAGE),
    "cut_answer": FaultKind(is_accepted=True, instead=Instead.HALF_AN_ANSWER),
}


class WrongFaultError(ValueError):
    """The description of a fault is wrong; the text says what is allowed."""


@dataclass(slots=True)
class Fault:
    """One active fault and how often it has been asked and has hit."""

    kind: str
    #: calls it hits, None = until cleared
    count: int | None = None
    probability: float = 1.0
    #: a part of an address (case does not matter); None = any
    match_recipient: str | None = None
    #: a part of the envelope sender (case does not matter); None = any
    match_sender: str | None = None
    #: matching calls that pass before the first hit
    after_calls: int = 0
    #: a silent call is closed after so long when nobody clears the faults before
    hang_seconds: float = 300.0
    #: the answer of kind `refuse`, on both wires
    code: str = "InternalFailure"
    status: int = 400
    text: str = ""
    matched: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)

    def hits_call(self, source: str, destinations: Sequence[str], random: Random) -> bool:
        """Decide about one call, and count it."""
        if self.count is not None and self.hits >= self.count:
            return False
        if not (_matches(self.match_sender, (source,)) and _matches(self.match_recipient, destinations)):
            return False
        self.matched += 1
        if self.matched <= self.after_calls or random.random() >= self.probability:
            return False
        self.hits += 1
        return True

    @property
    def given_refusal(self) -> Refused:
        """The answer of kind `refuse`."""
        return Refused(Refusal(self.code, self.status, self.code, self.status), self.text)

    def described(self) -> dict[str, object]:
        """As JSON: the description with its counters."""
        return asdict(self)


def _matches(part: str | None, addresses: Sequence[str]) -> bool:
    return part is None or any(part.casefold() in address.casefold() for address in addresses)


def first_hit(faults: Sequence[Fault], source: str, destinations: Sequence[str], random: Random) -> Fault | None:
    """The first fault that hits a call."""
    for fault in faults:
        if fault.hits_call(source, destinations, random):
            return fault
    return None


def read_faults(described: object) -> list[Fault]:
    """Faults from parsed JSON, one object or a list of them; raises `WrongFaultError`."""
    several = described if isinstance(described, list) else [described]
    if len(several) > MAX_FAULTS:
        raise WrongFaultError(f"At most {MAX_FAULTS} faults at once.")
    return [_read_fault(one) for one in several]


def _is_kind(value: object) -> bool:
    return isinstance(value, str) and value in KINDS


def _is_count(value: object) -> bool:
    return value is None or _is_whole(value)


def _is_part(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_probability(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _is_code(value: object) -> bool:
    return isinstance(value, str) and _CODE.fullmatch(value) is not None


def _is_status(value: object) -> bool:
    return _is_whole(value) and value in range(400, 600)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


#: member: (is it allowed, what is)
_MEMBERS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "kind": (_is_kind, f"one of {', '.join(KINDS)}"),
    "count": (_is_count, "a number of calls, or null"),
    "probability": (_is_probability, "a number from 0 to 1"),
    "match_recipient": (_is_part, "a part of an address, or null"),
    "match_sender": (_is_part, "a part of an address, or null"),
    "after_calls": (_is_whole, "a number of calls"),
    "hang_seconds": (_is_number, "a number of seconds"),
    "code": (_is_code, "an error code: letters, digits and dots"),
    "status": (_is_status, "an HTTP status from 400 to 599"),
    "text": (_is_text, "a text"),
}


def _read_fault(described: object) -> Fault:
    if not isinstance(described, dict):
        raise WrongFaultError("A fault is an object.")
    if "kind" not in described:
        raise WrongFaultError(f"kind is missing: {_MEMBERS['kind'][1]}.")
    for name, value in described.items():
        if name not in _MEMBERS:
            raise WrongFaultError(f"{name} is not known; a fault has {', '.join(_MEMBERS)}.")
        is_allowed, allowed = _MEMBERS[name]
        if not is_allowed(value):
            raise WrongFaultError(f"{name} must be {allowed}.")
    return Fault(**described)
