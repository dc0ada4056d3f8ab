"""How far each destination is, in figures for people and metrics: read in two round trips, whatever waits."""

from collections.abc import Sequence
from dataclasses import dataclass

from redis import asyncio as aioredis

from sending_events.progress import WAITING, dead_letters_key, destination_key
from spool import keys
from spool.scripts import answer_of

_COUNTERS = ("events_published", "events_refused", "events_too_old", "events_lost")


@dataclass(frozen=True, slots=True)
class Standing:
    """One destination."""

    #: Entries of the stream that it has yet to take or to pass over.
    behind: int
    #: Age of the oldest of them, 0 for none.
    oldest_seconds: float
    #: How often in a row it did not take what it was offered, why, and when it is tried again (0 = now).
    failures: int
    error: str
    next_try_at_ms: int
    published: int
    refused: int
    too_old: int
    lost: int
    dead_letters: int


async def standings(redis: aioredis.Redis, names: Sequence[str]) -> dict[str, Standing]:
    """By name. Raises TryLater."""
    if not names:
        return {}
    behind: list[int] = await WAITING(redis, list(names))
    pipeline = redis.pipeline(transaction=False)
    pipeline.time()
    for name in names:
        pipeline.get(keys.cursor_key(name))
        pipeline.hmget(destination_key(name), ["failures", "error", "next_try_at_ms"])
        pipeline.hmget(keys.COUNTERS, [f"{counter}:{name}" for counter in _COUNTERS])
        pipeline.xlen(dead_letters_key(name))
    clock, *rows = await answer_of(pipeline.execute())
    now_ms = clock[0] * 1000 + clock[1] // 1000
    oldest = await _oldest(redis, [row or b"0-0" for row in rows[::4]])
    return {
        name: Standing(
            behind=waiting,
            oldest_seconds=max(0.0, (now_ms - at_ms) / 1000) if waiting and at_ms else 0.0,
            failures=int(failures or 0),
            error=(error or b"").decode("utf-8", "replace"),
            next_try_at_ms=int(next_try or 0),
            published=int(published or 0),
            refused=int(refused or 0),
            too_old=int(too_old or 0),
            lost=int(lost or 0),
            dead_letters=dead,
        )
        for name, waiting, at_ms, (failures, error, next_try), (published, refused, too_old, lost), dead in zip(
            names, behind, oldest, rows[1::4], rows[2::4], rows[3::4], strict=True
        )
    }


async def _oldest(redis: aioredis.Redis, cursors: Sequence[bytes]) -> list[int]:
    """When the entry behind each cursor was added, epoch milliseconds; 0 = there is none."""
    pipeline = redis.pipeline(transaction=False)
    for cursor in cursors:
        pipeline.xrange(keys.EVENTS, b"(" + cursor, count=1)
    rows = await answer_of(pipeline.execute())
    return [int(row[0][0].partition(b"-")[0]) if row else 0 for row in rows]
