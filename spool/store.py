"""The spool: every message from the moment a door took it until its end is known.

Theory of operation (the places are in states.py, the scripts in lua/)
1. accept: large contents first (content.py), then one script for a group of messages. When it answers, the append
   log is on the disk (safety.py watches that) and the door may say OK. Repeating an accept is harmless.
2. claim: due → leased, with a fence number one higher than ever before. The claimer gets the whole message.
3. settle: the holder writes an intent, an outcome, or the end. Every settlement carries its fence; a holder whose
   lease was taken writes nothing.
4. A holder that is silent too long loses its lease in sweep; the message is due again and the next claim sees
   attempts without an outcome: calls that may or may not have been made.
5. parked messages wake by sweep, held ones by an operator's release, and an operator may drop both; finished ones
   are forgotten after a while.
6. intend: an intent whose recipients are taken from the route's limits in the same transaction, or nothing is
   written. What is denied is settled to the queue of its lane and comes back by the gate (sending_quota.py).
7. confirm: SES's own event closes an attempt whose answer nobody got.
A crash between any two of these leaves the message in exactly one place. Only the server's clock counts.
Every call may be repeated after StoreUnavailable: accept and settle recognise what was written before, the others
find nothing left to do.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import orjson
from redis import asyncio as aioredis

from spool import keys, scripts
from spool.content import ContentStore, ContentUnavailable, update_name
from spool.event_headers import sent_headers
from spool.group_commit import GroupCommit
from spool.records import Lease, Message, NewMessage, Settlement
from spool.routes import NUDGE_MS, RouteStore, denied_of
from spool.rows import accept_arguments, message_of, pairs, settlement_row, summary_fields
from spool.sending_quota import Denied, Granted, Lost, Take
from spool.states import RecipientState

# Not the whole of a nudge's time: a task that has just been fetched claims its messages within the rest.
EAGER_MS = 900
# So long a commit that was given up is refused should it arrive after all.
WITHDRAWN_MS = 3600 * 1000

_CONFIRMED: dict[int, Literal["noted", "known", "unknown"]] = {1: "noted", 0: "known", -1: "unknown"}


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message and the right to work on it."""

    message: Message
    lease: Lease


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one sweep found."""

    lease_ended: tuple[str, ...]
    held: tuple[str, ...]
    woken: int
    #: (message_id, crashes) that need a nudge.
    to_nudge: tuple[tuple[str, int], ...]
    due: int


@dataclass(frozen=True, slots=True)
class _Commit:
    """A message on its way into the spool: encoded before it joins a group, so that a fault is its caller's alone."""

    arguments: tuple[scripts.Argument, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Write:
    """A settlement on its way, encoded likewise."""

    row: bytes
    contents: tuple[bytes, ...]


class Spool(RouteStore):
    """All access to messages. One object a process, built at its start and passed on."""

    def __init__(
        self,
        redis: aioredis.Redis,
        contents: ContentStore,
        *,
        inline_content_bytes: int,
        keep_finished_seconds: float,
        lease_seconds: float,
        keep_headers_seconds: float = 0.0,
    ) -> None:
        self.redis = redis
        self.contents = contents
        self.lease_seconds = lease_seconds
        self._inline_content_bytes = inline_content_bytes
        self._keep_ms = int(keep_finished_seconds * 1000)
        self._keep_head_ms = int(keep_headers_seconds * 1000)
        #: Whether the server is above its mark (safety.py), as this process knows it: then headers of finished messages
        #: are not kept, so that every message that is finished makes room.
        self.is_full = False
        self._accepts = GroupCommit(self._accept_group, size_of=lambda commit: commit.size_bytes, drops_cancelled=True)
        self._settles = GroupCommit(self._settle_group)

    async def close(self) -> None:
        """Waits for the writes under way, then ends the connections."""
        await self._accepts.drain()
        await self._settles.drain()
        await self.contents.close()
        await self.redis.aclose()

    # -- doors

    async def accept(self, message: NewMessage) -> str:
        """Returns when the message is safe: its id, or that of the earlier message that it repeats (idempotency.py).

        Raises StoreUnavailable (perhaps done: repeat or withdraw), StoreFull or ContentUnavailable (not done).
        """
        is_inline = len(message.content) <= self._inline_content_bytes
        reference = "" if is_inline else await self.contents.put(message.message_id, message.content)
        arguments = accept_arguments(message, reference)
        try:
            taken = await self._accepts.add(_Commit(arguments, len(message.content) if is_inline else 0))
        except scripts.StoreFull:
            if await self.load(message.message_id) is None:  # an earlier try may have been committed with it
                await self._delete_content(reference)
            raise
        if taken is None:
            raise scripts.StoreUnavailable("the message was withdrawn")
        if taken:
            await self._delete_content(reference)
        return taken or message.message_id

    async def withdraw(self, message_ids: Sequence[str]) -> list[bool]:
        """Takes back messages whose accept ended without an answer; True = it had been taken and is gone.

        A commit that arrives later is refused.
        """
        return [bool(one) for one in await scripts.WITHDRAW(self.redis, [WITHDRAWN_MS, *message_ids])]

    async def _accept_group(self, group: Sequence[_Commit]) -> list[str | None]:
        """For each "" = it is in the spool, the id of the message that it repeats, or None = it was withdrawn."""
        arguments: list[scripts.Argument] = [NUDGE_MS]
        for commit in group:
            arguments += commit.arguments
        answers = await scripts.ACCEPT(self.redis, arguments)
        return [one.decode() if isinstance(one, bytes) else "" if one >= 0 else None for one in answers]

    # -- workers

    async def claim(self, message_ids: Sequence[str], worker: str) -> list[Claimed]:
        """Leases those of the messages that are due."""
        asked_at = time.monotonic()  # before the server's clock reading, so that our deadline is the earlier one
        rows = await scripts.CLAIM(self.redis, [worker, int(self.lease_seconds * 1000), *message_ids])
        deadline = asked_at + self.lease_seconds
        return [
            Claimed(message_of(id_.decode(), pairs(fields)), Lease(id_.decode(), fence, deadline))
            for id_, fence, fields in rows
        ]

    async def renew(self, leases: Sequence[Lease]) -> list[Lease | None]:
        """Prolongs leases by a full term; None for each one that is lost."""
        asked_at = time.monotonic()
        arguments: list[scripts.Argument] = [int(self.lease_seconds * 1000)]
        for lease in leases:
            arguments += [lease.message_id, lease.fence]
        kept = await scripts.RENEW(self.redis, arguments)
        deadline = asked_at + self.lease_seconds
        return [
            Lease(lease.message_id, lease.fence, deadline) if one else None
            for lease, one in zip(leases, kept, strict=True)
        ]

    async def settle(self, settlement: Settlement) -> bool:
        """Writes a settlement; False when the lease was lost and nothing (but a late answer) was written.

        The same settlement sent again, because its answer did not arrive, is written once.
        """
        return isinstance(await self._settled(settlement, None), Granted)

    async def intend(self, settlement: Settlement, take: Take) -> Granted | Denied | Lost:
        """Writes an intent and takes its recipients, both or neither. A repeat of what was granted takes nothing."""
        return await self._settled(settlement, take)

    async def _settled(self, settlement: Settlement, take: Take | None) -> Granted | Denied | Lost:
        row = settlement_row(
            settlement, keep_ms=self._keep_ms, nudge_ms=NUDGE_MS, keep_head_ms=self._headers_ms, take=take
        )
        return await self._settles.add(_Write(row, tuple(spawned.content for spawned in settlement.spawned)))

    @property
    def _headers_ms(self) -> int:
        return 0 if self.is_full else self._keep_head_ms

    async def _settle_group(self, group: Sequence[_Write]) -> list[Granted | Denied | Lost]:
        contents = [content for write in group for content in write.contents]
        rows = b"[" + b",".join(write.row for write in group) + b"]"
        answers = await scripts.SETTLE(self.redis, [rows, *contents])
        return [denied_of(one) if isinstance(one, list) else Granted() if one else Lost() for one in answers]

    async def content_of(self, message: Message) -> bytes:
        """The message's bytes. Raises ContentUnavailable."""
        if message.content_ref:
            return await self.contents.get(message.content_ref)
        return message.content or b""

    async def forget_content(self, message: Message) -> None:
        """After the end is written: removes stored contents; what fails is left to the collector."""
        await self._delete_content(message.content_ref)
        for reference in message.verdict.content_refs if message.verdict else ():
            await self._delete_content(reference)

    async def update_content(self, message_id: str, content: bytes) -> str:
        """Keeps what a function made of a message safely, for Part.content_ref; the same content has the same place.

        Raises ContentUnavailable.
        """
        return await self.contents.put(update_name(message_id, content), content)

    async def _delete_content(self, reference: str) -> None:
        if reference:
            with suppress(ContentUnavailable):
                await self.contents.delete(reference)

    async def sweep(self, *, limit: int, max_crashes: int, nudges: int, is_queue_empty: bool = False) -> Sweep:
        """Does what time brings, for at most `limit` messages of each kind; `nudges` = ids wanted.

        With an empty queue there is no nudge to wait for: what is due gets one at once.
        """
        slack_ms = EAGER_MS if is_queue_empty else 0
        arguments = [limit, max_crashes, NUDGE_MS, nudges, slack_ms]
        ended, held, woken, nudge, due = await scripts.SWEEP(self.redis, arguments)
        pairs = [(nudge[n].decode(), int(nudge[n + 1])) for n in range(0, len(nudge), 2)]
        return Sweep(_texts(ended), _texts(held), woken, tuple(pairs), due)

    async def release(self, message_ids: Sequence[str]) -> list[bool]:
        """Parked or held messages become due; False for each that was in neither place."""
        return [bool(one) for one in await scripts.RELEASE(self.redis, [NUDGE_MS, *message_ids])]

    async def confirm(
        self, message_id: str, attempt_number: int, ses_message_id: str, at_ms: int
    ) -> Literal["noted", "known", "unknown"]:
        """SES's own event says that it took this call.

        noted: nobody knew, and the message goes on if it waited for that; known: its outcome is written already;
        unknown: there is no such message, or no such attempt.
        """
        if not keys.is_message_id(message_id):
            return "unknown"
        index = keys.index_of(ses_message_id)
        answer = await scripts.CONFIRM(self.redis, [message_id, int(attempt_number), ses_message_id, int(at_ms), index])
        return _CONFIRMED[int(answer)]

    async def feedback_seen(self, source: str, position: str, seen_at_ms: int) -> None:
        """SES's events of a source have been read up to this position.

        `seen_at_ms` is the server's clock when a read began that came to the end of the source, else 0.
        """
        await scripts.FEEDBACK(self.redis, [source, position, int(seen_at_ms)])

    async def feedback_seen_at_ms(self) -> int:
        """When a source was last read to its end, by the server's clock; 0 = never."""
        return int(await scripts.answer_of(self.redis.hget(keys.FEEDBACK, "seen_at_ms")) or 0)

    async def feedback_position(self, source: str) -> str:
        """Where the reader of a source stopped; "" = it never began."""
        position = await scripts.answer_of(self.redis.hget(keys.FEEDBACK, "position:" + source))
        return (position or b"").decode()

    async def drop(
        self,
        message: Message,
        states: Sequence[RecipientState],
        *,
        reason: str,
        events: Sequence[bytes] = (),
        counts: Mapping[str, int],
    ) -> bool:
        """Ends a parked or held message with these states of its recipients and removes its content.

        False, and nothing is written, when it is in neither place or is not any more as `message` has it.
        """
        accepted = sum(attempt.outcome == "accepted" for attempt in message.attempts)
        before, after, counters = "".join(message.states), "".join(states), orjson.dumps(dict(counts))
        assert len(before) == len(after)
        keep = (self._keep_ms, self._headers_ms)
        arguments: list[scripts.Argument] = [message.message_id, before, accepted, after, reason, *keep]
        is_done = bool(await scripts.DROP(self.redis, [*arguments, counters, *events]))
        if is_done:
            await self.forget_content(message)
        return is_done

    # -- looking

    async def load(self, message_id: str, *, with_content: bool = False) -> Message | None:
        """One message, None when it is unknown or forgotten."""
        fields = await scripts.answer_of(self.redis.hgetall(keys.message_key(message_id)))
        if not fields:
            return None
        message = message_of(message_id, fields)
        if with_content or message.content is None:
            return message
        return message_of(message_id, {name: value for name, value in fields.items() if name != b"c"})

    async def load_summaries(self, message_ids: Sequence[str]) -> dict[str, Message]:
        """Many messages without attempts, contents and counts, by id; unknown ones are absent."""
        rows = await scripts.SUMMARIES(self.redis, message_ids)
        return {
            message_id: message_of(message_id, summary_fields(row))
            for message_id, row in zip(message_ids, rows, strict=True)
            if row
        }

    async def load_for_events(self, message_ids: Sequence[str]) -> dict[str, tuple[Message, bytes, bool]]:
        """As load_summaries, with the header section as the sender wrote it and whether it was cut to 10 KB.

        b"" = it is not kept any more.
        """
        found: dict[str, tuple[Message, bytes, bool]] = {}
        for message_id, row in zip(message_ids, await scripts.FOR_EVENTS(self.redis, message_ids), strict=True):
            if row:
                message = message_of(message_id, summary_fields(row[:-1]))
                found[message_id] = (message, *sent_headers(row[-1], message_id))
        return found

    async def find(self, any_id: str) -> Message | None:
        """By any of the three ids, with or without the angle brackets of a header."""
        bare = any_id.strip().removeprefix("<").removesuffix(">")
        if keys.is_message_id(bare) and (message := await self.load(bare)):
            return message
        # SES's ids also travel as header Message-ID: <ses_message_id@email.amazonses.com>
        candidates = [bare, bare.partition("@")[0]]
        for found in await scripts.FIND(self.redis, [keys.index_of(candidate) for candidate in candidates]):
            if found and (message := await self.load(found.decode())):
                return message
        return None


def _texts(raw: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(one.decode() for one in raw)
