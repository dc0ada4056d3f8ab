"""Query operations on configuration sets and their event destinations.

Sets that are made here exist beside those of the settings. A destination of a set is a topic; the other kinds are
refused by name, and a second kind as SES does. What is wrong with the parameters is told first, then what is wrong with
the set or the destination that they name, then that there is no such topic. Texts are those on record from the real
service where there are some; the members that an error has beside its text are those of the model.
"""

import re

from simulator.event_sets import EVENT_TYPES, EventDestination, EventSet
from simulator.query_calls import QueryCall, members, texts_of
from simulator.refusals import (
    INVALID,
    INVALID_SET,
    NO_SUCH_DESTINATION,
    NO_SUCH_SET,
    NO_SUCH_TOPIC,
    SAME_DESTINATION,
    SAME_SET,
    TOO_MANY,
    Refusal,
    Refused,
)

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_DESTINATIONS = 10
#: Members of EventDestination that are no kind of destination.
_PLAIN_MEMBERS = frozenset({"Name", "Enabled", "MatchingEventTypes"})
_NO_KIND = "Event destination is not provided."
_TWO_KINDS = (
    "Please provide only one destination with each request. Either a Firehose Destination or a Cloudwatch Destination "
    "or an SNS Destination or an EventBridge Destination."
)
VALIDATED = "Successfully validated SNS topic for Amazon SES event publishing."


def create_set(call: QueryCall) -> str:
    """Without destinations."""
    name, sets = call.text("ConfigurationSet.Name"), call.simulated.routes.sets
    if not _NAME.fullmatch(name):
        raise Refused(INVALID_SET, f"Invalid configuration set name <{name}>.")
    if _exists(call, name):
        raise Refused(SAME_SET, f"Configuration set <{name}> already exists.", {"ConfigurationSetName": name})
    sets[name] = EventSet(name)
    return ""


def delete_set(call: QueryCall) -> str:
    """With its destinations."""
    call.simulated.routes.carry_all()
    del call.simulated.routes.sets[_set(call).name]
    return ""


def list_sets(call: QueryCall) -> str:
    """All at once."""
    names = sorted({*call.simulated.routes.sets, *call.simulated.settings.configuration_sets})
    return members("ConfigurationSets", [texts_of({"Name": name}) for name in names])


def describe_set(call: QueryCall) -> str:
    """Its destinations only when they are asked for."""
    found = _set(call)
    told = f"<ConfigurationSet>{texts_of({'Name': found.name})}</ConfigurationSet>"
    if "eventDestinations" in call.texts("ConfigurationSetAttributeNames"):
        told += members("EventDestinations", [_described(one) for one in found.destinations.values()])
    return told


def create_destination(call: QueryCall) -> str:
    """The topic is told that it was found, as SES does."""
    asked, found = _asked(call), _set(call)
    if asked.name in found.destinations:
        text = f"An event destination with name <{asked.name}> already exists for configuration set <{found.name}>."
        raise _refused(SAME_DESTINATION, text, found, asked.name)
    if len(found.destinations) >= _MAX_DESTINATIONS:
        raise Refused(TOO_MANY, f"A configuration set has at most {_MAX_DESTINATIONS} event destinations.")
    _put(call, found, asked)
    call.simulated.routes.publish(call.simulated.routes.topics[asked.topic_arn], lambda: VALIDATED, None)
    return ""


def update_destination(call: QueryCall) -> str:
    """Replaces it."""
    asked, found = _asked(call), _set(call)
    _check_has(found, asked.name)
    _put(call, found, asked)
    return ""


def delete_destination(call: QueryCall) -> str:
    """One by name."""
    found, name = _set(call), call.text("EventDestinationName")
    _check_has(found, name)
    call.simulated.routes.carry_all()
    del found.destinations[name]
    return ""


def _asked(call: QueryCall) -> EventDestination:
    """The destination that the parameters describe. Raises Refused."""
    name, types = call.text("EventDestination.Name"), tuple(call.texts("EventDestination.MatchingEventTypes"))
    if not _NAME.fullmatch(name) or not types or any(one not in EVENT_TYPES for one in types):
        raise Refused(INVALID, "The name or the event types of the event destination are not valid.")
    # An empty list comes as a field too, so a kind is there whatever is in it.
    begins = [field.split(".")[:2] for field in call.fields]
    kinds = {begin[1] for begin in begins if begin[0] == "EventDestination" and len(begin) > 1} - _PLAIN_MEMBERS
    if len(kinds) != 1:
        raise Refused(INVALID, _TWO_KINDS if kinds else _NO_KIND)
    if kinds != {"SNSDestination"}:
        raise Refused(INVALID, f"The simulator publishes to SNS topics only and has no {kinds.pop()}.")
    topic_arn = call.text("EventDestination.SNSDestination.TopicARN")
    return EventDestination(name, call.text("EventDestination.Enabled") == "true", types, topic_arn)


def _put(call: QueryCall, found: EventSet, asked: EventDestination) -> None:
    if asked.topic_arn not in call.simulated.routes.topics:
        raise _refused(NO_SUCH_TOPIC, f"SNS topic <{asked.topic_arn}> not found.", found, asked.name)
    call.simulated.routes.carry_all()
    found.destinations[asked.name] = asked


def _check_has(found: EventSet, name: str) -> None:
    if name not in found.destinations:
        raise _refused(NO_SUCH_DESTINATION, f"No EventDestination found for {found.name}", found, name)


def _refused(refusal: Refusal, text: str, found: EventSet, destination: str) -> Refused:
    return Refused(refusal, text, {"ConfigurationSetName": found.name, "EventDestinationName": destination})


def _described(one: EventDestination) -> str:
    return (
        texts_of({"Name": one.name, "Enabled": "true" if one.is_enabled else "false"})
        + members("MatchingEventTypes", one.types)
        + f"<SNSDestination>{texts_of({'TopicARN': one.topic_arn})}</SNSDestination>"
    )


def _exists(call: QueryCall, name: str) -> bool:
    return name in call.simulated.routes.sets or name in call.simulated.settings.configuration_sets


def _set(call: QueryCall) -> EventSet:
    """One that was made here, or a set of the settings, which has no destinations until one is made."""
    name = call.text("ConfigurationSetName")
    if not _exists(call, name):
        raise Refused(NO_SUCH_SET, f"Configuration set <{name}> does not exist.", {"ConfigurationSetName": name})
    return call.simulated.routes.sets.setdefault(name, EventSet(name))
