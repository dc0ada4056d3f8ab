"""Events of SES that wait in the spool until they are applied.

Who puts them there: POST /feedback/sns, which may answer 200 once an event is here and applies nothing itself; and the
readers of feedback, with an event about a send that is not known yet. Who takes them out: the process `mailsluice
feedback` (worker/feedback/inbox_reader.py).

Guarantees: an event that was kept is taken again and again until it is removed; the same event put twice waits once.
A crash between taking and removing shows it again after a while. It is bounded, and a full server refuses new ones:
whoever puts has then to leave the event where it came from. Events about unknown sends, mostly mail of others who use
the account, have a smaller bound of their own: beyond it the oldest are given up as foreign.
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
#: Of them, those about sends that are not known: the rest is for ours, whatever others mail.
MOST_UNKNOWN = 5_000
#: Taken and not removed, an event is shown again after this time.
SHOWN_AGAIN_SECONDS = 30.0

INBOX = KEY_PREFIX + "inbox"
_OWN = KEY_PREFIX + "inbox-own"

_BEFORE = ("prelude", "inbox")
_KEEP = scripts.Script("feedback_keep", before=_BEFORE)
_INBOX = scripts.Script("feedback_inbox", before=_BEFORE)


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
    is_unknown: bool


class FeedbackInbox:
    """All access to it. One object a process."""

    def __init__(
        self, redis: aioredis.Redis, *, most_events: int = MOST_EVENTS, most_unknown: int = MOST_UNKNOWN
    ) -> None:
        self._redis = redis
        self._most_events = most_events
        self._most_unknown = most_unknown
        self._keeps = GroupCommit(self._keep_group, size_of=lambda one: len(one.event))

    async def keep(self, event: bytes, *, after_seconds: float = 0, is_unknown: bool = False) -> None:
        """Returns when the event is safe; it is looked at after this time. `is_unknown`: nobody knows its send.

        Raises StoreUnavailable (perhaps kept: repeat), StoreFull or NoRoom (not kept).
        """
        digest = hashlib.blake2b(event, digest_size=12).hexdigest()
        if not await self._keeps.add(_Kept(digest, event, int(after_seconds * 1000), is_unknown)):
            raise NoRoom("too many events of SES wait to be applied")

    async def _keep_group(self, group: Sequence[_Kept]) -> list[bool]:
        arguments: list[scripts.Argument] = [self._most_events, self._most_unknown]
        for one in group:
            arguments += [one.id, one.event, one.after_ms, int(one.is_unknown)]
        return [bool(kept) for kept in await _KEEP(self._redis, arguments)]

    async def take(self, limit: int) -> list[Waiting]:
        """Some whose time has come; until they are removed or put off nobody else gets them for a while."""
        now_ms, *rows = await _INBOX(self._redis, ["take", limit, int(SHOWN_AGAIN_SECONDS * 1000)])
        return [_waiting(id_, raw, int(now_ms)) for id_, raw in zip(rows[::2], rows[1::2], strict=True)]

    async def put_off(self, ids: Sequence[str], seconds: float) -> None:
        """They are looked at again after this time."""
        if ids:
            await _INBOX(self._redis, ["later", int(seconds * 1000), *ids])

    async def park_unknown(self, ids: Sequence[str], seconds: float) -> None:
        """They are about sends that nobody knows, and are looked at again after this time."""
        if ids:
            await _INBOX(self._redis, ["unknown", int(seconds * 1000), self._most_unknown, *ids])

    async def oldest_at_ms(self) -> int | None:
        """Since when the oldest has been here that is not applied and may be ours, hidden ones too; None = no such."""
        oldest = await scripts.answer_of(self._redis.zrange(_OWN, 0, 0, withscores=True))
        return int(oldest[0][1]) if oldest else None

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
