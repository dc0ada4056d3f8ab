"""What the tests of the publisher share: a spool on a test's server, messages with events, pretended destinations."""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from redis import asyncio as aioredis

from config.errors import Refused
from config.failpoints import Failpoints
from config.redis_clients import redis_client
from config.settings import MIB
from sending_events.configuration_sets.records import ConfigurationSet, EventDestination
from sending_events.destinations.destination import Destination
from sending_events.progress import Kept
from sending_events.publisher import Publisher
from sending_events.records import EventRecord
from sending_events.registry import OpenTarget, Registry
from sending_events.registry import Sets as EventSets
from sending_events.round import Limits
from spool import keys
from spool.content import FolderContents
from spool.records import NewMessage, new_message_id
from spool.store import Spool


@contextlib.asynccontextmanager
async def opened_spool(url: str) -> AsyncIterator[Spool]:
    """A spool whose contents are all inline."""
    redis = redis_client(url)
    try:
        yield Spool(
            redis,
            FolderContents(Path("/nonexistent")),
            inline_content_bytes=1 << 20,
            keep_finished_seconds=3600,
            lease_seconds=30,
        )
    finally:
        await redis.aclose()


async def accept(spool: Spool, recipients: int = 1) -> str:
    """One message with its event `accepted`; its id."""
    message_id = new_message_id()
    await spool.accept(
        NewMessage(
            message_id=message_id,
            sender="sender@example.com",
            recipients=tuple(f"user{number}@example.net" for number in range(recipients)),
            content=b"Subject: x\r\n\r\n",
            header_message_id="header-id@example.com",
            event=EventRecord("accepted", message_id, 1_700_000_000_123).encode(),
        )
    )
    return message_id


async def add_events(redis: aioredis.Redis, message_id: str, number: int) -> list[str]:
    """Events of one message, told apart by their attempt; their ids in order."""
    pipeline = redis.pipeline(transaction=False)
    for attempt in range(1, number + 1):
        record = EventRecord("deferred", message_id, 1_700_000_000_123, (0,), reason="busy", attempt=attempt)
        pipeline.xadd(keys.EVENTS, {"d": record.encode()})
    return [id_.decode() for id_ in await pipeline.execute()]


async def stream_ids(redis: aioredis.Redis) -> list[str]:
    """The ids of everything in the stream."""
    return [id_.decode() for id_, _ in await redis.xrange(keys.EVENTS)]


def ids_of(lines: Sequence[bytes]) -> list[str]:
    """The event ids of rendered lines."""
    return [orjson.loads(line)["eventId"] for line in lines]


def publisher_of(
    spool: Spool,
    destinations: Mapping[str, Destination],
    failpoints: Failpoints = Failpoints(""),  # noqa: B008 - nothing is active
    *,
    registry: Registry | None = None,
    lock_seconds: float = 10.0,
    max_backlog: int = 1_000_000,
    max_backlog_bytes: int = 512 * MIB,
    kept: Kept = Kept(),  # noqa: B008 - frozen
    clock: Callable[[], float] = time.monotonic,
    **limits: Any,
) -> Publisher:
    """A publisher for these destinations of the settings, or for those of `registry`."""
    return Publisher(
        spool,
        registry or Registry(destinations),
        failpoints,
        Limits(**limits),
        lock_seconds=lock_seconds,
        max_backlog=max_backlog,
        max_backlog_bytes=max_backlog_bytes,
        kept=kept,
        clock=clock,
    )


class Collecting:
    """Takes everything, or raises what `trouble` says for the call; refuses lines that contain `poison`."""

    def __init__(self, name: str = "file", *, poison: bytes = b"") -> None:
        self.name = name
        self.parts: list[list[bytes]] = []
        self.calls = 0
        self.trouble: Exception | None = None
        self.before: Callable[[], Awaitable[Any]] | None = None
        self._poison = poison

    async def take(self, records: Sequence[bytes]) -> None:
        self.calls += 1
        if self.before:
            await self.before()
        if self.trouble:
            raise self.trouble
        if self._poison and any(self._poison in record for record in records):
            raise Refused("a record is too strange")
        self.parts.append(list(records))
        await asyncio.sleep(0)

    @property
    def ids(self) -> list[str]:
        """The event ids taken so far, in order, with repetitions."""
        return [id_ for part in self.parts for id_ in ids_of(part)]


def a_destination(name: str, *event_types: str, **changes: object) -> EventDestination:
    """An enabled one, but for what `changes` says."""
    values = {"is_enabled": True, "kind": "log", "target": {}}
    return EventDestination(name=name, event_types=frozenset(event_types), **(values | changes))


class Sets:
    """Configuration sets of a file that a test changes; counts how often all are read."""

    def __init__(self, **sets: tuple[EventDestination, ...]) -> None:
        self.reads = 0
        self.changes = 0
        self.sets = sets

    def put(self, name: str, *destinations: EventDestination) -> None:
        self.sets[name] = destinations
        self.changes += 1

    async def version(self) -> str:
        return str(self.changes)

    async def all(self) -> tuple[ConfigurationSet, ...]:
        self.reads += 1
        return tuple(ConfigurationSet(name, destinations, is_of_file=True) for name, destinations in self.sets.items())


class House:
    """A publisher of sets whose destinations all collect; time goes on by hand."""

    def __init__(self, spool: Spool, sets: EventSets, *defaults: str, default_set: str = "", **options: object) -> None:
        self.told: dict[str, Collecting] = {name: Collecting(name) for name in defaults}
        self.opened: list[str] = []
        self.now = 0.0
        self.open_target: OpenTarget = self._collecting
        registry = Registry(
            dict(self.told),
            sets,
            self._open,
            default_set=default_set,
            clock=lambda: self.now,
        )
        self.publisher: Publisher = publisher_of(spool, {}, registry=registry, **options)

    def _open(self, set_name: str, chosen: EventDestination) -> Destination:
        return self.open_target(set_name, chosen)

    def _collecting(self, set_name: str, chosen: EventDestination) -> Collecting:
        name = f"{set_name}:{chosen.name}"
        self.opened.append(name)
        return self.told.setdefault(name, Collecting(name))

    async def publish_all(self) -> list[str]:
        """One round of everybody with work; who that was, in order."""
        names = sorted(await self.publisher.with_work())
        await asyncio.gather(*(self.publisher.publish(name) for name in names))
        return names

    def look_again(self) -> None:
        self.now += 1.0


async def add(spool: Spool, kind: str, configuration_set: str = "", **fields: object) -> str:
    """One event of a set's message; its id."""
    record = EventRecord(kind, fields.pop("message_id", "ours"), 1_700_000_000_123, (), **fields)
    record = dataclasses.replace(record, configuration_set=configuration_set)
    return (await spool.redis.xadd(keys.EVENTS, {"d": record.encode()})).decode()


async def until_true(look: Callable[[], Awaitable[object]], seconds: float = 60.0) -> None:
    """Looks again and again until the answer is true; fails after a generous limit."""
    async with asyncio.timeout(seconds):
        while not await look():
            await asyncio.sleep(0.02)
