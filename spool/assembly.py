"""Builds the spool of a process from the settings; called once at the edge of each process."""

from collections.abc import Mapping
from pathlib import Path

from redis import asyncio as aioredis

from config.redis_clients import redis_client
from config.settings import Settings
from spool.content import ContentStore, FolderContents
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
    )


def limits_of(settings: Settings) -> Mapping[str, RouteLimits]:
    """Every route's limits and lanes, as takes, gates and views pass them."""
    lanes = tuple(settings.lanes.shares.items())
    return {
        name: RouteLimits(name, route.max_send_rate, route.max_24_hour_send, lanes)
        for name, route in settings.routes_by_name.items()
    }


def open_contents(settings: Settings) -> ContentStore:
    """Where large contents go: a folder, or a bucket when the setting says s3://."""
    place = settings.spool.content_store
    if not place.startswith("s3://"):
        return FolderContents(Path(place) if place else settings.data.dir / "content")
    from config.aws_clients import aws_session, s3_opener  # noqa: PLC0415 - 25 MB that only this setting needs
    from spool.bucket_contents import BucketContents  # noqa: PLC0415 - likewise

    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    return BucketContents(bucket, prefix, s3_opener(aws_session(settings.relay.region)))
