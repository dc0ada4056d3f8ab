"""The API's EventDestination and ours: read and checked, and written again. Pure.

The same shape comes by SES's API and stands in mailsluice.toml. The file may do more: kinds and members that SES does
not have, and event types of ours. Every mistake is found at once; the API tells the first of them, the file all.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from config.errors import Refused
from sending_events.configuration_sets.records import KINDS, MATCHING_EVENT_TYPES, EventDestination
from sending_events.configuration_sets.targets import SHOWN_CHARACTERS, Mistake, target_mistakes
from sending_events.records import EVENT_TYPES

MAX_NAME_CHARACTERS: Final = 64
#: The members of EventDestination that SES's v1 API has as kinds.
API_KINDS: Final = ("KinesisFirehoseDestination", "CloudWatchDestination", "SNSDestination")
_PLAIN_MEMBERS: Final = ("Name", "Enabled", "MatchingEventTypes")

#: eventType of a record → MatchingEventTypes, v1's spelling; ours are spelt as they are.
_SPELLINGS: Final[Mapping[str, str]] = {told: spelling for spelling, told in MATCHING_EVENT_TYPES.items()}
#: v2's spelling → eventType: RENDERING_FAILURE, DELIVERY_DELAY.
_V2_EVENT_TYPES: Final[Mapping[str, str]] = {
    re.sub(r"(?=[A-Z])", "_", spelling).upper(): told for spelling, told in MATCHING_EVENT_TYPES.items()
}
#: The event types that only we know, sluice:Accepted for instance.
OUR_EVENT_TYPES: Final = frozenset(told for told, _ in EVENT_TYPES.values() if told.startswith("sluice:"))


class WrongDestination(Refused):
    """An event destination that cannot be."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__(mistakes[0].text)
        self.mistakes = mistakes


def read_destination(shape: Mapping[str, Any], *, is_of_file: bool = False) -> EventDestination:
    """The destination that the shape describes. Raises WrongDestination with every mistake."""
    if mistakes := tuple(_mistakes(shape, is_of_file=is_of_file)):
        raise WrongDestination(mistakes)
    member = _members_of_kinds(shape)[0]
    return EventDestination(
        name=shape["Name"],
        is_enabled=shape.get("Enabled", False),
        event_types=frozenset(_event_type(one, is_of_file=is_of_file) for one in shape["MatchingEventTypes"]),
        kind=KINDS[member],
        target={name: value for name, value in shape[member].items() if value is not None},
    )


def described(destination: EventDestination) -> dict[str, Any]:
    """As SES's v1 API shows it; of a kind that it does not have nothing but name, state and event types."""
    member = next(name for name, kind in KINDS.items() if kind == destination.kind)
    shape: dict[str, Any] = {
        "Name": destination.name,
        "Enabled": destination.is_enabled,
        "MatchingEventTypes": sorted(_SPELLINGS.get(one, one) for one in destination.event_types),
    }
    return {**shape, member: destination.target} if member in API_KINDS else shape


def name_mistake(name: Any, what: str) -> str:
    """Why it cannot be the name of a configuration set or an event destination; "" when it can."""
    if not isinstance(name, str) or not name:
        return f"The {what} name must be specified."
    if len(name) > MAX_NAME_CHARACTERS:
        return f"{what.capitalize()} name cannot exceed {MAX_NAME_CHARACTERS} characters."
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        shown = name if name.isprintable() else repr(name)
        return f"Invalid {what} name <{shown}>: only alphanumeric ASCII characters, '_', and '-' are allowed."
    return ""


def is_set_name(name: str) -> bool:
    """Whether it can be a configuration set's; such a name is safe in a Redis key."""
    return not name_mistake(name, "configuration set")


def _mistakes(shape: Mapping[str, Any], *, is_of_file: bool) -> Iterator[Mistake]:
    if wrong := name_mistake(shape.get("Name"), "event destination"):
        yield Mistake("parameter", wrong)
    if not isinstance(shape.get("Enabled", False), bool):
        yield Mistake("parameter", "Enabled must be true or false.")
    yield from _event_type_mistakes(shape.get("MatchingEventTypes"), is_of_file=is_of_file)
    for name in shape:
        if name not in KINDS and name not in _PLAIN_MEMBERS:
            yield Mistake("parameter", f"EventDestination has no member {name}{_closest(name)}")
    members = _members_of_kinds(shape)
    if not members:
        yield Mistake("parameter", _NO_KIND[is_of_file])
    elif len(members) > 1:
        yield Mistake("parameter", _TWO_KINDS[is_of_file])
    for member in members[:1]:
        yield from target_mistakes(KINDS[member], member, shape[member], is_of_file=is_of_file)


_NO_KIND: Final[Mapping[bool, str]] = {
    False: "Event destination is not provided.",
    True: f"no destination; one of: {', '.join(KINDS)}",
}
_TWO_KINDS: Final[Mapping[bool, str]] = {
    False: "Please provide only one destination with each request. Either a Firehose Destination or a Cloudwatch "
    "Destination or an SNS Destination or an EventBridge Destination.",
    True: "several destinations in one entry; write an entry for each",
}


def _members_of_kinds(shape: Mapping[str, Any]) -> list[str]:
    return [name for name in KINDS if shape.get(name) is not None]


def _event_type_mistakes(types: Any, *, is_of_file: bool) -> Iterator[Mistake]:
    if not isinstance(types, list) or not types:
        yield Mistake("parameter", "At least one event type must be specified.")
        return
    for one in types:
        if not _event_type(one, is_of_file=is_of_file):
            allowed = [*MATCHING_EVENT_TYPES, *(sorted(OUR_EVENT_TYPES) if is_of_file else ())]
            shown = str(one)[:SHOWN_CHARACTERS]
            yield Mistake("parameter", f"Invalid event type <{shown}>: allowed are {', '.join(allowed)}.")


def _event_type(spelling: Any, *, is_of_file: bool) -> str:
    """The eventType that is meant; "" = none."""
    if not isinstance(spelling, str):
        return ""
    if is_of_file and spelling in OUR_EVENT_TYPES:
        return spelling
    return MATCHING_EVENT_TYPES.get(spelling) or _V2_EVENT_TYPES.get(spelling, "")


def _closest(name: str) -> str:
    found = difflib.get_close_matches(name, [*_PLAIN_MEMBERS, *KINDS], n=1)
    return f"; did you mean {found[0]}?" if found else f"; allowed: {', '.join([*_PLAIN_MEMBERS, *KINDS])}"
