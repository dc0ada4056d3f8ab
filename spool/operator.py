"""The operator's hand in the spool: pauses, holds, drains, and the walk over a place for acts by filter.

Theory of operation
1. A pause is a field of one hash; takes and gates read it there (sending_quota.py), so nothing is rewritten however
   much waits. A pause with an end ends by itself.
2. A hold moves due and parked messages at once; that of a leased one is marked (field `ho`), denies its worker the
   next call, and is done by whatever ends the lease: the worker's move, or the sweep after its crash.
3. A walk goes through a place by ZSCAN, a few hundred messages at a time: memory and the time in which the server
   does nothing else are bounded however many there are. What moves meanwhile may be missed or met twice; every act
   does nothing to a message that is not any more where it was seen.
Each act is one script with its event, or, over many messages, scripts in a row and the event after them.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Literal

import orjson
from redis import asyncio as aioredis

from config.queues import KEY_PREFIX
from spool import keys, scripts
from spool.records import Message
from spool.routes import NUDGE_MS, pauses_of
from spool.rows import message_of, summary_fields
from spool.sending_quota import Pause, Seat
from spool.states import Place
from spool.store import Spool

#: Messages asked for in one step of a walk.
STEP = 200
#: The scope of a pause of everything.
EVERYTHING: Final = "all"

Doing = Literal["hold", "free", "retry", "wake"]
#: What hold.lua answers for one message.
Touched = Literal["done", "later", "lane", "held", "not"]


async def pause(redis: aioredis.Redis, pauses: Sequence[Pause], event: bytes) -> None:
    """Begins pauses, or gives those of the same scope another end."""
    arguments: list[scripts.Argument] = ["pauses", "set", event]
    for one in pauses:
        arguments += [one.scope, pause_row(one)]
    await scripts.PAUSES(redis, arguments)


def pause_row(pause: Pause) -> bytes:
    """A pause as its hash keeps it."""
    return orjson.dumps({"until": pause.until_ms, "since": pause.since_ms, "why": pause.why, "by": pause.by})


async def resume(redis: aioredis.Redis, scopes: Sequence[str], event: bytes) -> tuple[str, ...]:
    """Ends pauses; those of the scopes that were paused."""
    return tuple(one.decode() for one in await scripts.PAUSES(redis, ["pauses", "cut", event, *scopes]))


async def probe_now(redis: aioredis.Redis, route: str) -> bool:
    """A route in trouble is tried again by the next message; False when it is in none."""
    return bool(await scripts.PROBE(redis, [route]))


async def read_pauses(redis: aioredis.Redis) -> tuple[int, tuple[Pause, ...]]:
    """The server's clock in ms, and the pauses that count now, by scope."""
    pipeline = redis.pipeline(transaction=False)
    pipeline.time()
    pipeline.hgetall(keys.PAUSES)
    (seconds, micros), rows = await scripts.answer_of(pipeline.execute())
    now_ms = seconds * 1000 + micros // 1000
    return now_ms, counting(pauses_of(rows), now_ms)


def counting(pauses: Sequence[Pause], now_ms: int) -> tuple[Pause, ...]:
    """Those whose end has not passed: the gate removes the others, but it may not have looked yet."""
    return tuple(one for one in pauses if not one.until_ms or one.until_ms > now_ms)


async def ahead_of(redis: aioredis.Redis, seat: Seat, message_id: str) -> int | None:
    """How many messages of the same sender go before this one; None when it stands in no lane any more."""
    sender = hashlib.sha1(seat.sender.encode("utf-8", "surrogateescape")).hexdigest()  # noqa: S324 - as lua/lanes.lua
    line = f"{KEY_PREFIX}line:{seat.route}:{seat.lane}:{sender}"
    rank: int | None = await scripts.answer_of(redis.zrank(line, message_id))
    return rank


async def set_drain(redis: aioredis.Redis, worker: str, since_ms: int, event: bytes) -> None:
    """The worker takes no more messages."""
    await scripts.PAUSES(redis, ["drains", "set", event, worker, since_ms])


async def end_drain(redis: aioredis.Redis, workers: Sequence[str], event: bytes = b"") -> tuple[str, ...]:
    """They take messages again; those that were drained."""
    return tuple(one.decode() for one in await scripts.PAUSES(redis, ["drains", "cut", event, *workers]))


async def touch(redis: aioredis.Redis, doing: Doing, message_ids: Sequence[str]) -> list[Touched]:
    """Holds messages, frees those the operator held, tries or wakes parked ones; see lua/hold.lua."""
    if not message_ids:
        return []
    return [one.decode() for one in await scripts.HOLD(redis, [doing, NUDGE_MS, *message_ids])]


async def tell(redis: aioredis.Redis, event: bytes) -> None:
    """Adds an event of an act that is done already."""
    await scripts.TELL(redis, [event])


async def walk(spool: Spool, place: Place, *, step: int = STEP) -> AsyncIterator[tuple[Message, ...]]:
    """Everything in a place, part by part, as summaries (no attempts, no contents). Raises StoreUnavailable."""
    cursor: Any = "0"
    while True:
        cursor, rows = await scripts.SCAN(spool.redis, [place.value, cursor, step])
        yield tuple(message_of(row[0].decode(), summary_fields(row[1:])) for row in rows)
        if int(cursor) == 0:
            return
