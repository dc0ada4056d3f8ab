"""Events of SES that wait in the spool until they are applied.

Who puts them there: POST /feedback/sns, which may answer 200 once an event is here and applies nothing itself; and the
readers of feedback, with an event about a send that is not known yet. Who takes them out: the process `mailsluice
feedback` (worker/feedback/inbox_reader.py).

Guarantees: an event that was kept is taken again and again until it is removed; the same event put twice waits once.
A crash between taking and removing shows it again after a while. It is bounded, and a full server refuses new ones:
whoever puts has then to leave the event where it came from.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from redis import asyncio as aioredis

from config.queues import KEY_PREFIX
from spool import scripts
from spool.group_commit import GroupCommit

#: Events that wait at most.
MOST_EVENTS = 20_000
#: Taken and not removed, an event is shown again after this time.
SHOWN_AGAIN_SECONDS = 30.0

INBOX = KEY_PREFIX + "inbox"

_KEEP = scripts.Script("feedback_keep", before=("prelude",))
_INBOX = scripts.Script("feedback_inbox", before=("prelude",))


class NoRoom(scripts.StoreFull):
    """So many events wait that no more are taken."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event that waits."""

    id: str
    #: SES's JSON, out of whatever it was wrapped in.
    event: bytes = field(repr=False)
    #: How long it has been here.
    age_seconds: float


@dataclass(frozen=True, slots=True)
class _Kept:
    id: str
    event: bytes
    after_ms: int


class FeedbackInbox:
    """All access to it. One object a process."""

    def __init__(self, redis: aioredis.Redis, *, most_events: int = MOST_EVENTS) -> None:
        self._redis = redis
        self._most_events = most_events
        self._keeps = GroupCommit(self._keep_group, size_of=lambda one: len(one.event))

    async def keep(self, event: bytes, *, after_seconds: float = 0) -> None:
        """Returns when the event is safe; it is looked at after this time.

        Raises StoreUnavailable (perhaps kept: repeat), StoreFull or NoRoom (not kept).
        """
        digest = hashlib.blake2b(event, digest_size=12).hexdigest()
        if not await self._keeps.add(_Kept(digest, event, int(after_seconds * 1000))):
            raise NoRoom("too many events of SES wait to be applied")

    async def _keep_group(self, group: Sequence[_Kept]) -> list[bool]:
        arguments: list[scripts.Argument] = [self._most_events]
        for one in group:
            arguments += [one.id, one.event, one.after_ms]
        return [bool(kept) for kept in await _KEEP(self._redis, arguments)]

    async def take(self, limit: int) -> list[Waiting]:
        """Some whose time has come; until they are removed or put off nobody else gets them for a while."""
        now_ms, *rows = await _INBOX(self._redis, ["take", limit, int(SHOWN_AGAIN_SECONDS * 1000)])
        return [_waiting(id_, raw, int(now_ms)) for id_, raw in zip(rows[::2], rows[1::2], strict=True)]

    async def put_off(self, ids: Sequence[str], seconds: float) -> None:
        """They are looked at again after this time."""
        if ids:
            await _INBOX(self._redis, ["later", int(seconds * 1000), *ids])

    async def remove(self, ids: Sequence[str]) -> None:
        """They are applied, or never will be."""
        if ids:
            await _INBOX(self._redis, ["done", *ids])

    async def waiting(self) -> int:
        """How many there are."""
        return int(await scripts.answer_of(self._redis.zcard(INBOX)))


def _waiting(id_: bytes, raw: bytes, now_ms: int) -> Waiting:
    since_ms, _, event = raw.partition(b" ")
    return Waiting(id_.decode(), event, max(0.0, (now_ms - int(since_ms)) / 1000))
