"""Query operations on the account beside its sends: identities, who is asking, and configuration sets.

Sets that are made here exist beside those of the settings. A destination of a set is a topic; the other kinds are
refused by name. Texts are those on record from the real service where there are some.
"""

import re
from collections.abc import Callable, Mapping

from simulator import sns
from simulator.caller import ACCOUNT_ID
from simulator.event_sets import EVENT_TYPES, EventDestination, EventSet
from simulator.identities import is_verified
from simulator.query_calls import QueryCall, members, texts_of
from simulator.query_wire import escaped
from simulator.refusals import (
    INVALID,
    NO_SUCH_DESTINATION,
    NO_SUCH_SET,
    NO_SUCH_TOPIC,
    SAME_DESTINATION,
    SAME_SET,
    Refused,
)

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_DESTINATIONS = 10
VALIDATED = "Successfully validated SNS topic for Amazon SES event publishing."


def list_identities(call: QueryCall) -> str:
    """Those of the settings; a domain has no @."""
    kind = call.text("IdentityType")
    wanted = [
        one
        for one in call.simulated.settings.verified_identities
        if not kind or ("@" in one) == (kind == "EmailAddress")
    ]
    return members("Identities", map(escaped, wanted))


def get_identity_verification_attributes(call: QueryCall) -> str:
    """Outside the sandbox and without identities in the settings everybody is verified."""
    settings = call.simulated.settings
    known = frozenset(one.lower() for one in settings.verified_identities)
    is_anybody = not (settings.sandbox or known)
    good = [one for one in call.texts("Identities") if is_anybody or one.lower() in known or is_verified(one, known)]
    told = "".join(
        f"<entry>{texts_of({'key': one})}<value><VerificationStatus>Success</VerificationStatus></value></entry>"
        for one in good
    )
    return f"<VerificationAttributes>{told}</VerificationAttributes>"


def get_caller_identity(_call: QueryCall) -> str:
    """The one account."""
    arn = f"arn:aws:iam::{ACCOUNT_ID}:user/simulated"
    return texts_of({"Arn": arn, "UserId": "AIDAISIMULATED", "Account": ACCOUNT_ID})


def create_set(call: QueryCall) -> str:
    """Without destinations."""
    name, sets = call.text("ConfigurationSet.Name"), call.simulated.routes.sets
    if not _NAME.fullmatch(name):
        raise Refused(INVALID, f"Invalid configuration set name <{name}>.")
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
    found, name = _set(call), call.text("EventDestination.Name")
    if name in found.destinations:
        raise Refused(SAME_DESTINATION, f"An event destination with the name <{name}> already exists.")
    if len(found.destinations) >= _MAX_DESTINATIONS:
        raise Refused(INVALID, f"A configuration set has at most {_MAX_DESTINATIONS} event destinations.")
    _put(call, found)
    topic = call.simulated.routes.topics[found.destinations[name].topic_arn]
    call.simulated.routes.publish(topic, lambda: VALIDATED, None)
    return ""


def update_destination(call: QueryCall) -> str:
    """Replaces it."""
    found = _set(call)
    _check_has(found, call.text("EventDestination.Name"))
    _put(call, found)
    return ""


def delete_destination(call: QueryCall) -> str:
    """One by name."""
    found, name = _set(call), call.text("EventDestinationName")
    _check_has(found, name)
    call.simulated.routes.carry_all()
    del found.destinations[name]
    return ""


def _put(call: QueryCall, found: EventSet) -> None:
    name, topic_arn = call.text("EventDestination.Name"), call.text("EventDestination.SNSDestination.TopicARN")
    types = tuple(call.texts("EventDestination.MatchingEventTypes"))
    if not _NAME.fullmatch(name) or not types or any(one not in EVENT_TYPES for one in types):
        raise Refused(INVALID, "The name or the event types of the event destination are not valid.")
    if not topic_arn:
        raise Refused(INVALID, "The simulator publishes to SNS topics only: SNSDestination is missing.")
    if topic_arn not in call.simulated.routes.topics:
        raise Refused(NO_SUCH_TOPIC, f"SNS topic <{topic_arn}> not found.")
    call.simulated.routes.carry_all()
    is_enabled = call.text("EventDestination.Enabled") == "true"
    found.destinations[name] = EventDestination(name, is_enabled, types, topic_arn)


def _check_has(found: EventSet, name: str) -> None:
    if name not in found.destinations:
        raise Refused(NO_SUCH_DESTINATION, f"No EventDestination found for {found.name}")


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


SES, STS = "http://ses.amazonaws.com/doc/2010-12-01/", "https://sts.amazonaws.com/doc/2011-06-15/"
#: action: (namespace of the answer, what makes the result)
ACTIONS: Mapping[str, tuple[str, Callable[[QueryCall], str]]] = {
    "ListIdentities": (SES, list_identities),
    "GetIdentityVerificationAttributes": (SES, get_identity_verification_attributes),
    "CreateConfigurationSet": (SES, create_set),
    "DeleteConfigurationSet": (SES, delete_set),
    "ListConfigurationSets": (SES, list_sets),
    "DescribeConfigurationSet": (SES, describe_set),
    "CreateConfigurationSetEventDestination": (SES, create_destination),
    "UpdateConfigurationSetEventDestination": (SES, update_destination),
    "DeleteConfigurationSetEventDestination": (SES, delete_destination),
    "GetCallerIdentity": (STS, get_caller_identity),
    "CreateTopic": (sns.NAMESPACE, sns.create_topic),
    "DeleteTopic": (sns.NAMESPACE, sns.delete_topic),
    "ListTopics": (sns.NAMESPACE, sns.list_topics),
    "GetTopicAttributes": (sns.NAMESPACE, sns.get_topic_attributes),
    "SetTopicAttributes": (sns.NAMESPACE, sns.set_topic_attributes),
    "Subscribe": (sns.NAMESPACE, sns.subscribe),
    "Unsubscribe": (sns.NAMESPACE, sns.unsubscribe),
    "ListSubscriptionsByTopic": (sns.NAMESPACE, sns.list_subscriptions_by_topic),
    "GetSubscriptionAttributes": (sns.NAMESPACE, sns.get_subscription_attributes),
    "SetSubscriptionAttributes": (sns.NAMESPACE, sns.set_subscription_attributes),
    "Publish": (sns.NAMESPACE, sns.publish),
    "PublishBatch": (sns.NAMESPACE, sns.publish_batch),
}
