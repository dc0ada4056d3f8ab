"""Why messages are parked or held, and until when: for the operator's eyes.

The number by reason is exact (the scripts count); instants and examples come from a window on both ends of each
place, so that a million messages cost as much as a thousand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import asyncio as aioredis
from redis import exceptions

from spool import keys, scripts
from spool.figures import SAMPLE, ZSETS, by_place
from spool.states import FAR_FUTURE_MS, IN_LANE, Place
from spool.store import Spool


@dataclass(frozen=True, slots=True)
class Wait:
    """Messages of one place with one reason. The instants are None where the window did not show one."""

    place: Place
    reason: str
    messages: int
    #: Parked: the first and the last wake-up, None in a lane. Held: since when the first and the last are held.
    first_at_ms: int | None
    last_at_ms: int | None
    #: One of the messages, for the operator's next command; "" where the window did not show one.
    example: str
    #: When the oldest of those in the window was accepted.
    oldest_at_ms: int | None = None


async def read_waits(spool: Spool) -> tuple[Wait, ...]:
    """Why messages are parked or held, and until when, most of them first. Raises StoreUnavailable."""
    try:
        reasons: Any = await spool.redis.hgetall(keys.REASONS)
        windows = {place: await _window(spool.redis, place) for place in (Place.PARKED, Place.HELD)}
    except (exceptions.RedisError, OSError) as error:
        if meaning := scripts.translated(error):
            raise meaning from error
        raise
    waits = [
        _wait(place, reason, messages, windows[place])
        for place, by_reason in by_place(reasons).items()
        for reason, messages in by_reason.items()
    ]
    return tuple(sorted(waits, key=lambda one: (one.place, -one.messages)))


@dataclass(frozen=True, slots=True)
class _Seen:
    """A message of the window."""

    at_ms: int
    message_id: str
    reason: str
    accepted_at_ms: int


async def _window(redis: aioredis.Redis, place: Place) -> list[_Seen]:
    """The first and the last messages of a place, by instant."""
    zset = ZSETS[place]
    first = await redis.zrange(zset, 0, SAMPLE - 1, withscores=True)
    # What waits for something else than a time stands at the end of all times.
    last = await redis.zrevrangebyscore(zset, f"({FAR_FUTURE_MS}", "-inf", start=0, num=SAMPLE, withscores=True)
    instants: dict[bytes, float] = dict([*first, *last])
    pipeline = redis.pipeline(transaction=False)
    for message_id in instants:
        pipeline.hmget(keys.message_key(message_id.decode()), ["why", "at"])
    rows = await pipeline.execute() if instants else []
    return [
        _Seen(int(at), message_id.decode(), (reason or b"").decode(), int(accepted_at))
        for (message_id, at), (reason, accepted_at) in zip(instants.items(), rows, strict=True)
        if accepted_at is not None
    ]


def _wait(place: Place, reason: str, messages: int, window: Sequence[_Seen]) -> Wait:
    seen = sorted((one for one in window if one.reason == reason), key=lambda one: (one.at_ms, one.message_id))
    if not seen:
        return Wait(place, reason, messages, None, None, "")
    first, last, oldest_at_ms = seen[0], seen[-1], min(one.accepted_at_ms for one in seen)
    if reason == IN_LANE:  # the instants are those at which they expire; when their turn comes is told of their route
        return Wait(place, reason, messages, None, None, first.message_id, oldest_at_ms)
    return Wait(place, reason, messages, first.at_ms, last.at_ms, first.message_id, oldest_at_ms)
