"""A publisher that is killed anywhere: every event is in the file, every line is whole, repetitions have equal ids."""

import asyncio
import collections
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from sending_events.records import EventRecord
from spool import keys
from tests.publishing import accept, add_events, opened_spool, stream_ids

pytestmark = pytest.mark.processes

# A process as a worker is one to the publisher: publishes until nothing waits, then ends.
PROGRAM = """
import asyncio, sys
from pathlib import Path
from config.failpoints import Failpoints
from sending_events.destinations.file import FileDestination
from tests.publishing import opened_spool, publisher_of

async def main(url, path, lock_seconds):
    async with opened_spool(url) as spool:
        destinations = {"file": FileDestination(Path(path))}
        failpoints, held = Failpoints.from_environment(), float(lock_seconds)
        publisher = publisher_of(spool, destinations, failpoints, batch=20, lock_seconds=held)
        while (await publisher.backlogs())["file"]:
            await publisher.publish("file")
            await asyncio.sleep(0.01)

asyncio.run(main(*sys.argv[1:]))
"""
# The same for a destination of a configuration set; another one hangs meanwhile.
PROGRAM_OF_A_SET = """
import asyncio, sys
from pathlib import Path
from config.failpoints import Failpoints
from sending_events.configuration_sets.records import ConfigurationSet, EventDestination
from sending_events.destinations.file import FileDestination
from sending_events.registry import Registry
from tests.publishing import Collecting, opened_spool, publisher_of

class Sets:
    async def version(self):
        return "1"

    async def all(self):
        send = frozenset({"Send"})
        return (
            ConfigurationSet("good", (EventDestination("hook", True, send, "file", {}),), is_of_file=True),
            ConfigurationSet("bad", (EventDestination("hook", True, send, "webhook", {}),), is_of_file=True),
        )

async def main(url, path, lock_seconds):
    hanging = Collecting("bad:hook")
    hanging.before = asyncio.Event().wait
    opened = {"good": FileDestination(Path(path)), "bad": hanging}
    async with opened_spool(url) as spool:
        registry = Registry({}, Sets(), lambda set_name, _: opened[set_name])
        publisher = publisher_of(
            spool, {}, Failpoints.from_environment(), registry=registry, batch=20, lock_seconds=float(lock_seconds)
        )
        await publisher.with_work()
        print("ready", flush=True)
        rounds = [asyncio.create_task(publisher.publish("bad:hook"))]
        while (await publisher.backlogs())["good:hook"] or not await spool.redis.exists("{ms}:told-all"):
            for name in await publisher.with_work():
                if name == "good:hook":
                    await publisher.publish(name)
            await asyncio.sleep(0.01)
        for one in rounds:
            one.cancel()
        await asyncio.gather(*rounds, return_exceptions=True)

asyncio.run(main(*sys.argv[1:]))
"""
ROOT = Path(__file__).parents[2]


# Of one that is to lose its turn; the others keep theirs however long they stand still.
SHORT_LOCK_SECONDS = 0.3


def started(
    url: str, path: Path, failpoints: str = "", *, program: str = PROGRAM, lock_seconds: float = 60
) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "SLUICE_FAILPOINTS": failpoints}
    arguments = [sys.executable, "-c", program, url, str(path), str(lock_seconds)]
    return subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE)


def events_in(path: Path) -> list[str]:
    """The event ids of the file; fails on a line that is not one whole record."""
    whole = path.read_bytes()
    assert whole.endswith(b"\n")
    return [orjson.loads(line)["eventId"] for line in whole.splitlines()]


async def test_a_kill_between_writing_and_the_cursor_repeats_one_part_only(redis_url, tmp_path):
    path = tmp_path / "events.ndjson"
    async with opened_spool(redis_url) as spool:
        await add_events(spool.redis, await accept(spool), 99)
        everything = await stream_ids(spool.redis)
        failpoint = "publisher.after_write=kill*1"
        with started(redis_url, path, failpoint, lock_seconds=SHORT_LOCK_SECONDS) as killed:
            assert await asyncio.to_thread(killed.wait, 60) == -signal.SIGKILL
        assert events_in(path) == everything[:20]
        assert await spool.redis.get(keys.cursor_key("file")) == b"0-0"
        with started(redis_url, path) as second:
            assert await asyncio.to_thread(second.wait, 60) == 0
    assert events_in(path) == everything[:20] + everything


async def test_a_frozen_publisher_that_wakes_up_late_moves_no_cursor(redis_url, tmp_path):
    path = tmp_path / "events.ndjson"
    async with opened_spool(redis_url) as spool:
        await add_events(spool.redis, await accept(spool), 99)
        everything = await stream_ids(spool.redis)
        failpoint = "publisher.after_write=stop*1"
        with started(redis_url, path, failpoint, lock_seconds=SHORT_LOCK_SECONDS) as frozen:
            try:
                assert await asyncio.to_thread(os.waitpid, frozen.pid, os.WUNTRACED)
                with started(redis_url, path) as second:
                    assert await asyncio.to_thread(second.wait, 60) == 0
            finally:
                frozen.send_signal(signal.SIGCONT)
            assert await asyncio.to_thread(frozen.wait, 60) == 0
        assert await spool.redis.get(keys.cursor_key("file")) == everything[-1].encode()
    assert events_in(path) == everything[:20] + everything


async def test_kills_at_any_moment_lose_no_event_and_tear_no_line(redis_url, tmp_path):
    path = tmp_path / "events.ndjson"
    async with opened_spool(redis_url) as spool:
        message_id = await accept(spool, recipients=500)
        raw = EventRecord("dropped", message_id, 1).encode()
        for _ in range(400):
            await spool.redis.xadd(keys.EVENTS, {"d": raw})
        everything = await stream_ids(spool.redis)
        for kill in range(4):
            size = path.stat().st_size if path.exists() else 0
            with started(redis_url, path) as process:
                limit = time.monotonic() + 30
                while process.poll() is None and time.monotonic() < limit:
                    if path.exists() and path.stat().st_size > size + kill * 70_000:  # in the middle of its work
                        break
                    await asyncio.sleep(0.002)
                process.kill()
            await spool.redis.delete(keys.lock_key("events:file"))  # as if the time of its turn were over
        with started(redis_url, path) as last:
            assert await asyncio.to_thread(last.wait, 60) == 0
    told = events_in(path)
    assert sorted(set(told)) == sorted(everything)
    assert max(collections.Counter(told).values()) <= 5
    first_seen = list(dict.fromkeys(told))
    assert first_seen == everything


async def test_a_killed_publisher_of_a_set_loses_none_of_its_events_beside_one_that_hangs(redis_url, tmp_path):
    path = tmp_path / "events.ndjson"
    async with opened_spool(redis_url) as spool:
        failpoint = "publisher.after_write=kill*1"
        with started(redis_url, path, failpoint, program=PROGRAM_OF_A_SET, lock_seconds=SHORT_LOCK_SECONDS) as killed:
            assert (
                await asyncio.to_thread(killed.stdout.readline) == b"ready\n"
            )  # both are told what happens from now on
            ids = []
            for number in range(60):
                for name in ("good", "bad", ""):
                    record = EventRecord("send", "ours", 1, (), attempt=number, configuration_set=name)
                    id_ = await spool.redis.xadd(keys.EVENTS, {"d": record.encode()})
                    ids += [id_.decode()] if name == "good" else []
            assert await asyncio.to_thread(killed.wait, 60) == -signal.SIGKILL
        first = events_in(path)
        assert first == ids[: len(first)]
        assert first
        await spool.redis.set("{ms}:told-all", "1")
        with started(redis_url, path, program=PROGRAM_OF_A_SET) as second:
            assert await asyncio.to_thread(second.wait, 60) == 0
        assert int((await spool.redis.hgetall(keys.COUNTERS)).get(b"events_published:bad:hook", 0)) == 0
    assert events_in(path) == first + ids
