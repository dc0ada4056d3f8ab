"""Removes contents whose message is unknown or finished.

They come from crashes: between a content's write and its message's commit, or between a message's end and the
content's removal. A content younger than the age given may belong to a commit that is still under way and is left
alone, whatever the spool says. Never removed: the content of a message that is not finished. When the spool does
not answer nothing is removed. Two collectors at once would do no harm; the lock saves the work.
"""

from spool import keys, scripts
from spool.states import Place
from spool.store import Spool

_AT_ONCE = 500
# Listing a content store costs: once in this time for the whole cluster. The lock is kept that long.
_PAUSE_SECONDS = 900


async def collect_orphans(spool: Spool, *, older_than_seconds: float = 3600, now: float) -> int:
    """Removes orphaned contents and returns how many; 0 when another process is at it or was lately.

    `now` in epoch seconds.
    Raises StoreUnavailable, StoreFull or ContentUnavailable; what was removed until then is removed.
    """
    lock = keys.lock_key("orphans")
    if not await scripts.answer_of(spool.redis.set(lock, "1", nx=True, ex=_PAUSE_SECONDS)):
        return 0
    removed = 0
    try:
        candidates = [one async for one in spool.contents.older_than(older_than_seconds, now)]
        for start in range(0, len(candidates), _AT_ONCE):
            removed += await _remove_orphans_among(spool, candidates[start : start + _AT_ONCE])
    except BaseException:
        await scripts.answer_of(spool.redis.delete(lock))
        raise
    return removed


async def _remove_orphans_among(spool: Spool, candidates: list[tuple[str, str]]) -> int:
    pipeline = spool.redis.pipeline(transaction=False)
    for message_id, _ in candidates:
        pipeline.hget(keys.message_key(message_id), "p")
    places = await scripts.answer_of(pipeline.execute())
    orphans = [
        reference
        for (_, reference), place in zip(candidates, places, strict=True)
        if place is None or place == Place.DONE.encode()
    ]
    for reference in orphans:
        await spool.contents.delete(reference)
    return len(orphans)
