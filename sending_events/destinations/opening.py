"""Makes the destination of a configuration set: kind → how, one row each.

Making one opens nothing and never fails: what is set up wrongly shows when events are offered, as TryLater, and then
holds up this destination alone. Connections are shared and belong to the context.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from redis import asyncio as aioredis

from config.errors import TryLater
from config.settings import Settings
from sending_events.configuration_sets.records import EventDestination, Kind
from sending_events.destinations.aws_targets import AwsTargets
from sending_events.destinations.cloud_watch import CloudWatchDestination
from sending_events.destinations.destination import Destination
from sending_events.destinations.event_bridge import EventBridgeDestination
from sending_events.destinations.file import FileDestination
from sending_events.destinations.firehose import FirehoseDestination
from sending_events.destinations.log import LogDestination
from sending_events.destinations.outbound_http import AllowedTargets, OutboundHttp
from sending_events.destinations.redis_stream import RedisClients, RedisStreamDestination
from sending_events.destinations.signature import Secrets
from sending_events.destinations.sns import SnsDestination
from sending_events.destinations.webhook import WebhookDestination


@dataclass(frozen=True, slots=True)
class DestinationContext:
    """What destinations of one process share. `await close()` it on the event loop that used it."""

    #: Relative paths of targets begin here.
    data_dir: Path
    #: The spool's server.
    redis: aioredis.Redis
    aws: AwsTargets
    http: OutboundHttp
    other_redis: RedisClients
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    async def close(self) -> None:
        """Closes everything but the spool's client."""
        await self.aws.close()
        await self.http.close()
        await self.other_redis.close()


def make_context(settings: Settings, redis: aioredis.Redis) -> DestinationContext:
    """Opens nothing. Raises Refused for allowed_targets that cannot be read."""
    allowed = AllowedTargets.of(settings.events.allowed_targets)
    return DestinationContext(settings.data.dir, redis, AwsTargets(), OutboundHttp(allowed), RedisClients())


def open_target(set_name: str, destination: EventDestination, context: DestinationContext) -> Destination:
    """The destination, ready to take events; opens nothing and asks nobody."""
    name = f"{set_name}:{destination.name}"
    try:
        return OPENERS[destination.kind](name, destination, context)
    except Exception as error:  # noqa: BLE001 - whatever another version or a hand stored, it is the trouble of this one
        return _Unusable(name, type(error).__name__)


@dataclass(frozen=True, slots=True)
class _Unusable:
    """Stands for a destination whose target makes no sense: it keeps its events until it is put right."""

    name: str
    detail: str

    async def take(self, records: Sequence[bytes]) -> None:
        raise TryLater("the destination's target is not complete", detail=f"{self.detail}, {len(records)} records")


def _redis_of(destination: EventDestination, context: DestinationContext) -> aioredis.Redis:
    """Raises TryLater for a URL that is missing or none."""
    url = str(destination.target.get("Url", ""))
    if variable := destination.target.get("UrlEnvironment"):
        url = context.environ.get(str(variable), "")
        if not url:
            raise TryLater(f"the variable {variable} with the URL of the stream's server is not set")
    if not url:
        return context.redis
    try:
        return context.other_redis.client(url)
    except ValueError:  # its text may have the URL in it, and the URL a password
        raise TryLater("the URL of the stream's server cannot be used") from None


#: Kind → how its destination is made.
OPENERS: Mapping[Kind, Callable[[str, EventDestination, DestinationContext], Destination]] = {
    "cloudwatch": lambda name, one, context: CloudWatchDestination(name, one.target, context.aws),
    "firehose": lambda name, one, context: FirehoseDestination(name, one.target, context.aws),
    "sns": lambda name, one, context: SnsDestination(name, one.target, context.aws),
    "eventbridge": lambda name, one, context: EventBridgeDestination(name, one.target, context.aws),
    "webhook": lambda name, one, context: WebhookDestination(
        name, one.target, Secrets(one.target, context.data_dir, context.environ), context.http
    ),
    "redis_stream": lambda name, one, context: RedisStreamDestination(
        name, one.target, partial(_redis_of, one, context)
    ),
    "file": lambda name, one, context: FileDestination(context.data_dir / str(one.target["Path"]), name),
    "log": lambda name, _one, _context: LogDestination(name=name),
}
