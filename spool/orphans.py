"""Removes contents whose message is unknown or finished.

They come from crashes: between a content's write and its message's commit, or between a message's end and the
content's removal. A content younger than the age given may belong to a commit that is still under way and is left
alone, whatever the spool says. Never removed: a content, updated ones too, of a message that is not finished. When
the spool does not answer nothing is removed. Two collectors at once would do no harm; the lock saves the work.

"Unknown" proves nothing where the spool is not the one that the contents were written for: a server that came back
empty, or another server by mistake, knows none of them. So the content store carries the spool's id (environment.py).
Where the two differ nothing is removed, whatever it costs in space, and the log says once a day what to do.
"""

from collections.abc import Iterator

from config.logs import get_log
from spool import keys, scripts
from spool.content import ContentStore, owner_of
from spool.environment import Environment, read_environment
from spool.states import Place
from spool.store import Spool

_AT_ONCE = 500
# Listing a content store costs: once in this time for the whole cluster. The lock is kept that long.
_PAUSE_SECONDS = 900
_TELL_AGAIN_SECONDS = 86_400

#: (name, reference)
_Candidate = tuple[str, str]


async def collect_orphans(spool: Spool, *, older_than_seconds: float = 3600, now: float) -> int:
    """Removes orphaned contents and returns how many; 0 when another process is at it or was lately.

    `now` in epoch seconds.
    Raises StoreUnavailable, StoreFull or ContentUnavailable; what was removed until then is removed.
    """
    lock = keys.lock_key("orphans")
    if not await scripts.answer_of(spool.redis.set(lock, "1", nx=True, ex=_PAUSE_SECONDS)):
        return 0
    try:
        return await _collect(spool, older_than_seconds, now)
    except BaseException:
        await scripts.answer_of(spool.redis.delete(lock))
        raise


async def _collect(spool: Spool, older_than_seconds: float, now: float) -> int:
    environment, mark = await read_environment(spool.redis), await spool.contents.mark()
    if environment is None or mark not in {"", environment.id}:
        await _tell_once(spool, why_not(environment, mark, spool.contents))
        return 0
    candidates = [one async for one in spool.contents.older_than(older_than_seconds, now)]
    if not mark:  # from before there were marks: that the spool knows one of the contents is proof enough
        if candidates and not await _is_one_known(spool, candidates):
            await _tell_once(spool, why_not(environment, mark, spool.contents))
            return 0
        await spool.contents.set_mark(environment.id)
    removed = 0
    for group in _groups(candidates):
        orphans = _orphans_among(group, await _places_of(spool, group))
        for reference in orphans:
            await spool.contents.delete(reference)
        removed += len(orphans)
    return removed


def _groups(candidates: list[_Candidate]) -> Iterator[list[_Candidate]]:
    return (candidates[start : start + _AT_ONCE] for start in range(0, len(candidates), _AT_ONCE))


async def _places_of(spool: Spool, candidates: list[_Candidate]) -> list[bytes | None]:
    pipeline = spool.redis.pipeline(transaction=False)
    for name, _ in candidates:
        pipeline.hget(keys.message_key(owner_of(name)), "p")
    places: list[bytes | None] = await scripts.answer_of(pipeline.execute())
    return places


def _orphans_among(candidates: list[_Candidate], places: list[bytes | None]) -> list[str]:
    return [
        reference
        for (_, reference), place in zip(candidates, places, strict=True)
        if place is None or place == Place.DONE.encode()
    ]


async def _is_one_known(spool: Spool, candidates: list[_Candidate]) -> bool:
    for group in _groups(candidates):
        if any(place is not None for place in await _places_of(spool, group)):
            return True
    return False


def why_not(environment: Environment | None, mark: str, contents: ContentStore) -> str:
    """The sentences for the operator: why nothing is removed, and what to do."""
    if environment is None:
        return (
            f"The spool has no id: its server came back empty. The contents beside {contents.mark_place} are kept; "
            "bring the server's data back, or start the processes anew and read what is said here then."
        )
    whose = f"belong to the spool {mark}" if mark else "have no mark and the spool knows none of them"
    return (
        f"The contents beside {contents.mark_place} {whose}; this spool is {environment.id}. Nothing is removed. "
        f"Correct redis.url or spool.content_store; or, when the other spool is gone for good, write {environment.id} "
        "into that file: then what this spool does not know is removed."
    )


async def _tell_once(spool: Spool, reason: str) -> None:
    told = keys.lock_key("orphans-kept")
    if await scripts.answer_of(spool.redis.set(told, "1", nx=True, ex=_TELL_AGAIN_SECONDS)):
        get_log().error("spool.orphans_kept", reason=reason)
