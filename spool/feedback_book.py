"""What SES's events say about messages, written down once: states of recipients, records for the stream, figures.

Theory of operation (the scripts are in lua/feedback_find.lua and lua/feedback_apply.lua)
1. An event is known again by a mark, 63 bits of a hash of what makes it itself, in one of the 4,096 sets of its day:
   sets of up to 512 integers, up to two million events a day, cost some ten bytes an event and 100 a set. A mark is
   kept for three days at least after it was set.
2. One script sets the mark, moves the letters of the recipients, counts, and adds the record to the event stream. What
   it was told before changes nothing.
3. What follows outside that script (suppression, reputation, a bounce) is announced with the mark and struck off when
   it is done. Between the two the same event, told again, is answered with `unfinished`: whoever reads it does the
   rest. The source of the event gives it again, as nobody took it away before the end.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson
from redis import asyncio as aioredis

from config.queues import KEY_PREFIX
from spool import keys, scripts
from spool.feedback_states import FeedbackHappening, moves_of
from spool.group_commit import GroupCommit
from spool.records import Message
from spool.rows import message_of, pairs

Answer = Literal["written", "known", "unfinished"]
_Arguments = Sequence[scripts.Argument]

#: Whoever tells an event again later than this is believed once more; SQS and SNS repeat within minutes or hours.
MARK_SECONDS: Final = 3 * 86400

_OPEN: Final = KEY_PREFIX + "told-open"
_DAY_MS: Final = 86_400_000
_ANSWERS: Final[Mapping[int, Answer]] = {1: "written", 0: "known", 2: "unfinished"}

_FIND = scripts.Script("feedback_find", before=("prelude",))
_APPLY = scripts.Script("feedback_apply", before=("prelude",))


@dataclass(frozen=True, slots=True)
class Mark:
    """By what an event is known again."""

    bucket: str
    number: int

    @property
    def name(self) -> str:
        """Text of both."""
        return f"{self.bucket}:{self.number}"


def mark_of(at_ms: int, *parts: str) -> Mark:
    """Of an event that happened then and is itself by these parts."""
    text = orjson.dumps([part.encode("utf-8", "backslashreplace").decode() for part in parts])
    digest = hashlib.blake2b(text, digest_size=10).digest()
    day = max(0, at_ms // _DAY_MS)
    return Mark(f"{day}:{digest.hex()[:3]}", int.from_bytes(digest[2:], "big") >> 1)


@dataclass(frozen=True, slots=True)
class Found:
    """Whose call it was."""

    message_id: str
    #: None = it is forgotten, or there never was one.
    message: Message | None


@dataclass(frozen=True, slots=True)
class Telling:
    """What one event changes."""

    message_id: str
    mark: Mark
    #: The record for the event stream; empty = none.
    record: bytes = field(default=b"", repr=False)
    #: (recipient's index, what happened to it)
    happenings: Sequence[tuple[int, FeedbackHappening]] = ()
    #: Counter name → how much to add.
    counts: Mapping[str, int] = field(default_factory=dict)
    #: The account's statistics: bounces, complaints, rejects.
    statistics: Mapping[str, int] = field(default_factory=dict)
    #: Something follows that this does not write; see finished().
    has_followers: bool = False


class FeedbackBook:
    """All access to what was told. Every method raises StoreUnavailable and may be repeated."""

    def __init__(self, redis: aioredis.Redis) -> None:
        self._redis = redis
        # What is asked for at the same time leaves together: the server flushes its log once for all of it.
        self._finds = GroupCommit(self._runs(_FIND))
        self._writes = GroupCommit(self._runs(_APPLY))

    def _runs(self, script: scripts.Script) -> Callable[[Sequence[_Arguments]], Awaitable[Sequence[Any]]]:
        async def run(group: Sequence[_Arguments]) -> Sequence[Any]:
            return await scripts.run_together(self._redis, script, group)

        return run

    async def find(self, message_id: str, ses_message_id: str) -> Found | None:
        """By our id, "" = not known, else by SES's; without contents. None = nobody knows it."""
        if message_id and not keys.is_message_id(message_id):
            return None
        index = keys.index_of(ses_message_id) if ses_message_id else ""
        found, *flat = await self._finds.add([message_id, index])
        fields = pairs(flat)
        if not found:
            return None
        return Found(found.decode(), message_of(found.decode(), fields) if b"p" in fields else None)

    async def write(self, telling: Telling) -> Answer:
        """All of it, or nothing because it was written before."""
        told = {
            "l": [[int(index), moves_of(happening)] for index, happening in telling.happenings],
            "n": {name: int(by) for name, by in telling.counts.items() if by},
            "s": {name: int(by) for name, by in telling.statistics.items() if by},
        }
        arguments: list[scripts.Argument] = [
            telling.message_id,
            telling.mark.bucket,
            str(telling.mark.number),
            MARK_SECONDS * 1000,
            telling.record,
            int(telling.has_followers),
            orjson.dumps(told),
        ]
        return _ANSWERS[int(await self._writes.add(arguments))]

    async def finished(self, mark: Mark) -> None:
        """What followed from an event is done."""
        await scripts.answer_of(self._redis.hdel(_OPEN, mark.name))
