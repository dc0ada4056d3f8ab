"""Replays: what a destination has taken is offered to it again, and what became a dead letter once more.

Theory of operation
1. What every destination has taken stays in the stream for `events.replay_seconds`, `events.replay_events` at most.
   Setting a cursor back lets the publisher offer it again, in order and with the same event ids. It is one script: who
   serves the destination at that moment loses its turn, so that no cursor is moved from where it no longer is, and no
   failure noted that began before.
2. A replay with an end leaves a gap, from that end to where the cursor was: the publisher passes over it.
3. A dead letter may be older than the stream. It goes back into it as a new entry that has the letter's event id and
   belongs to its destination alone; the letter goes in the same script. It comes behind what waits already.
   Where the destination fails, this too takes the turn.
The position of the cursor, which the backlog is computed of, is counted first: entries are only ever added behind and
removed before it, so that the number stays right; where the stream was trimmed meanwhile it is counted anew.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from redis import asyncio as aioredis

from sending_events.loading import record_of
from sending_events.progress import REDEEM, REPLAY, Entry, dead_letters_key, destination_key, entry_of, order_of
from sending_events.records import UnreadableEvent
from sending_events.rendering import Record
from spool import keys
from spool.scripts import answer_of

_READ_AT_ONCE = 1000
_REDEEM_AT_ONCE = 100
_TRIES = 3
# More than a server ever numbers in one millisecond.
_LAST_OF_A_MILLISECOND = 999_999

#: Whether the destination is told of the record at all.
Wants = Callable[[Entry, Record], bool]


@dataclass(frozen=True, slots=True)
class Window:
    """Of the instants of events, both included; `until_ms` None = no end."""

    since_ms: int
    until_ms: int | None = None

    @property
    def first_id(self) -> str:
        """Of the stream."""
        return f"{self.since_ms}-0"

    @property
    def last_id(self) -> str:
        """Of the stream; "+" = its end."""
        return "+" if self.until_ms is None else f"{self.until_ms}-{_LAST_OF_A_MILLISECOND}"


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter. `id` is its place among them, `event_id` what was never taken."""

    id: str
    event_id: str
    raw: bytes
    why: str


async def replayable(redis: aioredis.Redis, name: str, window: Window, wants: Wants) -> int:
    """How many events of the window the destination has behind it and would be told again. Raises TryLater."""
    cursor = await _cursor(redis, name)
    found = 0
    async for entry in _entries(redis, window.first_id, window.last_id):
        if order_of(entry.id) > order_of(cursor):
            break
        record = record_of(entry)
        found += not isinstance(record, UnreadableEvent) and wants(entry, record)
    return found


async def replay(redis: aioredis.Redis, name: str, window: Window) -> bool:
    """Sets the cursor before the window; False when it is there or before already. Raises TryLater."""
    to = f"{max(0, window.since_ms - 1)}-{_LAST_OF_A_MILLISECOND}"
    position = await _position(redis, to)
    gap_from = "" if window.until_ms is None else window.last_id
    return bool(await REPLAY(redis, [name, to, position, gap_from]))


async def dead_letters(redis: aioredis.Redis, name: str, window: Window | None = None) -> list[Letter]:
    """The dead letters of a destination, of events of the window, in the order in which they died. Raises TryLater."""
    rows = await answer_of(redis.xrange(dead_letters_key(name)))
    letters = [
        Letter(id_.decode(), fields[b"id"].decode(), fields[b"d"], fields[b"why"].decode("utf-8", "replace"))
        for id_, fields in rows
    ]
    return [one for one in letters if window is None or _is_within(one.event_id, window)]


async def redeem(redis: aioredis.Redis, name: str, letters: list[Letter]) -> int:
    """Lets the dead letters be offered again; how many, without those that are gone. Raises TryLater."""
    done = 0
    for start in range(0, len(letters), _REDEEM_AT_ONCE):
        done += int(await REDEEM(redis, [name, *(one.id for one in letters[start : start + _REDEEM_AT_ONCE])]))
    return done


async def is_known(redis: aioredis.Redis, name: str) -> bool:
    """Whether a destination of this name has ever been served. Raises TryLater."""
    return bool(await answer_of(redis.exists(keys.cursor_key(name), destination_key(name), dead_letters_key(name))))


def _is_within(event_id: str, window: Window) -> bool:
    at_ms = order_of(event_id)[0]
    return window.since_ms <= at_ms and (window.until_ms is None or at_ms <= window.until_ms)


async def _cursor(redis: aioredis.Redis, name: str) -> str:
    found = await answer_of(redis.get(keys.cursor_key(name)))
    return found.decode() if found else "0-0"


async def _entries(redis: aioredis.Redis, first: str, last: str) -> AsyncIterator[Entry]:
    while rows := await answer_of(redis.xrange(keys.EVENTS, first, last, _READ_AT_ONCE)):
        for id_, fields in rows:
            yield entry_of(id_.decode(), fields)
        first = f"({rows[-1][0].decode()}"


async def _position(redis: aioredis.Redis, to: str) -> int:
    """How many entries were ever added up to `to`."""
    position = 0
    for _ in range(_TRIES):
        before = await _trimmed(redis)
        position = before
        async for _entry in _entries(redis, "-", to):
            position += 1
        if before == await _trimmed(redis):
            break
    return position


async def _trimmed(redis: aioredis.Redis) -> int:
    return int(await answer_of(redis.hget(keys.COUNTERS, "events_trimmed")) or 0)
