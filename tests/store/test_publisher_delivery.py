"""The publisher against a real server: order, at least once, one process at a time, bounded parts."""

import asyncio
import collections

import orjson
import pytest

from config.errors import TryLater
from config.failpoints import Failpoint, Failpoints
from sending_events.destinations.file import FileDestination
from sending_events.progress import BEGIN
from sending_events.records import EventRecord
from spool import keys
from tests.publishing import Collecting, accept, add_events, ids_of, opened_spool, publisher_of, stream_ids, until_true
from tests.servers import RedisServer, redis_binaries

NONE = Failpoints("")


@pytest.fixture
async def spool(redis_url):
    async with opened_spool(redis_url) as opened:
        yield opened


async def test_events_are_taken_in_order_with_their_stream_ids(spool):
    ids = [await accept(spool) for _ in range(7)]
    destination = Collecting()
    assert await publisher_of(spool, {"file": destination}, NONE, batch=3).publish("file") == 7
    assert destination.ids == await stream_ids(spool.redis)
    told = [orjson.loads(line) for part in destination.parts for line in part]
    assert [event["mail"]["tags"]["sluice:message-id"] for event in told] == [[id_] for id_ in ids]
    assert {event["mail"]["source"] for event in told} == {"sender@example.com"}
    assert [len(part) for part in destination.parts] == [3, 3, 1]


async def test_what_was_taken_is_not_offered_again(spool):
    await accept(spool)
    destination = Collecting()
    publisher = publisher_of(spool, {"file": destination}, NONE)
    assert [await publisher.publish("file"), await publisher.publish("file")] == [1, 0]
    assert destination.calls == 1


async def test_ten_thousand_events_reach_two_destinations_once_each(spool, tmp_path):
    ids = await add_events(spool.redis, await accept(spool), 10_000)
    path = tmp_path / "events.ndjson"
    collecting = Collecting("log")
    publisher = publisher_of(spool, {"file": FileDestination(path), "log": collecting}, NONE, budget_seconds=60)
    assert await asyncio.gather(publisher.publish("file"), publisher.publish("log")) == [10_001, 10_001]
    assert collecting.ids[1:] == ids
    assert ids_of(path.read_bytes().splitlines()) == collecting.ids
    assert await publisher.trim() == 10_001
    assert await spool.redis.xlen(keys.EVENTS) == 0


async def test_a_crash_between_writing_and_the_cursor_repeats_the_same_event_ids(spool):
    await add_events(spool.redis, await accept(spool), 9)
    everything = await stream_ids(spool.redis)
    destination = Collecting()
    publisher = publisher_of(spool, {"file": destination}, Failpoints("publisher.after_write=raise*1"), batch=4)
    with pytest.raises(Failpoint):
        await publisher.publish("file")
    assert destination.ids == everything[:4]
    assert await publisher.publish("file") == 10
    assert destination.ids == everything[:4] + everything


async def test_two_publishers_at_once_take_each_event_once(spool, redis_url):
    await add_events(spool.redis, await accept(spool), 2_000)
    everything = await stream_ids(spool.redis)
    destination = Collecting()
    async with opened_spool(redis_url) as other:
        publishers = [publisher_of(one, {"file": destination}, NONE, batch=50) for one in (spool, other)]
        taken = 0
        while (await publishers[0].backlogs())["file"]:
            taken += sum(await asyncio.gather(*(one.publish("file") for one in publishers for _ in range(3))))
    assert taken == 2_001
    assert destination.ids == everything


async def test_a_second_publisher_returns_at_once_while_the_first_is_at_work(spool):
    await accept(spool)
    destination = Collecting()
    publisher = publisher_of(spool, {"file": destination}, NONE)
    started, may_end = asyncio.Event(), asyncio.Event()

    async def stand_still():
        started.set()
        await may_end.wait()

    destination.before = stand_still
    first = asyncio.create_task(publisher.publish("file"))
    await started.wait()
    assert await publisher.publish("file") == 0
    may_end.set()
    assert await first == 1


async def test_the_turn_is_kept_while_a_destination_is_slow(spool):
    await accept(spool)
    destination = Collecting()
    publisher = publisher_of(spool, {"file": destination}, NONE, lock_seconds=9)
    lock, looks = keys.lock_key("events:file"), 0

    async def stand_still():
        nonlocal looks
        assert await spool.redis.pexpire(lock, 3_600_000)  # a machine that is busy does not reach its end
        while await spool.redis.pttl(lock) > 9_000:  # until it is renewed
            await asyncio.sleep(0.05)
            assert await publisher.publish("file") == 0
            looks += 1

    destination.before = stand_still
    assert await publisher.publish("file") == 1
    assert looks > 0
    assert destination.calls == 1


async def test_a_process_that_lost_its_turn_moves_nothing(spool):
    await accept(spool)
    everything = await stream_ids(spool.redis)
    destination, successor = Collecting(), Collecting()
    publisher = publisher_of(spool, {"file": destination}, NONE)

    async def lose_the_turn():
        await spool.redis.delete(keys.lock_key("events:file"))
        assert await publisher_of(spool, {"file": successor}, NONE).publish("file") == 1

    destination.before = lose_the_turn
    assert await publisher.publish("file") == 0
    assert destination.ids == successor.ids == everything
    assert await spool.redis.get(keys.cursor_key("file")) == everything[-1].encode()
    assert (await spool.redis.hgetall(keys.COUNTERS))[b"events_published:file"] == b"1"


async def test_a_process_whose_successor_is_still_at_work_moves_nothing(spool):
    await accept(spool)
    destination = Collecting()
    publisher = publisher_of(spool, {"file": destination}, NONE)

    async def lose_the_turn():
        await spool.redis.set(keys.lock_key("events:file"), "token of the successor")

    destination.before = lose_the_turn
    assert await publisher.publish("file") == 0
    assert await spool.redis.get(keys.cursor_key("file")) == b"0-0"
    assert await spool.redis.get(keys.lock_key("events:file")) == b"token of the successor"


async def test_a_cancelled_publisher_gives_its_turn_back(spool):
    await accept(spool)
    destination = Collecting()
    publisher = publisher_of(spool, {"file": destination}, NONE)
    started = asyncio.Event()

    async def stand_still():
        started.set()
        await asyncio.Event().wait()

    destination.before = stand_still
    task = asyncio.create_task(publisher.publish("file"))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    destination.before = None
    assert await publisher.publish("file") == 1


async def test_the_turn_of_a_killed_process_ends_by_itself(spool):
    await accept(spool)
    assert await BEGIN(spool.redis, ["file", "token of the dead", 60_000])
    publisher = publisher_of(spool, {"file": Collecting()}, NONE)
    assert await publisher.with_work() == []
    assert 0 < await spool.redis.pttl(keys.lock_key("events:file")) <= 60_000
    await spool.redis.pexpire(keys.lock_key("events:file"), 50)
    await until_true(publisher.with_work)
    assert await publisher.publish("file") == 1
    assert "file" not in await publisher.with_work()


async def test_a_round_ends_when_its_time_is_used(spool):
    await add_events(spool.redis, await accept(spool), 9)
    now = 0.0
    destination = Collecting()

    async def let_time_pass():
        nonlocal now
        now += 4.0

    destination.before = let_time_pass
    publisher = publisher_of(spool, {"file": destination}, NONE, batch=2, budget_seconds=10, clock=lambda: now)
    assert await publisher.publish("file") == 6
    assert "file" in await publisher.with_work()
    assert await publisher.publish("file") == 4


async def test_parts_are_bounded_in_bytes_and_lose_nothing(spool):
    message_id = await accept(spool, recipients=500)
    raw = EventRecord("dropped", message_id, 1).encode()
    for _ in range(600):
        await spool.redis.xadd(keys.EVENTS, {"d": raw})
    destination = Collecting()
    assert await publisher_of(spool, {"file": destination}, NONE).publish("file") == 601
    sizes = [sum(map(len, part)) for part in destination.parts]
    longest_line = max(len(line) for part in destination.parts for line in part)
    assert len(sizes) > 2
    assert max(sizes) < 4 * 1024 * 1024 + longest_line
    assert destination.ids == await stream_ids(spool.redis)


async def test_an_event_of_a_forgotten_message_is_still_told(spool):
    message_id = await accept(spool)
    await spool.redis.delete(keys.message_key(message_id))
    destination = Collecting()
    assert await publisher_of(spool, {"file": destination}, NONE).publish("file") == 1
    event = orjson.loads(destination.parts[0][0])
    assert event["mail"]["tags"]["sluice:message-id"] == [message_id]
    assert event["mail"]["destination"] == []


async def test_nothing_is_asked_of_a_destination_when_nothing_happened(spool):
    destination = Collecting()
    publisher = publisher_of(spool, {"file": destination}, NONE)
    assert "file" not in await publisher.with_work()
    assert await publisher.publish("file") == 0
    assert destination.calls == 0


async def test_a_dead_server_means_later(redis_server):
    async with opened_spool(redis_server.url) as spool:
        await accept(spool)
        publisher = publisher_of(spool, {"file": Collecting()}, NONE)
        redis_server.kill()
        for asked in (publisher.publish("file"), publisher.with_work(), publisher.backlogs(), publisher.trim()):
            with pytest.raises(TryLater):
                await asked


async def test_a_server_that_dies_in_the_middle_repeats_the_part(redis_server):
    async with opened_spool(redis_server.url) as spool:
        await accept(spool)
        everything = await stream_ids(spool.redis)
        destination = Collecting()

        async def die():
            redis_server.kill()

        destination.before = die
        publisher = publisher_of(spool, {"file": destination}, NONE)
        with pytest.raises(TryLater):
            await publisher.publish("file")
        redis_server.start()
        destination.before = None
        await spool.redis.delete(keys.lock_key("events:file"))  # instead of the wait for its end
        assert await publisher.publish("file") == 1
        assert destination.ids == everything * 2


@pytest.mark.parametrize("binary", redis_binaries())
async def test_every_server_on_this_machine_will_do(binary):
    with RedisServer(binary=redis_binaries()[binary]) as server:
        async with opened_spool(server.url) as spool:
            await add_events(spool.redis, await accept(spool), 20)
            destination = Collecting(poison=b'"sluice:attempt":["7"]')
            publisher = publisher_of(spool, {"file": destination, "log": Collecting("log")}, NONE, max_backlog=5)
            assert await publisher.backlogs() == {"file": 21, "log": 21}
            assert await publisher.publish("file") == 20
            assert await publisher.backlogs() == {"file": 0, "log": 21}
            assert await publisher.trim() == 16
            assert await publisher.backlogs() == {"file": 0, "log": 5}
            counters = await spool.redis.hgetall(keys.COUNTERS)
            told = {name: int(by) for name, by in counters.items() if name.startswith(b"events_")}
            assert told == {
                b"events_published:file": 20,
                b"events_refused:file": 1,
                b"events_lost:log": 16,
                b"events_trimmed": 16,
            }


async def test_a_full_server_still_lets_events_out(redis_server):
    async with opened_spool(redis_server.url) as spool:
        await add_events(spool.redis, await accept(spool), 300)
        publisher = publisher_of(spool, {"file": Collecting()}, NONE, batch=50)
        used = (await spool.redis.info("memory"))["used_memory"]
        await spool.redis.config_set("maxmemory", used // 2)
        assert await publisher.publish("file") == 301
        assert await publisher.trim() == 301
        assert collections.Counter(await stream_ids(spool.redis)) == {}
