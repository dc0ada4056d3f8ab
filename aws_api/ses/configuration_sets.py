"""The seven operations on configuration sets of SES's v1 API; the sets themselves are kept by sending_events.

Errors have SES's codes, members and, where they are known, its words; the other words are ours. What is wrong with the
parameters is told first, then what is wrong with the set or the destination that they name, then what SNS says about a
topic. A key that is limited to some senders may look at sets and change none. Sets of mailsluice.toml are shown and
listed like all others and cannot be changed.
"""

import base64
import binascii
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn

from aws_api.ses.topic_check import topic_trouble
from aws_api.tools import TOOLS
from aws_api.wire.failures import OperationRefused
from aws_api.wire.services import Call, Offer
from sending_events.configuration_sets.records import ConfigurationSet, EventDestination
from sending_events.configuration_sets.shapes import WrongDestination, described, is_set_name, name_mistake
from sending_events.configuration_sets.shapes import read_destination as read
from sending_events.configuration_sets.store import ConfigurationSets, SetRefused, WhyNot
from sending_events.configuration_sets.targets import About

#: Sets of one page, and as many when the caller does not say.
MAX_ITEMS: Final = 1000

#: Why not → code and words. <…> stands in SES's own words.
_REFUSALS: Final[Mapping[WhyNot, tuple[str, str]]] = {
    "no_set": ("ConfigurationSetDoesNotExist", "Configuration set <{set}> does not exist."),
    "set_exists": ("ConfigurationSetAlreadyExists", "Configuration set <{set}> already exists."),
    "too_many_sets": ("LimitExceeded", "{reason}"),
    "no_destination": ("EventDestinationDoesNotExist", "No EventDestination found for {set}"),
    "destination_exists": (
        "EventDestinationAlreadyExists",
        "An event destination with name <{destination}> already exists for configuration set <{set}>.",
    ),
    "too_many_destinations": ("LimitExceeded", "{reason}"),
    "of_file": ("InvalidConfigurationSet", "Configuration set <{set}>: {reason}"),
}
#: What is wrong with a destination → code.
_CODES: Final[Mapping[About, str]] = {
    "parameter": "InvalidParameterValue",
    "limit": "LimitExceeded",
    "cloudwatch": "InvalidCloudWatchDestination",
    "firehose": "InvalidFirehoseDestination",
    "sns": "InvalidSNSDestination",
    "ours": "InvalidParameterValue",  # the kinds that the API does not have
}
_SET: Final = ("ConfigurationSetName",)
_BOTH: Final = ("ConfigurationSetName", "EventDestinationName")
#: Code → what its error has beside the message.
_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "ConfigurationSetDoesNotExist": _SET,
    "ConfigurationSetAlreadyExists": _SET,
    "EventDestinationDoesNotExist": _BOTH,
    "EventDestinationAlreadyExists": _BOTH,
    "InvalidCloudWatchDestination": _BOTH,
    "InvalidFirehoseDestination": _BOTH,
    "InvalidSNSDestination": _BOTH,
    "InvalidConfigurationSet": (),
    "InvalidParameterValue": (),
    "LimitExceeded": (),
}


async def create_set(call: Call) -> Mapping[str, Any]:
    """CreateConfigurationSet."""
    name = call.parameters["ConfigurationSet"]["Name"]
    if wrong := name_mistake(name, "configuration set"):
        _refuse("InvalidConfigurationSet", wrong)
    async with _in_words(name):
        await _sets(call).create(name)
    return {}


async def delete_set(call: Call) -> Mapping[str, Any]:
    """DeleteConfigurationSet, with its destinations."""
    name = call.parameters["ConfigurationSetName"]
    async with _in_words(name):
        await _sets(call).delete(name)
    return {}


async def describe_set(call: Call) -> Mapping[str, Any]:
    """DescribeConfigurationSet: the name, and what was asked for."""
    found = await _found(call)
    asked = call.parameters.get("ConfigurationSetAttributeNames") or ()
    shown: Mapping[str, Mapping[str, Any]] = {
        "eventDestinations": {"EventDestinations": [described(one) for one in found.destinations]},
        "reputationOptions": {"ReputationOptions": {"SendingEnabled": True, "ReputationMetricsEnabled": False}},
        # There are none, and SES leaves them out of the answer as well.
        "trackingOptions": {},
        "deliveryOptions": {},
    }
    answer: dict[str, Any] = {"ConfigurationSet": {"Name": found.name}}
    for attribute in asked:
        if attribute not in shown:
            _refuse("InvalidParameterValue", f"Invalid attribute name <{attribute}>: allowed are {', '.join(shown)}.")
        answer |= shown[attribute]
    return answer


async def list_sets(call: Call) -> Mapping[str, Any]:
    """ListConfigurationSets: one page, in the order of the names."""
    most = call.parameters.get("MaxItems", MAX_ITEMS)
    if not 1 <= most <= MAX_ITEMS:
        _refuse("InvalidParameterValue", f"Invalid MaxItems <{most}>: it must be from 1 to {MAX_ITEMS}.")
    token = call.parameters.get("NextToken")
    names = await _sets(call).names(_name_of(token) if token else "", most + 1)
    answer: dict[str, Any] = {"ConfigurationSets": [{"Name": name} for name in names[:most]]}
    return {**answer, "NextToken": _token_of(names[most - 1])} if len(names) > most else answer


async def create_destination(call: Call) -> Mapping[str, Any]:
    """CreateConfigurationSetEventDestination."""
    return await _put(call, is_new=True)


async def update_destination(call: Call) -> Mapping[str, Any]:
    """UpdateConfigurationSetEventDestination: replaces the whole destination."""
    return await _put(call, is_new=False)


async def delete_destination(call: Call) -> Mapping[str, Any]:
    """DeleteConfigurationSetEventDestination."""
    set_name, name = call.parameters["ConfigurationSetName"], call.parameters["EventDestinationName"]
    async with _in_words(set_name, name):
        await _sets(call).delete_destination(set_name, name)
    return {}


#: Clients may ask for event types that v1's list does not have: deliveryDelay, and the spelling of v2.
_MORE_EVENT_TYPES: Final = frozenset({"EventType"})

CONFIGURATION_SET_OFFERS: Final[Mapping[str, Offer]] = {
    "CreateConfigurationSet": Offer(create_set, is_about_all=True),
    "DeleteConfigurationSet": Offer(delete_set, is_about_all=True),
    "DescribeConfigurationSet": Offer(describe_set),
    "ListConfigurationSets": Offer(list_sets),
    "CreateConfigurationSetEventDestination": Offer(
        create_destination, lenient_shapes=_MORE_EVENT_TYPES, is_about_all=True
    ),
    "UpdateConfigurationSetEventDestination": Offer(
        update_destination, lenient_shapes=_MORE_EVENT_TYPES, is_about_all=True
    ),
    "DeleteConfigurationSetEventDestination": Offer(delete_destination, is_about_all=True),
}


def _sets(call: Call) -> ConfigurationSets:
    return call.request.app[TOOLS].configuration_sets


async def _found(call: Call) -> ConfigurationSet:
    name = call.parameters["ConfigurationSetName"]
    async with _in_words(name):
        found = await _sets(call).get(name)
        if found is None:
            raise SetRefused("no_set")
    return found


def _read(call: Call) -> EventDestination:
    shape = call.parameters["EventDestination"]
    try:
        return read(shape)
    except WrongDestination as error:
        first = error.mistakes[0]
        _refuse(_CODES[first.about], first.text, call.parameters["ConfigurationSetName"], str(shape.get("Name", "")))


async def _put(call: Call, *, is_new: bool) -> Mapping[str, Any]:
    """A topic is asked before anything is written, unless the destination had it before."""
    destination = _read(call)
    found = await _found(call)
    old = next((one for one in found.destinations if one.name == destination.name), None)
    async with _in_words(found.name, destination.name):
        if found.is_of_file:
            raise SetRefused("of_file")
        if (old is None) != is_new:
            raise SetRefused("destination_exists" if is_new else "no_destination")
        if destination.kind == "sns" and (old is None or old.target != destination.target):
            await _ask_topic(destination, found.name)
        await _sets(call).put_destination(found.name, destination, is_new=is_new)
    return {}


async def _ask_topic(destination: EventDestination, set_name: str) -> None:
    if trouble := await topic_trouble(destination.target["TopicARN"]):
        _refuse("InvalidSNSDestination", trouble, set_name, destination.name)


@asynccontextmanager
async def _in_words(set_name: str, destination: str = "") -> AsyncIterator[None]:
    """Turns SetRefused into SES's error."""
    try:
        yield
    except SetRefused as error:
        code, words = _REFUSALS[error.why]
        text = words.format(set=set_name, destination=destination, reason=error.reason)
        _refuse(code, text, set_name, destination)


def _refuse(code: str, text: str, set_name: str = "", destination: str = "") -> NoReturn:
    known = {"ConfigurationSetName": set_name, "EventDestinationName": destination}
    raise OperationRefused(code, text, members={name: known[name] for name in _MEMBERS[code]})


def _token_of(name: str) -> str:
    """Where the next page begins; callers must not read it."""
    return base64.urlsafe_b64encode(f"1:{name}".encode()).decode()


def _name_of(token: str) -> str:
    try:
        version, _, name = base64.urlsafe_b64decode(token).decode().partition(":")
    except (binascii.Error, ValueError):
        version, name = "", ""
    if version != "1" or not is_set_name(name):
        _refuse("InvalidParameterValue", "Invalid NextToken.")
    return name
