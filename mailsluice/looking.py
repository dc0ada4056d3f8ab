"""How a command reaches the spool: connect, look or act, close, and one clear line when that fails."""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import typer
from redis import asyncio as aioredis

from config.redis_clients import redis_client
from config.settings import Settings
from mailsluice.embedded_redis import log_file
from spool.assembly import open_spool
from spool.disk_room import disk_problem
from spool.environment import check_environment
from spool.scripts import StoreUnavailable
from spool.store import Spool

EXIT_UNREACHABLE = 2

Looker = Callable[[Spool, aioredis.Redis], Awaitable[int]]


def look(settings: Settings, looker: Looker) -> int:
    """Runs `looker(spool, broker)` and returns its exit code; 2 with a line on stderr without a server."""
    return asyncio.run(_look(settings, looker))


def act(settings: Settings, actor: Looker) -> int:
    """The same for what changes something: on a spool of another environment it raises Refused before that."""

    async def guarded(spool: Spool, broker: aioredis.Redis) -> int:
        await check_environment(spool.redis, settings.spool.environment)
        return await actor(spool, broker)

    return look(settings, guarded)


async def _look(settings: Settings, looker: Looker) -> int:
    redis = redis_client(settings.redis_url, connections=4)
    broker = redis_client(settings.broker_url, connections=1)
    try:
        return await looker(open_spool(settings, redis=redis), broker)
    except StoreUnavailable as error:
        typer.echo(f"mailsluice: {_unreachable(settings)} ({error.detail})", err=True)
        return EXIT_UNREACHABLE
    finally:
        await redis.aclose()
        await broker.aclose()


def _unreachable(settings: Settings) -> str:
    if not settings.redis.url:
        folder = settings.data.dir.absolute()
        why = f"`mailsluice up` does not run with the data dir {folder}, or {log_file(settings)} says why"
        full = disk_problem(settings)
        return f"the spool does not answer: {why}" + (f". {full.removesuffix('.')}" if full else "")
    url = urlsplit(settings.redis.url)  # its user and password stay out of the line
    place = url.path if url.scheme == "unix" else f"{url.hostname}:{url.port or 6379}"
    return f"the spool's server at {place} does not answer: start it, or correct redis.url"
