"""How far each destination is: its turn, its cursor and its failures, all in Redis.

Guarantees: one process at a time has the turn of a destination (a lock with a random token and an expiry); only the
holder of the turn moves the cursor, and only from where it found it; a failed destination is left alone by every
process until its pause is over; and nobody serves, passes over or trims by what the configuration sets were before
their last change. An update and a replay end the turn that is under way. Only the server's clock counts.
Knows nothing of records and destinations' kinds.
"""

import asyncio
import contextlib
import dataclasses
import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal, NamedTuple

from redis import asyncio as aioredis

from config.errors import TryLater
from config.queues import KEY_PREFIX
from spool import keys
from spool.scripts import Argument, Script, answer_of

#: Of a destination of a set: enabled in the file, made by the API, just found disabled in the file, or still; see
#: lua/start.lua.
Standpoint = Literal["file", "api", "gone", "off"]
#: Counters of dead letters: the destination said never, or did not take them in time.
DeadCounter = Literal["events_refused", "events_too_old"]
REFUSED: DeadCounter = "events_refused"
TOO_OLD: DeadCounter = "events_too_old"

# Entries of a dead-letter stream: enough to see what is wrong, too few to fill the server.
MAX_DEAD_LETTERS = 1000
FIRST_PAUSE_MS = 1000
LONGEST_PAUSE_MS = 300_000
# What one call of trim.lua removes beyond the backlog's limit; it reads these entries, a few milliseconds.
TRIM_STEP = 1000
# Of the server's memory the events may have one part in so many: the rest is for mail.
MEMORY_SHARE = 4
# What the scripts answer to whoever has to look at the sets again, see lua/prelude.lua.
_OUTDATED = -1
# What they answer for a destination of a set that has no cursor.
_NO_PLACE = b"-"
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
READY = EventScript("ready")
SKIP = EventScript("skip")
START = EventScript("start")
REPLAY = EventScript("replay")
REDEEM = EventScript("redeem")


class SetsChanged(Exception):  # noqa: N818 - named after what the catcher must do: look at the sets again
    """The caller knows the configuration sets as they were; nothing was done."""


class Entry(NamedTuple):
    """One entry of the event stream: its id and the short form. Made for every event, hence no dataclass."""

    id: str
    raw: bytes
    #: What `eventId` is: the entry's id, or the one of the dead letter that this is.
    event_id: str
    #: The only destination that is told; "" = all that want it.
    only: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to serve a destination, and where its cursor is."""

    name: str
    token: str
    cursor: str
    #: How often in a row the destination did not take what it was offered.
    failures: int
    #: The server's clock when the turn began.
    began_at_ms: int = 0
    #: Entries after the first up to the second are not offered; "" = no such gap.
    skip_after: str = ""
    skip_to: str = ""
    #: How often in a row it failed over what is at the cursor in a way that nobody thought of.
    odd_failures: int = 0

    def is_skipped(self, entry_id: str) -> bool:
        """Whether the entry lies where a replay has its end."""
        if not self.skip_to:
            return False
        return order_of(self.skip_after) < order_of(entry_id) <= order_of(self.skip_to)


@dataclass(frozen=True, slots=True)
class Passed:
    """Entries that a cursor moves past."""

    #: Id of the last of them.
    to: str
    entries: int
    #: How many of them the destination took.
    taken: int = 0
    #: Those that become dead letters, with the reason, and what they count as.
    dead: Sequence[tuple[Entry, str]] = ()
    counter: DeadCounter = REFUSED


@dataclass(frozen=True, slots=True)
class Kept:
    """How much of what every destination has taken is kept for a replay."""

    seconds: float = 0.0
    events: int = 0


@dataclass(frozen=True, slots=True)
class Most:
    """Limits of the stream, of what waits and what is kept together; 0 bytes = any size."""

    events: int
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Trim:
    """What one trim did. `lost` names only destinations that lost entries they had not taken."""

    removed: int
    #: Entries that the next step may remove.
    left: int
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
    async def turn(self, name: str, version: str = "") -> AsyncIterator[Turn | None]:
        """The turn while the block runs; None when another has it or the destination is to be left alone.

        A killed process gives its turn back after `lock_seconds`. `version`: of the sets that the caller knows, "" =
        any will do. Raises SetsChanged when the destination has changed since.
        """
        token = secrets.token_hex(16)
        answer = await BEGIN(self._redis, [name, token, self._lock_ms, version])
        if answer == _OUTDATED:
            raise SetsChanged
        if not answer:
            yield None
            return
        cursor, failures, began_at_ms, skip_after, skip_to, odd = answer
        turn = Turn(name, token, cursor.decode(), failures, began_at_ms, skip_after.decode(), skip_to.decode(), odd)
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

    async def read(self, cursor: str, count: int) -> list[Entry]:
        """The next entries after the cursor, at most `count`."""
        rows = await answer_of(self._redis.xrange(keys.EVENTS, f"({cursor}", "+", count))
        return [entry_of(id_.decode(), fields) for id_, fields in rows]

    async def advance(self, turn: Turn, passed: Passed) -> Turn | None:
        """Moves the cursor past some entries.

        None when the turn was lost: nothing moved, the entries will be offered again.
        """
        arguments: list[Argument] = [turn.name, turn.token, turn.cursor, passed.to, passed.entries, passed.taken]
        arguments += [MAX_DEAD_LETTERS, passed.counter]
        for entry, reason in passed.dead:
            arguments += [entry.event_id, entry.raw, reason]
        if not await ADVANCE(self._redis, arguments):
            return None
        is_answered = passed.taken > 0 or (passed.dead and passed.counter == REFUSED)
        failures = (0, 0) if is_answered else (turn.failures, turn.odd_failures)
        return dataclasses.replace(turn, cursor=passed.to, failures=failures[0], odd_failures=failures[1])

    async def fail(self, turn: Turn, pause: int, error: str, *, is_odd: bool = False) -> None:
        """The destination is left alone for `pause` milliseconds, unless the turn was lost.

        `is_odd` = it failed over the only event offered.
        """
        await FAIL(self._redis, [turn.name, turn.token, pause, error, int(is_odd)])

    async def ready(self, names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
        """The cursors of those that something may be offered now: entries are behind it, and nobody is at work.

        And those of sets that have no cursor, although every enabled one is given one.
        """
        cursors = await READY(self._redis, list(names)) if names else ()
        found, without = {}, []
        for name, cursor in zip(names, cursors, strict=True):
            if cursor == _NO_PLACE:
                without.append(name)
            elif cursor:
                found[name] = cursor.decode()
        return found, without

    async def skip(self, moves: Sequence[tuple[str, str, str, int]], version: str = "") -> list[str]:
        """Moves cursors (name, from, to, entries between) of destinations that want nothing of it.

        Returns those that have changed since `version` of the sets; they stay where they are.
        """
        arguments = [part for move in moves for part in move]
        return [name.decode() for name in await SKIP(self._redis, [version, *arguments])] if moves else []

    async def start(self, found: Sequence[tuple[Standpoint, str]]) -> int:
        """Those without a cursor are told what happens from now on, those that are gone have none; how many are new."""
        return int(await START(self._redis, [part for one in found for part in one])) if found else 0

    async def backlogs(self, names: Sequence[str]) -> dict[str, int]:
        """Entries waiting for each destination; costs the same for one and for a million."""
        return dict(zip(names, await WAITING(self._redis, list(names)), strict=True)) if names else {}

    async def most_bytes(self, wish: int) -> int:
        """How large the stream may be on this server: as wished, but no more than a share of the server's limit."""
        memory = await answer_of(self._redis.info("memory"))
        limit = int(memory.get("maxmemory") or memory.get("total_system_memory") or 0)
        return min(wish, limit // MEMORY_SHARE) if limit else wish

    async def trim(self, names: Sequence[str], most: Most, kept: Kept, version: str = "") -> Trim:
        """One step of removing what is taken by all of `names` and not kept, or too much.

        Raises SetsChanged when the names are of another version of the sets; "" = of any.
        """
        arguments: list[Argument] = [most.events, TRIM_STEP, int(kept.seconds * 1000), kept.events, most.size_bytes]
        arguments += [version, *names]
        answer = await TRIM(self._redis, arguments)
        if answer == _OUTDATED:
            raise SetsChanged
        removed, left, *lost = answer
        return Trim(removed, left, {name: by for name, by in zip(names, lost, strict=True) if by})


def entry_of(id_: str, fields: Mapping[bytes, bytes]) -> Entry:
    """An entry as the server answers it."""
    if b"only" in fields:
        return Entry(id_, fields.get(b"d", b""), fields.get(b"id", b"").decode() or id_, fields[b"only"].decode())
    return Entry(id_, fields.get(b"d", b""), id_)


def destination_key(name: str) -> str:
    """Hash: position and failures of a destination."""
    return KEY_PREFIX + "destination:" + name


def dead_letters_key(name: str) -> str:
    """Stream: what a destination can never take; fields id, d (the short form), why."""
    return KEY_PREFIX + "dead:" + name


def order_of(stream_id: str) -> tuple[int, int]:
    """By which ids of the stream are compared."""
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence)
