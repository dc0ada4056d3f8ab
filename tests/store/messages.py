"""Messages, spools and views on the server for the tests of the store."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from redis import asyncio as aioredis

from config.redis_clients import redis_client
from spool import keys
from spool.content import FolderContents
from spool.records import Attempt, NewMessage, new_message_id
from spool.states import Place
from spool.store import Claimed, Spool

ZSETS = {Place.DUE: keys.DUE, Place.LEASED: keys.LEASED, Place.PARKED: keys.PARKED, Place.HELD: keys.HELD}


def a_message(*, recipients: int = 1, content: bytes = b"Subject: x\r\n\r\nbody\r\n", **more: Any) -> NewMessage:
    """A message as a door makes it, with an event."""
    message_id = more.pop("message_id", None) or new_message_id()
    return NewMessage(
        message_id=message_id,
        sender="app@example.com",
        recipients=tuple(f"user{number}@example.net" for number in range(recipients)),
        content=content,
        event=b'{"k":"accepted","id":"%s"}' % message_id.encode(),
        **more,
    )


def an_intent(number: int = 1, recipients: tuple[int, ...] = (0,)) -> Attempt:
    """An attempt before its call."""
    return Attempt(number, recipients, 1_700_000_000_000, "worker@test")


@contextlib.asynccontextmanager
async def open_test_spool(
    url: str,
    folder: Path,
    *,
    lease_seconds: float = 30,
    inline: int = 131072,
    answer_seconds: float = 10,
    headers_seconds: float = 0.0,
) -> AsyncIterator[Spool]:
    """A spool with connections of its own, as one process has it."""
    spool = Spool(
        redis_client(url, answer_seconds=answer_seconds),
        FolderContents(folder / "content"),
        inline_content_bytes=inline,
        keep_finished_seconds=3600,
        lease_seconds=lease_seconds,
        keep_headers_seconds=headers_seconds,
    )
    try:
        yield spool
    finally:
        await spool.close()


async def accepted_and_claimed(spool: Spool, **more: Any) -> Claimed:
    """A new message and its first lease."""
    message = a_message(**more)
    await spool.accept(message)
    [claimed] = await spool.claim([message.message_id], "worker@test")
    return claimed


async def end_lease(redis: aioredis.Redis, message_id: str) -> None:
    """As if the lease's time were over."""
    assert await redis.zadd(keys.LEASED, {message_id: 1}, xx=True, ch=True)


async def wake_now(redis: aioredis.Redis, message_id: str) -> None:
    """As if the parked message's hour had come."""
    assert await redis.zadd(keys.PARKED, {message_id: 1}, xx=True, ch=True)


async def nudge_is_late(redis: aioredis.Redis, *message_ids: str) -> None:
    """As if the nudges of due messages had been lost a while ago."""
    await redis.zadd(keys.DUE, dict.fromkeys(message_ids, 1), xx=True)


async def no_nudge_is_late(redis: aioredis.Redis) -> None:
    """As if everything that is due had come there this moment, and the moment lasted: none of its nudges is lost."""
    due = await redis.zrange(keys.DUE, 0, -1)
    await redis.zadd(keys.DUE, dict.fromkeys(due, 9_999_999_999_999), xx=True)


async def places_of(redis: aioredis.Redis, message_id: str) -> set[Place]:
    """Every place whose zset names the message."""
    return {place for place, key in ZSETS.items() if await redis.zscore(key, message_id) is not None}


async def numbers(redis: aioredis.Redis, key: str) -> dict[str, int]:
    """A hash of numbers."""
    return {name.decode(): int(value) for name, value in (await redis.hgetall(key)).items()}


async def events_of(redis: aioredis.Redis) -> list[bytes]:
    """Everything in the event stream."""
    return [fields[b"d"] for _, fields in await redis.xrange(keys.EVENTS)]
