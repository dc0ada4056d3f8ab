"""Which messages an act is for, when they are chosen by what they are: a filter, and which places it looks at. Pure.

Every member that is given must fit. A message is looked at as the spool has it now: `recipient_domain` asks for a
recipient without a final state, `reason` for a part of the text that `mailsluice queue` shows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from config.errors import Refused
from spool.records import Message
from spool.sending_quota import sender_key
from spool.states import IN_LANE, Place

State = Literal["due", "parked", "lane", "held", "leased"]
MessageAction = Literal["hold", "release", "cancel", "retry"]

_DOMAIN = re.compile(r"[^\s@*<>]+")
# A local part in quotation marks may have an @ of its own (RFC 5321, 4.1.2).
_SENDER = re.compile(r"<>|<?(?:\"[^\"]+\"@|[^\s@<>]+@)?[^\s@*<>]+>?")

#: Where a state is kept, in the order of a walk: the way a message usually takes, so that one that moves on meanwhile
#: is met once more rather than missed.
PLACES: Final[Mapping[State, Place]] = {
    "due": Place.DUE,
    "leased": Place.LEASED,
    "parked": Place.PARKED,
    "lane": Place.PARKED,
    "held": Place.HELD,
}

#: What an act can do something about.
ACTS_ON: Final[Mapping[MessageAction, frozenset[State]]] = {
    "hold": frozenset({"due", "parked", "lane", "leased"}),
    "release": frozenset({"held", "parked"}),
    "cancel": frozenset({"due", "parked", "lane", "held"}),
    "retry": frozenset({"parked"}),
}
#: Where it looks when no state is given.
USUAL_STATES: Final[Mapping[MessageAction, frozenset[State]]] = {
    **ACTS_ON,
    "release": frozenset({"held"}),
}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages; None = whatever it is."""

    states: tuple[State, ...] | None = None
    #: Envelope sender: an address, or a domain; "<>" is the null sender.
    sender: str | None = None
    recipient_domain: str | None = None
    older_than_seconds: float | None = None
    newer_than_seconds: float | None = None
    reason: str | None = None
    #: SMTP user, or the envelope sender of mail without one.
    user: str | None = None
    lane: str | None = None
    route: str | None = None

    def given(self) -> dict[str, Any]:
        """The members that choose something, for the event and for people."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: list(value) if name == "states" else value for name, value in values.items() if value is not None}


def state_of(message: Message) -> State | None:
    """The message's state as a filter names it; None when it is done."""
    match message.place:
        case Place.DUE:
            return "due"
        case Place.LEASED:
            return "leased"
        case Place.PARKED:
            return "lane" if message.reason == IN_LANE else "parked"
        case Place.HELD:
            return "held"
        case Place.DONE:
            return None


def states_of(action: MessageAction, chosen: Filter) -> frozenset[State]:
    """Where this act looks. Raises Refused for a state that it can do nothing about, and for a filter of nothing."""
    _check(chosen)
    if chosen.states is None:
        return USUAL_STATES[action]
    if wrong := sorted(set(chosen.states) - ACTS_ON[action]):
        allowed = ", ".join(sorted(ACTS_ON[action]))
        raise Refused(f"states: {action} does nothing about {', '.join(wrong)}; allowed: {allowed}")
    return frozenset(chosen.states)


def _check(chosen: Filter) -> None:
    """Raises Refused for what no message can ever fit; an option that is empty chooses nothing, least of all all."""
    if not chosen.given():
        raise Refused("filter: must have at least one member")
    for name, value in chosen.given().items():
        if value == "":
            raise Refused(f"{name}: must not be empty")
    if chosen.sender is not None and not _SENDER.fullmatch(chosen.sender):
        raise Refused("sender: must be an address, a domain, or <> for the null sender; there are no wildcards")
    if chosen.recipient_domain is not None and not _DOMAIN.fullmatch(chosen.recipient_domain.removeprefix("@")):
        raise Refused("recipient_domain: must be a domain, for instance example.com")
    older, newer = chosen.older_than_seconds, chosen.newer_than_seconds
    if older is not None and newer is not None and older >= newer:
        raise Refused("older_than_seconds: no message is older than that and newer than newer_than_seconds")


def fits(chosen: Filter, states: frozenset[State], message: Message, now_ms: int) -> bool:
    """Whether the message is one of those."""
    age_seconds = (now_ms - message.accepted_at_ms) / 1000
    return (
        state_of(message) in states
        and (chosen.sender is None or is_sender(chosen.sender, message.sender))
        and (chosen.recipient_domain is None or _waits_for(chosen.recipient_domain, message))
        and (chosen.older_than_seconds is None or age_seconds > chosen.older_than_seconds)
        and (chosen.newer_than_seconds is None or age_seconds < chosen.newer_than_seconds)
        and (chosen.reason is None or chosen.reason.lower() in message.reason.lower())
        and (chosen.user is None or _is_user(chosen.user, message))
        and (chosen.lane is None or (message.seat is not None and message.seat.lane == chosen.lane))
        and (chosen.route is None or (message.seat is not None and message.seat.route == chosen.route))
    )


def is_sender(pattern: str, sender: str) -> bool:
    """An address or a domain, compared without regard to case; "<>" and "" are the null sender."""
    wanted, had = pattern.removeprefix("<").removesuffix(">").lower(), sender.lower()
    return wanted == had if "@" in wanted or not wanted else had.rpartition("@")[2] == wanted


def _waits_for(domain: str, message: Message) -> bool:
    wanted = domain.removeprefix("@").lower()
    return any(
        address.rpartition("@")[2].lower() == wanted
        for address, state in zip(message.recipients, message.states, strict=True)
        if not state.is_final
    )


def _is_user(user: str, message: Message) -> bool:
    if message.user:
        return message.user == user
    # Mail without a user takes its turns under its envelope sender.
    return bool(message.sender) and sender_key(message.sender) == sender_key(user)
