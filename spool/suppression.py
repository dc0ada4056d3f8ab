"""The suppression list: addresses that are not mailed any more, why, since when and until when.

Theory of operation (the scripts are in lua/suppression*.lua)
1. An address is compared as a whole in lower case, as SES does. What feedback tells adds to what is known of it: the
   later instant, the longer keep, and a complaint stays a complaint. What an operator or the API says replaces it.
2. An entry with an end does not count after it; it is removed some time later (tidy).
3. Whoever asks about recipients asks first whether there is anything at all, and that answer holds for a second: as
   long as the list is empty nothing is asked for a message or a recipient.
4. The account's own list (worker/suppression_sync.py): a second set has those entries that it was seen to have. What
   is removed here is remembered until it was removed there, so that it does not come back from there.
Crash at any point: every act is one script. Doing it twice changes nothing.
"""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

import idna
import orjson
from redis import asyncio as aioredis

from config.queues import KEY_PREFIX
from spool import scripts

Reason = Literal["BOUNCE", "COMPLAINT"]
#: Who put it there: SES's events, the account's own list, an operator, a caller of the API.
Source = Literal["feedback", "ses", "operator", "api"]
SOURCES: Final[tuple[Source, ...]] = ("feedback", "ses", "operator", "api")
REASONS: Final[tuple[Reason, ...]] = ("BOUNCE", "COMPLAINT")

#: So long the answer holds that the list is empty, or is not.
LOOK_SECONDS: Final = 1.0
#: Addresses that one call of a script is about at most.
_STEP: Final = 500
# RFC 5321: 64 characters, an @, 255.
_LONGEST_ADDRESS: Final = 320
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*+"')
_NOT_PLAIN: Final = re.compile(r'[\s<>()\[\],;:"\\@]')

#: Hash: the list.
ROWS: Final = KEY_PREFIX + "suppressed"
_THERE: Final = KEY_PREFIX + "suppressed-there"
_GONE: Final = KEY_PREFIX + "suppressed-gone"

_BEFORE: Final = ("prelude", "suppression")
_ENTER = scripts.Script("suppression_enter", before=_BEFORE)
_REMOVE = scripts.Script("suppression_remove", before=_BEFORE)
_AMONG = scripts.Script("suppression_among", before=_BEFORE)
_LIST = scripts.Script("suppression_list", before=_BEFORE)
_TIDY = scripts.Script("suppression_tidy", before=_BEFORE)
_THERE_SCRIPT = scripts.Script("suppression_there", before=_BEFORE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One address that is not mailed."""

    address: str
    reason: Reason
    source: Source
    #: When it was entered or last heard of again.
    at_ms: int
    #: Our id of the message that it is about, and SES's id of what it told; "" = none.
    message_id: str = ""
    feedback_id: str = ""
    #: 0 = until it is removed.
    ends_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class NewEntry:
    """What is to be on the list."""

    address: str
    reason: Reason
    source: Source
    #: 0 = now, by the server's clock.
    at_ms: int = 0
    message_id: str = ""
    feedback_id: str = ""
    #: 0 = until it is removed.
    keep_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list, oldest first."""

    entries: tuple[Entry, ...]
    #: Where the next part begins; None = this was the last.
    after: tuple[int, str] | None


def address_key(address: str) -> str:
    """How an address is compared: in lower case, its domain as DNS has it. "" for what is no address."""
    bare = address.strip()
    local_part, at, domain = bare.rpartition("@")
    if not (local_part and at and domain and bare.isprintable()) or len(bare) > _LONGEST_ADDRESS:
        return ""
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            return ""
    try:
        return f"{local_part}@{domain}".encode().decode().lower()
    except UnicodeError:  # half of a character: nothing that mail could have
        return ""


def is_address(text: str) -> bool:
    """Whether somebody may enter it: an address and nothing else, no name and no brackets beside it."""
    local_part, _, domain = address_key(text).rpartition("@")
    is_plain = _QUOTED.fullmatch(local_part) or not _NOT_PLAIN.search(local_part)
    return bool(local_part and is_plain and not _NOT_PLAIN.search(domain.strip("[]").replace(":", "")))


class Suppression:
    """All access to the list. One object a process, as it remembers for a second whether there is anything."""

    def __init__(self, redis: aioredis.Redis, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.redis = redis
        self._clock = clock
        self._looked_at = float("-inf")
        self._is_empty = False
        self._look: asyncio.Task[None] | None = None

    # -- entering and removing

    async def enter(
        self,
        address: str,
        reason: Reason,
        source: Source = "feedback",
        *,
        at_ms: int = 0,
        message_id: str = "",
        feedback_id: str = "",
        keep_seconds: float = 0,
    ) -> bool:
        """What feedback told about an address; True = it is new on the list. May be repeated.

        Raises StoreUnavailable. False also for what is no address.
        """
        new = NewEntry(address, reason, source, at_ms, message_id, feedback_id, keep_seconds)
        return (await self._entered("news", [new]))[0] == 1

    async def put(self, entries: Sequence[NewEntry]) -> int:
        """What an operator or the API says: it replaces what is known. How many are new. Raises StoreUnavailable."""
        return (await self._entered("order", entries)).count(1)

    async def remove(self, addresses: Sequence[str]) -> list[bool]:
        """Takes addresses off; True for each that was on the list. Raises StoreUnavailable."""
        removed: list[bool] = []
        for part in _parts([address_key(one) for one in addresses]):
            removed += [bool(one) for one in await _REMOVE(self.redis, part)]
        return removed

    async def tidy(self) -> int:
        """Removes entries whose time is over; how many."""
        removed = 0
        while step := int(await _TIDY(self.redis, [_STEP])):
            removed += step
        return removed

    async def _entered(self, how: Literal["order", "news", "found"], entries: Sequence[NewEntry]) -> list[int]:
        rows = [_row(one) for one in entries]
        answers: list[int] = []
        for start in range(0, len(rows), _STEP):
            part = rows[start : start + _STEP]
            known = [row for row in part if row[0]]
            told = iter(await _ENTER(self.redis, [how, orjson.dumps(known)]) if known else ())
            answers += [int(next(told)) if row[0] else 0 for row in part]
        self._looked_at = float("-inf")
        return answers

    # -- looking

    @property
    def is_known_empty(self) -> bool:
        """Whether nobody need be asked now: the list was empty less than a second ago."""
        return self._is_empty and self._clock() - self._looked_at < LOOK_SECONDS

    async def is_empty(self) -> bool:
        """Whether there is no entry; asks at most once a second, however many want to know. Raises StoreUnavailable."""
        if self._clock() - self._looked_at >= LOOK_SECONDS:
            if self._look is None or self._look.done():
                self._look = asyncio.get_running_loop().create_task(self._looked())
                self._look.add_done_callback(_seen)  # who asked may have gone
            await asyncio.shield(self._look)
        return self._is_empty

    async def _looked(self) -> None:
        asked_at = self._clock()
        self._is_empty = not await scripts.answer_of(self.redis.exists(ROWS))
        self._looked_at = asked_at

    async def among(self, addresses: Sequence[str]) -> dict[str, Entry]:
        """Those of the addresses, as they were given, that are suppressed now. Raises StoreUnavailable."""
        found: dict[str, Entry] = {}
        by_key = [(one, key) for one in addresses if (key := address_key(one))]
        for start in range(0, len(by_key), _STEP):
            part = by_key[start : start + _STEP]
            names = [key for _, key in part]
            if not any(await scripts.answer_of(self.redis.hmget(ROWS, names))):
                continue  # nearly always, and for less than the script that knows the server's clock
            rows = await _AMONG(self.redis, names)
            found |= {given: _entry(key, raw) for (given, key), raw in zip(part, rows, strict=True) if raw}
        return found

    async def get(self, address: str) -> Entry | None:
        """What is known of an address. Raises StoreUnavailable."""
        return (await self.among((address,))).get(address)

    async def page(
        self,
        *,
        reasons: Sequence[Reason] = (),
        start_ms: int = 0,
        end_ms: int | None = None,
        after: tuple[int, str] | None = None,
        limit: int = 1000,
    ) -> Page:
        """A part of the list: entries of these reasons (none given = all) and instants. Raises StoreUnavailable.

        `limit` is at most 1,000. A part may have fewer although others follow. What is heard of again meanwhile may
        come twice.
        """
        reason = reasons[0] if len(set(reasons)) == 1 else ""
        from_ms, address = after or (start_ms, "")
        to_ms = "+inf" if end_ms is None else str(int(end_ms))
        end, last, *flat = await _LIST(self.redis, [int(from_ms), to_ms, address, reason, limit])
        entries = tuple(_entry(key.decode(), raw) for key, raw in zip(flat[::2], flat[1::2], strict=True))
        return Page(entries, (int(end), last.decode()) if end else None)

    # -- the account's own list

    async def found_there(self, entries: Sequence[NewEntry]) -> int:
        """The account's list has these now; how many are new here. Raises StoreUnavailable."""
        return (await self._entered("found", entries)).count(1)

    async def told_there(self, addresses: Sequence[str]) -> None:
        """The account's list was told to suppress them."""
        for part in _parts(addresses):
            await _THERE_SCRIPT(self.redis, ["has", *part])

    async def forgotten_there(self, addresses: Sequence[str]) -> None:
        """The account's list was told to forget them."""
        for part in _parts(addresses):
            await _THERE_SCRIPT(self.redis, ["lost", *part])

    async def forget_removals(self) -> None:
        """Nobody tells the account's list what is removed here: what it has comes back."""
        await scripts.answer_of(self.redis.delete(_GONE))

    async def unseen_there(self, since_ms: int) -> tuple[int, int]:
        """How many entries that the account's list had were not seen in it since then, and how many it had in all."""
        pipeline = self.redis.pipeline(transaction=False)
        pipeline.zcount(_THERE, "-inf", f"({int(since_ms)}")
        pipeline.zcard(_THERE)
        unseen, known = await scripts.answer_of(pipeline.execute())
        return int(unseen), int(known)

    async def remove_unseen(self, since_ms: int, *, only_from_there: bool) -> int:
        """Entries that the account's list had and has not any more are removed; how many."""
        which, removed = "ses" if only_from_there else "all", 0
        while True:
            looked_at, gone = await _THERE_SCRIPT(self.redis, ["unseen", int(since_ms), which, _STEP])
            removed += int(gone)
            if not looked_at:
                return removed

    async def forget_there(self) -> None:
        """Nothing is known any more of what the account's list has."""
        await scripts.answer_of(self.redis.delete(_THERE))

    async def removed_here(self, limit: int) -> tuple[str, ...]:
        """Some of the addresses that the account's list has yet to be told to forget."""
        found = await scripts.answer_of(self.redis.hrandfield(_GONE, limit))
        return tuple(address.decode() for address in found or ())

    async def not_there(self, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        """Those that the account's list was not seen to have."""
        if not entries:
            return ()
        scores = await scripts.answer_of(self.redis.zmscore(_THERE, [one.address for one in entries]))
        return tuple(one for one, score in zip(entries, scores, strict=True) if score is None)

    async def now_ms(self) -> int:
        """The server's clock."""
        seconds, micros = await scripts.answer_of(self.redis.time())
        return int(seconds) * 1000 + int(micros) // 1000


def _seen(look: asyncio.Task[None]) -> None:
    if not look.cancelled():
        look.exception()


def _parts(addresses: Sequence[str]) -> list[list[str]]:
    return [[*addresses[start : start + _STEP]] for start in range(0, len(addresses), _STEP)]


def _row(new: NewEntry) -> list[str | int]:
    key = address_key(new.address)
    keep_ms = int(new.keep_seconds * 1000)
    return [key, new.reason, new.source, int(new.at_ms), keep_ms, new.message_id[:120], new.feedback_id[:200]]


def _entry(address: str, raw: bytes) -> Entry:
    row = orjson.loads(raw)
    return Entry(
        address,
        cast("Reason", row["r"]),
        cast("Source", row["s"]),
        int(row["at"]),
        str(row["m"]),
        str(row["f"]),
        int(row["e"]),
    )
