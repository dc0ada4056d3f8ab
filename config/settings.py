"""Every setting of the program: its type, unit, default and one sentence.

A setting `[smtp] max_message_bytes` of `mailsluice.toml` is `SLUICE_SMTP_MAX_MESSAGE_BYTES` in the environment;
the environment wins. The list is sections.py, relay_settings.py, rule_settings.py and event_settings.py, what a value
may be setting_kinds.py; here they are put together and checked against each other. Reading them is in
settings_source.py.
"""

import os
import re
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from config.event_settings import EventsSettings, FeedbackSettings, ReputationSettings, SuppressionSettings
from config.relay_settings import LanesSettings, RelaySettings, RouteSettings
from config.rule_settings import FunctionsSettings, MessageFlowSettings, RulesSettings
from config.sections import (
    MIB,
    SES_MAX_RAW_BYTES,
    ApiSettings,
    BrokerSettings,
    DataSettings,
    FlowerSettings,
    LogSettings,
    RedisSettings,
    SimulatorSettings,
    SmtpSettings,
    SpoolSettings,
    WorkerSettings,
)
from config.setting_kinds import NAME_PATTERN, Section

__all__ = [
    "MIB",
    "NAME_PATTERN",
    "SES_MAX_RAW_BYTES",
    "ApiSettings",
    "BrokerSettings",
    "DataSettings",
    "EventsSettings",
    "FeedbackSettings",
    "FlowerSettings",
    "FunctionsSettings",
    "LanesSettings",
    "LogSettings",
    "MessageFlowSettings",
    "RedisSettings",
    "RelaySettings",
    "ReputationSettings",
    "RouteSettings",
    "RulesSettings",
    "Section",
    "Settings",
    "SimulatorSettings",
    "SmtpSettings",
    "SpoolSettings",
    "SuppressionSettings",
    "WorkerSettings",
]

# Commands of a connection that are no RCPT of its largest message: greeting, TLS, login, refused recipients.
_OTHER_COMMANDS = 100


class Settings(Section):
    """All settings, checked together."""

    data: DataSettings = DataSettings()
    smtp: SmtpSettings = Field(default_factory=SmtpSettings)
    api: ApiSettings = ApiSettings()
    simulator: SimulatorSettings = SimulatorSettings()
    flower: FlowerSettings = FlowerSettings()
    redis: RedisSettings = RedisSettings()
    broker: BrokerSettings = BrokerSettings()
    spool: SpoolSettings = SpoolSettings()
    worker: WorkerSettings = WorkerSettings()
    relay: RelaySettings = RelaySettings()
    lanes: LanesSettings = LanesSettings()
    rules: RulesSettings = RulesSettings()
    functions: FunctionsSettings = FunctionsSettings()
    message_flow: MessageFlowSettings = MessageFlowSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    suppression: SuppressionSettings = SuppressionSettings()
    reputation: ReputationSettings = ReputationSettings()
    events: EventsSettings = EventsSettings()
    log: LogSettings = LogSettings()
    #: [routes.<name>], in the file only; empty = one route named default, made of [relay].
    routes: Mapping[str, RouteSettings] = Field({}, max_length=20)
    #: [configuration_sets.<name>], in the file only, in the shapes of SES's API: EventDestinations = a list of
    #: EventDestination. sending_events/configuration_sets/ reads and checks them.
    configuration_sets: Mapping[str, Mapping[str, Any]] = Field({}, repr=False)  # secrets of webhooks

    @model_validator(mode="after")
    def _belongs_together(self) -> "Settings":
        """Tells all contradictions between settings at once, one a line."""
        if lines := list(self._contradictions()):
            raise ValueError("\n".join(lines))
        return self

    def _contradictions(self) -> Iterator[str]:
        for name in self.routes:
            if not re.fullmatch(NAME_PATTERN, name):
                yield f"[routes.{name}] is no name of a route; allowed: {NAME_PATTERN}"
        if self.relay.fence == "redirect" and not self.relay.fence_redirect_to:
            yield "[relay] fence = redirect needs fence_redirect_to"
        if self.smtp.max_commands < self.smtp.max_recipients + _OTHER_COMMANDS:
            yield (
                f"[smtp] max_commands = {self.smtp.max_commands} is too few for one message to max_recipients = "
                f"{self.smtp.max_recipients}; allowed: {self.smtp.max_recipients + _OTHER_COMMANDS} and more"
            )
        if (self.smtp.tls_certificate_file is None) != (self.smtp.tls_key_file is None):
            yield "[smtp] tls_certificate_file and tls_key_file must be given together"
        elif self.smtp.tls_port and self.smtp.tls_certificate_file is None:
            yield "[smtp] tls_port needs tls_certificate_file and tls_key_file"

    @property
    def routes_by_name(self) -> Mapping[str, RouteSettings]:
        """Every route with what it takes over from [relay]."""
        relay = self.relay
        return {
            name: route.model_copy(
                update={
                    "region": route.region or relay.region,
                    "ses_configuration_set": route.ses_configuration_set or relay.ses_configuration_set,
                    "max_send_rate": route.max_send_rate or relay.max_send_rate,
                    "max_24_hour_send": route.max_24_hour_send
                    if route.max_24_hour_send >= 0
                    else relay.max_24_hour_send,
                }
            )
            for name, route in (self.routes or {"default": RouteSettings()}).items()
        }

    @property
    def unknown_policy(self) -> Literal["resend", "hold", "confirm"]:
        """[relay] unknown with auto decided."""
        if self.relay.unknown != "auto":
            return self.relay.unknown
        return "confirm" if self.feedback.is_configured else "resend"

    @property
    def users_file(self) -> Path:
        """Where SMTP users are kept."""
        return self.smtp.users_file or self.data.dir / "smtp-users.json"

    @property
    def access_keys_file(self) -> Path:
        """Where the access keys of the AWS API are kept."""
        return self.api.access_keys_file or self.data.dir / "access-keys.json"

    @property
    def events_file(self) -> Path:
        """Where the file destination writes."""
        return self.events.file or self.data.dir / "events.ndjson"

    @property
    def embedded_socket(self) -> Path:
        """Unix socket of the embedded server; a unix socket's path is limited to 107 bytes by the kernel."""
        path = (self.data.dir / "redis.sock").absolute()
        if len(os.fsencode(path)) < 100:
            return path
        name = f"mailsluice-{os.getuid()}-{zlib.crc32(os.fsencode(path)):x}.sock"
        return Path(tempfile.gettempdir()) / name

    @property
    def redis_url(self) -> str:
        """URL of the spool's server."""
        return self.redis.url or f"unix://{self.embedded_socket}"

    @property
    def broker_url(self) -> str:
        """URL of the server with Celery's queues."""
        return self.broker.url or self.redis_url
