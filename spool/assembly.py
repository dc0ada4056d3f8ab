"""Builds the spool of a process from the settings; called once at the edge of each process."""

from collections.abc import Mapping
from pathlib import Path

from redis import asyncio as aioredis

from config.redis_clients import redis_client
from config.settings import Settings
from spool.content import ContentStore, FolderContents
from spool.message_flow import MessageFlow
from spool.sending_quota import RouteLimits
from spool.store import Spool


def open_spool(settings: Settings, *, redis: aioredis.Redis | None = None) -> Spool:
    """The spool; end it with `close()`, which ends its `redis` as well."""
    return Spool(
        redis or redis_client(settings.redis_url),
        open_contents(settings),
        inline_content_bytes=settings.spool.inline_content_bytes,
        keep_finished_seconds=settings.spool.keep_finished_seconds,
        lease_seconds=settings.worker.lease_seconds,
        keep_headers_seconds=settings.events.headers_seconds,
    )


def limits_of(settings: Settings) -> Mapping[str, RouteLimits]:
    """Every route's limits and lanes, as takes, gates and views pass them."""
    lanes = tuple(settings.lanes.shares.items())
    return {
        name: RouteLimits(name, route.max_send_rate, route.max_24_hour_send, lanes)
        for name, route in settings.routes_by_name.items()
    }


def open_message_flow(settings: Settings, spool: Spool) -> MessageFlow:
    """What functions read and put, beside the contents of this spool; end it with `close()`, before the spool."""
    return MessageFlow(spool, open_contents(settings, inside="flow"), settings.message_flow.access_seconds)


def open_contents(settings: Settings, *, inside: str = "") -> ContentStore:
    """Where large contents go: a folder, or a bucket when the setting says s3://; or a folder or prefix inside it."""
    place = settings.spool.content_store
    if not place.startswith("s3://"):
        return FolderContents((Path(place) if place else settings.data.dir / "content") / inside)
    from config.aws_clients import aws_session, s3_opener  # noqa: PLC0415 - 25 MB that only this setting needs
    from spool.bucket_contents import BucketContents  # noqa: PLC0415 - likewise

    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    return BucketContents(bucket, f"{prefix.strip('/')}/{inside}", s3_opener(aws_session(settings.relay.region)))
