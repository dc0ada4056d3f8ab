"""What the handlers of the HTTP door work with; built once by process.py and passed on."""

from dataclasses import dataclass
from functools import partial
from typing import Self

from aiohttp import web
from redis import asyncio as aioredis

from aws_api.message_flow.fetching import Updates
from aws_api.wire.access_keys import AccessKeyFile
from config.aws_clients import open_s3_reader
from config.failpoints import Failpoints
from config.settings import Settings
from sending_events.configuration_sets.store import ConfigurationSets
from spool.commit import Committer
from spool.message_flow import MessageFlow
from spool.nudge import Nudger
from spool.safety import SafetyWatch
from spool.store import Spool
from spool.tally import Tally


@dataclass(frozen=True, slots=True)
class Tools:
    """The spool, the server with Celery's queues, the watch over the spool's server, and what AWS operations need."""

    settings: Settings
    spool: Spool
    broker: aioredis.Redis
    watch: SafetyWatch
    flow: MessageFlow
    keys: AccessKeyFile
    updates: Updates
    configuration_sets: ConfigurationSets
    committer: Committer
    nudger: Nudger
    tally: Tally

    @classmethod
    def of(
        cls, settings: Settings, spool: Spool, broker: aioredis.Redis, watch: SafetyWatch, flow: MessageFlow
    ) -> Self:
        """What follows from the settings is made here; nothing is opened before it is used."""
        updates = Updates(
            partial(open_s3_reader, settings.relay.region),
            max_bytes=settings.smtp.max_message_bytes,
            budget_bytes=settings.smtp.memory_budget_bytes,
        )
        committer = Committer(
            spool,
            watch,
            timeout_seconds=settings.api.commit_timeout_seconds,
            failpoints=Failpoints.from_environment(),
        )
        return cls(
            settings,
            spool,
            broker,
            watch,
            flow,
            keys=AccessKeyFile(settings.access_keys_file),
            updates=updates,
            configuration_sets=ConfigurationSets(spool.redis, settings),
            committer=committer,
            nudger=Nudger(broker, settings),
            tally=Tally(),
        )


TOOLS = web.AppKey("tools", Tools)
