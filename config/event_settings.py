"""The settings of what is told outside and of what SES tells us. settings.py puts them together with the others."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from config.sections import MIB
from config.setting_kinds import ConfigurationSet, HttpUrl, Names, Seconds, Section


class EventsSettings(Section):
    """What is told outside. Destinations of configuration sets: [configuration_sets.<name>]."""

    destinations: Names = Field(("file",), description="Kinds that get every event: file, log.")
    file: Path | None = Field(None, description="NDJSON file; default: events.ndjson in the data dir.")
    default_configuration_set: ConfigurationSet = Field(
        "", description="Configuration set of messages that name none; its destinations get their events."
    )
    max_backlog: int = Field(1_000_000, ge=1000, description="Events kept for a destination that does not take them.")
    max_backlog_bytes: int = Field(
        512 * MIB,
        ge=1 * MIB,
        description="Memory of all events that are kept; never more than a quarter of the server's.",
    )
    max_age_seconds: Seconds = Field(
        3 * 86400, description="Age at which an event that a destination does not take becomes a dead letter."
    )
    replay_seconds: Seconds = Field(86400, description="How long events that were taken are kept for a replay.")
    replay_events: int = Field(100_000, ge=0, description="Most events that were taken and are kept for a replay.")
    headers_seconds: float = Field(
        900, ge=0, le=30 * 86400, description="How long the headers of a finished message are kept for its events."
    )
    allowed_targets: Names = Field(
        (), description="Hosts and networks beside the public ones that webhooks may reach: name, address or network."
    )

    @model_validator(mode="after")
    def _known_destinations(self) -> "EventsSettings":
        if unknown := set(self.destinations) - {"file", "log"}:
            raise ValueError(f"unknown destination {', '.join(sorted(unknown))}; allowed: file, log")
        return self


class FeedbackSettings(Section):
    """Where SES's events come from."""

    queue_url: HttpUrl = Field("", description="URL of the SQS queue that SES's events come to, through SNS.")
    topics: Names = Field(
        (), description="ARNs of the SNS topics whose notifications POST /feedback/sns takes; empty = none."
    )
    simulator_url: HttpUrl = Field("", description="URL of a simulator whose feed of events is read.")
    keep_unknown_seconds: Seconds = Field(
        600, description="How long an event about a send that is not known yet is tried again."
    )
    bounce_mail: bool = Field(
        False, description="Whether senders get a mail about later bounces, and those of the API about suppressed ones."
    )

    @property
    def is_configured(self) -> bool:
        """Whether SES's own events reach us."""
        return bool(self.queue_url or self.topics or self.simulator_url)


class SuppressionSettings(Section):
    """Addresses that are not mailed any more."""

    mode: Literal["refuse", "report", "off"] = Field(
        "refuse",
        description="refuse = 550 at RCPT; report = taken and told as a bounce, as SES does; off = sent all the same.",
    )
    reasons: Names = Field(("bounce", "complaint"), description="What enters an address by itself: bounce, complaint.")
    keep_seconds: float = Field(0, ge=0, description="How long an address stays on the list; 0 = until it is removed.")
    sync: Literal["off", "pull", "both"] = Field(
        "off", description="The account's own list: pull = read into ours; both = ours is written there as well."
    )
    sync_seconds: float = Field(300, ge=5, le=86400, description="Distance of two looks at the account's list.")

    @model_validator(mode="after")
    def _known_reasons(self) -> "SuppressionSettings":
        if unknown := set(self.reasons) - {"bounce", "complaint"}:
            raise ValueError(f"unknown reason {', '.join(sorted(unknown))}; allowed: bounce, complaint")
        return self


class ReputationSettings(Section):
    """Bounces and complaints of one sender, in percent of what was delivered or bounced."""

    action: Literal["pause", "warn", "off"] = Field(
        "pause", description="What the limits do: pause the sender, or warn."
    )
    window_seconds: Seconds = Field(86400, description="How far back is counted.")
    min_recipients: int = Field(500, ge=1, description="Recipients in the window below which no rate says anything.")
    min_bounces: int = Field(10, ge=1, description="Bounces in the window below which nothing follows.")
    min_complaints: int = Field(3, ge=1, description="Complaints in the window below which nothing follows.")
    bounce_warn_percent: float = Field(2.0, ge=0, le=100, description="Rate of bounces that is warned of.")
    bounce_pause_percent: float = Field(5.0, ge=0, le=100, description="Rate of bounces at which the sender is paused.")
    complaint_warn_percent: float = Field(0.05, ge=0, le=100, description="Rate of complaints that is warned of.")
    complaint_pause_percent: float = Field(
        0.1, ge=0, le=100, description="Rate of complaints at which the sender is paused."
    )
    pause_seconds: float = Field(0, ge=0, description="How long such a pause lasts; 0 = until it is resumed.")
