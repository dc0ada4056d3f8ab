"""A configuration set and its event destinations as values; the shapes of SES's API in our words. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

#: Which service or place an event destination is. The first three are SES's own by the v1 API.
Kind = Literal["cloudwatch", "firehose", "sns", "eventbridge", "webhook", "redis_stream", "file", "log"]

#: Member of EventDestination → kind. The last four are ours and can be written in mailsluice.toml only; so can
#: EventBridgeDestination, which SES's v1 API does not have.
KINDS: Mapping[str, Kind] = {
    "CloudWatchDestination": "cloudwatch",
    "KinesisFirehoseDestination": "firehose",
    "SNSDestination": "sns",
    "EventBridgeDestination": "eventbridge",
    "WebhookDestination": "webhook",
    "RedisStreamDestination": "redis_stream",
    "FileDestination": "file",
    "LogDestination": "log",
}

#: MatchingEventTypes, v1's spelling → eventType of the records. v2's (RENDERING_FAILURE) are read as well.
MATCHING_EVENT_TYPES: Mapping[str, str] = {
    "send": "Send",
    "reject": "Reject",
    "bounce": "Bounce",
    "complaint": "Complaint",
    "delivery": "Delivery",
    "open": "Open",
    "click": "Click",
    "renderingFailure": "Rendering Failure",
    "deliveryDelay": "DeliveryDelay",
    "subscription": "Subscription",
}


@dataclass(frozen=True, slots=True)
class EventDestination:
    """Where events of a configuration set are told."""

    name: str
    is_enabled: bool
    #: eventTypes of records: those of MATCHING_EVENT_TYPES, or ours (sluice:Accepted …).
    event_types: frozenset[str]
    kind: Kind
    #: The member of the API's EventDestination as it is there: {"TopicARN": …}, {"DimensionConfigurations": [...]} …
    target: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConfigurationSet:
    """One set."""

    name: str
    destinations: tuple[EventDestination, ...] = ()
    #: Written in mailsluice.toml: the API shows it and does not change it.
    is_of_file: bool = False


def cursor_name(configuration_set: str, destination: str) -> str:
    """What a destination of a set is called where cursors, figures and dead letters are kept."""
    return f"{configuration_set}:{destination}"


def is_of_a_set(name: str) -> bool:
    """Whether a name is such a one; those of the settings' own destinations (file, log) have no colon."""
    return ":" in name
