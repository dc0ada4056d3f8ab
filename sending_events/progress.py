"""How far each destination is: its turn, its cursor and its failures, all in Redis.

Guarantees: one process at a time has the turn of a destination (a lock with a random token and an expiry); only the
holder of the turn moves the cursor, and only from where it found it; a failed destination is left alone by every
process until its pause is over. Only the server's clock counts. Knows nothing of records and destinations' kinds.
"""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib.resources import files

from redis import asyncio as aioredis

from config.errors import TryLater
from config.queues import KEY_PREFIX
from spool import keys
from spool.scripts import Argument, Script, answer_of

# Entries of a dead-letter stream: enough to see what is wrong, too few to fill the server.
MAX_DEAD_LETTERS = 1000
FIRST_PAUSE_MS = 1000
LONGEST_PAUSE_MS = 300_000
# What one call of trim.lua removes beyond the backlog's limit; it reads these entries, a few milliseconds.
TRIM_STEP = 1000
# The names of the keys that Python knows as well, for the scripts.
_NAMES = f"local PREFIX, EVENTS, COUNTERS = '{KEY_PREFIX}', '{keys.EVENTS}', '{keys.COUNTERS}'\n"


class EventScript(Script):
    """A script of sending_events/lua/ with the prelude of that folder."""

    def __init__(self, name: str) -> None:
        folder = files("sending_events") / "lua"
        texts = [(folder / f"{part}.lua").read_text("utf-8") for part in ("prelude", name)]
        self.name = name
        self.source = _NAMES + "".join(texts)
        self.digest = hashlib.sha1(self.source.encode()).hexdigest()  # noqa: S324 - EVALSHA's own hash


BEGIN = EventScript("begin")
ADVANCE = EventScript("advance")
FAIL = EventScript("fail")
RENEW = EventScript("renew")
RELEASE = EventScript("release")
TRIM = EventScript("trim")
WAITING = EventScript("waiting")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the event stream: its id, which is the event id, and the short form."""

    id: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to serve a destination, and where its cursor is."""

    name: str
    token: str
    cursor: str
    #: How often in a row the destination did not take what it was offered.
    failures: int


@dataclass(frozen=True, slots=True)
class Trim:
    """What one trim did. `lost` names only destinations that lost entries they had not taken."""

    removed: int
    too_many: int
    lost: dict[str, int]


def pause_ms(failures: int, asked_seconds: float | None = None) -> int:
    """How long a destination is left alone after so many failures in a row: 1 s, 2 s, 4 s … at most 5 minutes.

    What it asked for itself counts when it is longer, within the same limit.
    """
    grown = FIRST_PAUSE_MS << min(failures - 1, 20)
    return min(max(grown, int((asked_seconds or 0) * 1000)), LONGEST_PAUSE_MS)


class Progress:
    """The scripts of this folder as methods. Every method raises TryLater when the server cannot do it now."""

    def __init__(self, redis: aioredis.Redis, *, lock_seconds: float = 10.0) -> None:
        self._redis = redis
        self._lock_ms = int(lock_seconds * 1000)

    @contextlib.asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[Turn | None]:
        """The turn while the block runs; None when another has it or the destination is to be left alone.

        A killed process gives its turn back after `lock_seconds`.
        """
        token = secrets.token_hex(16)
        answer = await BEGIN(self._redis, [name, token, self._lock_ms])
        if not answer:
            yield None
            return
        turn = Turn(name, token, answer[0].decode(), answer[1])
        renewing = asyncio.create_task(self._keep(turn))
        try:
            yield turn
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])  # so that no renewal is under way when the connection is given back
            with contextlib.suppress(TryLater):  # it ends by itself
                await RELEASE(self._redis, [name, token])

    async def _keep(self, turn: Turn) -> None:
        while True:
            await asyncio.sleep(self._lock_ms / 3000)
            with contextlib.suppress(TryLater):  # the next try may succeed; `advance` is what guards the cursor
                if not await RENEW(self._redis, [turn.name, turn.token, self._lock_ms]):
                    return

    async def read(self, turn: Turn, count: int) -> list[Entry]:
        """The next entries after the cursor, at most `count`."""
        rows = await answer_of(self._redis.xrange(keys.EVENTS, f"({turn.cursor}", "+", count))
        return [Entry(id_.decode(), fields.get(b"d", b"")) for id_, fields in rows]

    async def advance(
        self, turn: Turn, to: str, entries: int, refused: Sequence[tuple[Entry, str]] = ()
    ) -> Turn | None:
        """Moves the cursor past `entries` entries; those `refused`, with the reason, become dead letters.

        None when the turn was lost: nothing moved, the entries will be offered again.
        """
        arguments: list[Argument] = [turn.name, turn.token, turn.cursor, to, entries, MAX_DEAD_LETTERS]
        for entry, reason in refused:
            arguments += [entry.id, entry.raw, reason]
        moved = await ADVANCE(self._redis, arguments)
        return Turn(turn.name, turn.token, to, 0) if moved else None

    async def fail(self, turn: Turn, pause: int, error: str) -> None:
        """The destination is left alone for `pause` milliseconds."""
        await FAIL(self._redis, [turn.name, turn.token, pause, error])

    async def has_work(self, name: str) -> bool:
        """Whether something waits that may be offered now; reads one entry."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.get(keys.cursor_key(name))
        pipeline.hget(destination_key(name), "next_try_at_ms")
        pipeline.xrevrange(keys.EVENTS, "+", "-", 1)
        pipeline.time()
        cursor, next_try_at_ms, last, (seconds, microseconds) = await answer_of(pipeline.execute())
        if not last or (cursor and _order(cursor) >= _order(last[0][0])):
            return False
        now_ms: int = seconds * 1000 + microseconds // 1000
        return int(next_try_at_ms or 0) <= now_ms

    async def backlogs(self, names: Sequence[str]) -> dict[str, int]:
        """Entries waiting for each destination; costs the same for one and for a million."""
        return dict(zip(names, await WAITING(self._redis, list(names)), strict=True)) if names else {}

    async def trim(self, names: Sequence[str], max_backlog: int) -> Trim:
        """One step of removing what is taken by all of `names`, or too much."""
        removed, too_many, *lost = await TRIM(self._redis, [max_backlog, TRIM_STEP, *names])
        return Trim(removed, too_many, {name: by for name, by in zip(names, lost, strict=True) if by})


def destination_key(name: str) -> str:
    """Hash: position and failures of a destination."""
    return KEY_PREFIX + "destination:" + name


def dead_letters_key(name: str) -> str:
    """Stream: what a destination can never take; fields id, d (the short form), why."""
    return KEY_PREFIX + "dead:" + name


def _order(stream_id: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = stream_id.partition(b"-")
    return int(milliseconds), int(sequence)
