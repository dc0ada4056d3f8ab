"""Configuration sets that were made by the API, and where each sends its events: topics only."""

from dataclasses import dataclass, field

from simulator.mailbox import Kind

#: event types that a destination may name, as the API spells them
EVENT_TYPES = (
    "send", "reject", "bounce", "complaint", "delivery", "open", "click", "renderingFailure", "deliveryDelay",
    "subscription",
)  # fmt: skip
TYPE_OF: dict[Kind, str] = {
    Kind.SEND: "send",
    Kind.DELIVERY: "delivery",
    Kind.BOUNCE: "bounce",
    Kind.SUPPRESSED: "bounce",
    Kind.ON_ACCOUNT_LIST: "bounce",
    Kind.COMPLAINT: "complaint",
}


@dataclass(frozen=True, slots=True)
class EventDestination:
    """One destination of a set."""

    name: str
    is_enabled: bool
    types: tuple[str, ...]
    topic_arn: str


@dataclass(slots=True)
class EventSet:
    """A configuration set by name, its destinations by theirs."""

    name: str
    destinations: dict[str, EventDestination] = field(default_factory=dict)

    def topics_of(self, kind: Kind) -> list[str]:
        """ARNs of the topics that an event of this kind is published to."""
        wanted = TYPE_OF[kind]
        return [one.topic_arn for one in self.destinations.values() if one.is_enabled and wanted in one.types]
