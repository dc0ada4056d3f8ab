"""What goes on beside the tasks for ever: whatever the publisher does, the worker and its other chores go on."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from sending_events.destinations.log import LogDestination
from sending_events.registry import Registry
from tests.publishing import until_true
from tests.unit.worker.stand import RememberingSpool, stand
from tests.unit.worker.test_drain import SmallRedis
from worker.chores import Announcer, MemoryWatcher, Tidier
from worker.drain import Intake
from worker.heartbeat import Heartbeat, Progress


class BrokenPublisher:
    """Raises what no publisher should."""

    def __init__(self) -> None:
        self.calls = 0

    async def trim(self) -> int:
        self.calls += 1
        raise KeyError("types")

    async def with_work(self) -> list[str]:
        self.calls += 1
        raise KeyError("types")


@contextlib.asynccontextmanager
async def running(job):
    task = asyncio.create_task(job())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


def tools():
    spool = RememberingSpool()
    spool.redis = SmallRedis()
    return stand(spool=spool)


async def test_no_exception_of_the_publisher_ends_the_announcer_and_it_is_told_once_a_minute():
    publisher = BrokenPublisher()
    announcer = Announcer(tools(), publisher)

    async def looked_thrice():
        announcer.has_news()
        return publisher.calls >= 3

    with capture_logs() as lines:
        async with running(announcer.run) as task:
            await until_true(looked_thrice)
            assert not task.done()
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["events.announce_failed"]


async def test_no_exception_of_a_chore_keeps_the_others_from_their_turn():
    publisher = BrokenPublisher()
    done = []

    async def last_chore():
        done.append(1)

    tidier = Tidier(tools(), publisher, Heartbeat(tools(), Intake(), Progress))
    tidier._chores = (publisher.trim, last_chore)
    with capture_logs() as lines:
        await tidier.tidy()
    assert (publisher.calls, done) == (1, [1])
    assert [(line["event"], line["error"]) for line in lines] == [("sweep.failed", "KeyError")]


class Sets:
    """Configuration sets whose look raises when told so."""

    def __init__(self) -> None:
        self.version_now = 0
        self.trouble: Exception | None = None
        self.found = ()

    async def version(self) -> str:
        if self.trouble:
            raise self.trouble
        return str(self.version_now)

    async def all(self):
        return self.found


class NoProgress:
    async def start(self, found): ...


async def test_the_last_good_look_at_the_sets_stays_and_who_removes_events_needs_one():
    sets, now = Sets(), [0.0]
    registry = Registry({"file": LogDestination()}, sets, lambda *_: LogDestination(), clock=lambda: now[0])
    sets.trouble = KeyError("types")
    with pytest.raises(KeyError):
        await registry.refresh(NoProgress(), is_urgent=True)
    sets.trouble = None
    chosen = SimpleNamespace(name="one", is_enabled=True, event_types=frozenset())
    sets.found = (SimpleNamespace(name="app", destinations=(chosen,), is_of_file=False),)
    await registry.refresh(NoProgress())
    assert registry.names == ("file", "app:one")
    sets.trouble = KeyError("types")
    with capture_logs() as lines:
        for _ in range(3):
            now[0] += 2
            await registry.refresh(NoProgress())
        await registry.refresh(NoProgress(), is_urgent=True)
    assert registry.names == ("file", "app:one")
    assert [line["event"] for line in lines] == ["events.sets_unreadable"]


class Telling:
    """Answers a SafetyWatch: how much of its memory the server uses."""

    def __init__(self, used: int) -> None:
        self.used = used

    def pipeline(self, **_):
        return self

    def info(self): ...
    def config_get(self, pattern): ...

    async def execute(self, **_):
        return [{"redis_version": "7.2.0", "used_memory": self.used, "maxmemory": 100}, {}, {}, {}, {}]


async def test_the_spool_knows_when_its_server_is_above_the_mark():
    one = tools()
    one.spool.redis = Telling(85)
    one.spool.is_full = False
    watcher = MemoryWatcher(one)
    await watcher.look()
    assert one.spool.is_full is True
    one.spool.redis.used = 20
    await watcher.look()
    assert one.spool.is_full is False
