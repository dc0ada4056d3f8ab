"""What functions read and put: the content of a message as GetRawMessageContent and PutRawMessageContent have it.

Theory of operation (the fields are explained in lua/flow.lua)
1. begin: before a function is called, the content that it is called for is stored under a name of its own and a script
   enters it. A sync call opens a run: the working copy is that content again, whatever an earlier try had put, and the
   time of the run begins. A call that changes nothing only makes sure that there is something to read.
2. put: begin_put answers in one step which run is open and what an update is compared with. Then the new content is
   stored under a fresh name, and one script makes it the latest one. It counts as well when the run in which the put
   began is still the last one and open: fetching and storing take time, and a put that was begun before a run, or in
   the try before, was made of another content. Of two at once the later script wins, wholly.
3. end: the run is closed and what counted is handed over; the caller freezes a copy (Spool.update_content) and writes
   it into the verdict. A put that comes later is kept and read, and changes nothing about the mail.
4. read: the latest content, or the message's own while it is in the spool. What was stored here outlives the message:
   it stays until the access ends, `access_seconds` after the acceptance, or with the last run when that is later.
5. tidy: removes what is past its access, and now and then contents that no record names.
A crash between storing and the script leaves a content that nobody names: tidy finds it when it is too old for any
access. One between the script and the removal of what it replaced leaves the same. One between end and the verdict
is a call that was not answered: the next try begins anew.
Each run has a token of its own: a try whose lease was lost cannot close the next one's, not in the same process.
Invariant: a record names only contents that are there, at most three of them. These are never the spool's own
contents: another folder, another prefix, other names; the spool's collector does not see them.
"""

import hashlib
import re
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from spool import keys, scripts
from spool.content import ContentMissing, ContentStore, ContentUnavailable
from spool.records import Message
from spool.states import Place
from spool.store import Spool

Put = Literal["counts", "kept", "frozen", "unknown"]

# A content that is replaced while a reader is about to open it makes him look again.
_TRIES = 5
_AT_ONCE = 200
# A put that has stored its content reaches its script long before this.
_GRACE_SECONDS = 3600.0
# Listing the contents costs: once in this time for the whole cluster.
_LIST_SECONDS = 6 * 3600
_PIECE_BYTES = 64 * 1024

_CONTENT_NAME = re.compile(r"(?P<message_id>[a-z0-9-]+)-f(?P<mark>[0-9a-f]{8})")
_PUTS: dict[bytes, Put] = {b"counts": "counts", b"kept": "kept", b"unknown": "unknown"}


@dataclass(frozen=True, slots=True)
class Reading:
    """A content on its way to a reader, who closes `chunks` if he does not read them to the end."""

    size_bytes: int
    chunks: AsyncGenerator[bytes, None]


@dataclass(frozen=True, slots=True)
class BegunPut:
    """How a message stood when a put began."""

    message_id: str
    #: Token of the run that was open; "" = none was, and the put is kept at most.
    run: str
    #: Of the content that the update is compared with.
    size_bytes: int
    #: Where it is; None = as accepted, in the spool.
    base: "_Stored | None"


@dataclass(frozen=True, slots=True)
class _Stored:
    """A content of a message in this store: `mark:size` in the record."""

    message_id: str
    mark: str
    size_bytes: int

    @property
    def name(self) -> str:
        return f"{self.message_id}-f{self.mark}"

    @property
    def entry(self) -> str:
        return f"{self.mark}:{self.size_bytes}"

    @classmethod
    def of(cls, message_id: str, entry: bytes) -> "_Stored":
        mark, _, size = entry.decode().partition(":")
        return cls(message_id, mark, int(size))


@dataclass(frozen=True, slots=True)
class _Record:
    """What functions were given and did, at one moment."""

    #: When the access ends, ms; 0 = it has, or there is no record.
    ends_ms: int
    base: _Stored | None
    latest: _Stored | None
    #: Token of the run that is open; "" = none is.
    run: str
    is_frozen: bool


def is_frozen(message: Message) -> bool:
    """Whether no function may change it: our own bounces, and mail that a rule sends to somebody else altogether."""
    replaced = message.verdict.replaced if message.verdict else {}
    return message.door == "bounce" or len(replaced) >= len(message.envelope)


class MessageFlow:
    """What functions may read and put, for all processes. One object a process.

    Every method raises StoreUnavailable or ContentUnavailable; repeating it is harmless. The runs of one message
    follow each other: a second one that begins closes the first.
    """

    def __init__(self, spool: Spool, contents: ContentStore, access_seconds: float) -> None:
        self._spool = spool
        self._contents = contents
        self._access_ms = int(access_seconds * 1000)

    async def close(self) -> None:
        """Ends the connections of the contents."""
        await self._contents.close()

    async def begin(
        self, message: Message, content: bytes, *, invocation_id: str, seconds: float, is_sync: bool
    ) -> str:
        """Before a function is called with `content`; a sync one may put another for so many seconds.

        Returns the token of this run, for `end`; "" for a call that opens none.
        """
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        run = f"{invocation_id}:{secrets.token_hex(16)}" if is_sync else ""
        about = (
            message.accepted_at_ms + self._access_ms,
            int(seconds * 1000),
            run,
            "1" if is_frozen(message) else "",
        )
        fresh = ""
        while True:
            is_done, *unneeded = await scripts.FLOW_BEGIN(
                self._spool.redis, [message.message_id, digest, fresh, *about]
            )
            if is_done:
                await self._remove(message.message_id, unneeded)
                return run
            fresh = (await self._store(message.message_id, content)).entry

    async def end(self, message_id: str, run: str) -> bytes | None:
        """After the call: what was put during this run; None = nothing, or another run has begun."""
        entry = await scripts.FLOW_END(self._spool.redis, [message_id, run])
        if not entry:
            return None
        return await self._contents.get(self._reference(_Stored.of(message_id, entry)))

    async def read(self, message_id: str) -> Reading | None:
        """The latest content; None = there is no such message, or the access to it is over."""
        if not keys.is_message_id(message_id):
            return None
        for _ in range(_TRIES):
            try:
                return await self._opened(message_id)
            except ContentMissing:  # replaced, or the message ended, since it was looked up
                continue
        return await self._opened(message_id)

    async def begin_put(self, message_id: str) -> BegunPut | None:
        """How the message stands, asked before the new content is fetched; None = unknown, or the access is over."""
        if not keys.is_message_id(message_id):
            return None
        record = await self._record(message_id)
        if record.base:
            return BegunPut(message_id, record.run, record.base.size_bytes, record.base) if record.ends_ms else None
        message = await self._in_reach(message_id)
        if message is None or message.place is Place.DONE:
            return None
        return BegunPut(message_id, record.run, message.size_bytes, None)

    async def original_of(self, begun: BegunPut) -> bytes:
        """What the update is compared with. Raises ContentMissing when another took its place since."""
        if begun.base:
            return await self._contents.get(self._reference(begun.base))
        message = await self._in_reach(begun.message_id)
        if message is None or (not message.content_ref and message.content is None):
            raise ContentMissing("the message has ended")
        return await self._spool.content_of(message)

    async def put(self, message_id: str, content: bytes, begun: BegunPut | None = None) -> Put:
        """Another content, checked by the caller; without `begun` the put begins now.

        counts: it is what will be sent; kept: it is read from now on, the mail goes as it is or has gone; frozen: this
        message may not be changed; unknown: there is none, or the access to it is over.
        """
        if not keys.is_message_id(message_id):
            return "unknown"
        record = await self._record(message_id)
        message = (await self._spool.load_summaries([message_id])).get(message_id)
        if message is None and not record.ends_ms:
            return "unknown"
        if record.is_frozen or (message and is_frozen(message)):
            return "frozen"
        ends_ms = message.accepted_at_ms + self._access_ms if message else record.ends_ms
        run = begun.run if begun else record.run
        stored = await self._store(message_id, content)
        said, *unneeded = await scripts.FLOW_PUT(self._spool.redis, [message_id, stored.entry, ends_ms, run])
        await self._remove(message_id, unneeded)
        return _PUTS[said]

    async def tidy(self, now: float) -> int:
        """Removes what is past its access and returns how many contents; `now` in epoch seconds."""
        removed = 0
        while rows := await scripts.FLOW_TIDY(self._spool.redis, [_AT_ONCE]):
            for message_id, *names in rows:
                await self._remove(message_id.decode(), names)
                removed += len(names)
        lock = keys.lock_key("flow-contents")
        if not await scripts.answer_of(self._spool.redis.set(lock, "1", nx=True, ex=_LIST_SECONDS)):
            return removed
        try:
            return removed + await self._remove_leftovers(now)
        except BaseException:
            await scripts.answer_of(self._spool.redis.delete(lock))
            raise

    # -- records

    async def _record(self, message_id: str) -> _Record:
        # One HMGET is one moment. No MULTI: a full server refuses it.
        pipeline = self._spool.redis.pipeline(transaction=False)
        pipeline.time()
        pipeline.hmget(keys.flow_key(message_id), ["end", "base", "latest", "run", "until", "fz"])
        (seconds, micros), (end, base, latest, run, until, frozen) = await scripts.answer_of(pipeline.execute())
        now_ms = seconds * 1000 + micros // 1000
        return _Record(
            ends_ms=int(end) if int(end or 0) > now_ms else 0,
            base=_Stored.of(message_id, base) if base else None,
            latest=_Stored.of(message_id, latest) if latest else None,
            run=run.decode() if run and int(until or 0) > now_ms else "",
            is_frozen=bool(frozen),
        )

    # -- contents

    def _reference(self, stored: _Stored) -> str:
        return self._contents.reference_of(stored.name)

    async def _store(self, message_id: str, content: bytes) -> _Stored:
        stored = _Stored(message_id, secrets.token_hex(4), len(content))
        await self._contents.put(stored.name, content)
        return stored

    async def _remove(self, message_id: str, entries: Sequence[bytes]) -> None:
        """What fails is left to tidy."""
        for entry in entries:
            with suppress(ContentUnavailable):
                await self._contents.delete(self._reference(_Stored.of(message_id, entry)))

    async def _opened(self, message_id: str) -> Reading | None:
        record = await self._record(message_id)
        if record.latest and not record.ends_ms:
            return None
        if record.latest:
            return await _begun(record.latest.size_bytes, self._contents.stream(self._reference(record.latest)))
        message = await self._in_reach(message_id)
        if message is None:
            return None
        if not message.content_ref:
            return None if message.content is None else Reading(len(message.content), _pieces(message.content))
        try:
            return await _begun(message.size_bytes, self._spool.contents.stream(message.content_ref))
        except ContentMissing:
            if message.place is Place.DONE:
                return None
            raise

    async def _in_reach(self, message_id: str) -> Message | None:
        """The message in the spool, while the access to it is not over."""
        message = await self._spool.load(message_id, with_content=True)
        if message is None:
            return None
        seconds, micros = await scripts.answer_of(self._spool.redis.time())
        is_over = message.accepted_at_ms + self._access_ms <= seconds * 1000 + micros // 1000
        return None if is_over else message

    async def _remove_leftovers(self, now: float) -> int:
        """Contents of crashes: older than any access that was given when they were stored, and in no record."""
        age_seconds = self._access_ms / 1000 + _GRACE_SECONDS
        found = [one async for one in self._contents.older_than(age_seconds, now)]
        removed = 0
        for start in range(0, len(found), _AT_ONCE):
            group = found[start : start + _AT_ONCE]
            pipeline = self._spool.redis.pipeline(transaction=False)
            owners = [(_CONTENT_NAME.fullmatch(name), reference) for name, reference in group]
            ours = [(match, reference) for match, reference in owners if match]
            for match, _ in ours:
                pipeline.hmget(keys.flow_key(match["message_id"]), ["base", "latest", "put"])
            rows = await scripts.answer_of(pipeline.execute())
            for (match, reference), row in zip(ours, rows, strict=True):
                if match["mark"] not in {entry.decode().partition(":")[0] for entry in row if entry}:
                    await self._contents.delete(reference)
                    removed += 1
        return removed


async def _begun(size_bytes: int, chunks: AsyncGenerator[bytes, None]) -> Reading:
    """Its first piece is read here, so that a content that is missing is known before anything was answered."""
    first = await anext(chunks, b"")
    return Reading(size_bytes, _chained(first, chunks))


async def _chained(first: bytes, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    try:
        if first:
            yield first
        async for piece in chunks:
            yield piece
    finally:
        await chunks.aclose()


async def _pieces(content: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(content), _PIECE_BYTES):
        yield content[start : start + _PIECE_BYTES]
