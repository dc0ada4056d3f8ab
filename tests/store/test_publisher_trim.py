"""What the stream keeps, what it lets go, and how much waits for whom."""

import pytest
from structlog.testing import capture_logs

from config.failpoints import Failpoints
from sending_events.progress import MEMORY_SHARE, Kept, destination_key
from spool import keys
from tests.publishing import Collecting, accept, add_events, opened_spool, publisher_of, stream_ids

NONE = Failpoints("")


@pytest.fixture
async def spool(redis_url):
    async with opened_spool(redis_url) as opened:
        yield opened


async def test_the_stream_is_cut_behind_the_slowest_destination(spool):
    await add_events(spool.redis, await accept(spool), 9)
    everything = await stream_ids(spool.redis)
    publisher = publisher_of(spool, {"file": Collecting(), "log": Collecting("log")}, NONE)
    assert await publisher.publish("file") == 10
    assert await publisher.trim() == 0
    await spool.redis.set(keys.cursor_key("log"), everything[3])
    assert await publisher.trim() == 4
    assert await stream_ids(spool.redis) == everything[4:]


async def test_a_destination_that_is_no_longer_configured_holds_nothing_back(spool):
    await add_events(spool.redis, await accept(spool), 9)
    await publisher_of(spool, {"log": Collecting("log")}, NONE, batch=2, budget_seconds=0).publish("log")
    publisher = publisher_of(spool, {"file": Collecting()}, NONE)
    await publisher.publish("file")
    assert await publisher.trim() == 10


async def test_a_destination_that_comes_back_goes_on_at_the_oldest_entry_kept(spool):
    message_id = await accept(spool)
    await publisher_of(spool, {"log": Collecting("log")}, NONE).publish("log")
    await add_events(spool.redis, message_id, 5)
    others = publisher_of(spool, {"file": Collecting()}, NONE)
    await others.publish("file")
    await others.trim()
    kept = await add_events(spool.redis, message_id, 3)
    returned = Collecting("log")
    publisher = publisher_of(spool, {"file": Collecting(), "log": returned}, NONE)
    assert await publisher.backlogs() == {"file": 3, "log": 3}
    assert await publisher.publish("log") == 3
    assert returned.ids == kept


async def test_a_new_destination_starts_at_the_oldest_entry_kept(spool):
    message_id = await accept(spool)
    old = publisher_of(spool, {"file": Collecting()}, NONE)
    await old.publish("file")
    await old.trim()
    kept = await add_events(spool.redis, message_id, 4)
    new = Collecting("log")
    publisher = publisher_of(spool, {"file": Collecting(), "log": new}, NONE, batch=3, budget_seconds=0)
    assert "log" in await publisher.with_work()
    assert await publisher.backlogs() == {"file": 4, "log": 4}
    assert await publisher.publish("log") == 3
    assert await publisher.backlogs() == {"file": 4, "log": 1}
    assert await publisher.publish("log") == 1
    assert "log" not in await publisher.with_work()
    assert new.ids == kept


async def test_without_destinations_nothing_is_kept(spool):
    await accept(spool)
    publisher = publisher_of(spool, {}, NONE)
    assert await publisher.trim() == 1
    assert await publisher.backlogs() == {}


async def test_the_cap_removes_the_oldest_and_counts_what_each_destination_lost(spool):
    await add_events(spool.redis, await accept(spool), 2_499)
    everything = await stream_ids(spool.redis)
    fast, slow = Collecting(), Collecting("log")
    publisher = publisher_of(
        spool, {"file": fast, "log": slow}, NONE, max_backlog=100, batch=300, budget_seconds=0, take_seconds=60
    )
    assert await publisher.publish("file") == 300
    with capture_logs() as lines:
        log = publisher_of(spool, {"file": fast, "log": slow}, NONE, max_backlog=100)
        assert await log.trim() == 2_400
    assert await stream_ids(spool.redis) == everything[2_400:]
    counters = await spool.redis.hgetall(keys.COUNTERS)
    assert (counters[b"events_lost:file"], counters[b"events_lost:log"]) == (b"2100", b"2400")
    lost = {"file": 0, "log": 0}
    for line in lines:
        assert line["event"] == "events.lost"
        lost[line["destination"]] += line["events"]
    assert lost == {"file": 2100, "log": 2400}
    assert await log.backlogs() == {"file": 100, "log": 100}
    one_by_one = publisher_of(spool, {"file": fast}, NONE, batch=1, budget_seconds=0)
    assert await one_by_one.publish("file") == 1
    assert await one_by_one.backlogs() == {"file": 99}
    assert await log.publish("file") == 99
    assert fast.ids == everything[:300] + everything[2_400:]


async def test_a_destination_that_took_everything_loses_nothing_by_the_cap(spool):
    await add_events(spool.redis, await accept(spool), 299)
    publisher = publisher_of(spool, {"file": Collecting(), "log": Collecting("log")}, NONE, max_backlog=50)
    await publisher.publish("file")
    assert await publisher.trim() == 250
    assert b"events_lost:file" not in await spool.redis.hgetall(keys.COUNTERS)
    assert await publisher.backlogs() == {"file": 0, "log": 50}


async def add_large(redis, number):
    pipeline = redis.pipeline(transaction=False)
    for _ in range(number):
        pipeline.xadd(keys.EVENTS, {"d": b"x" * 4000})
    await pipeline.execute()


async def test_the_limit_in_bytes_takes_the_replay_first_and_then_counted_losses(spool):
    await add_large(spool.redis, 1_000)
    everything = await stream_ids(spool.redis)
    publisher = publisher_of(
        spool,
        {"file": Collecting(), "log": Collecting("log")},
        NONE,
        max_backlog_bytes=2_000_000,
        kept=Kept(3600, 100_000),
    )
    for name, taken in (("file", 1_000), ("log", 600)):
        await spool.redis.set(keys.cursor_key(name), everything[taken - 1])
        await spool.redis.hset(destination_key(name), "position", taken)
    removed = await publisher.trim()
    assert 450 <= removed <= 600
    assert await spool.redis.memory_usage(keys.EVENTS, samples=0) < 2_200_000
    assert await publisher.backlogs() == {"file": 0, "log": 400}
    assert b"events_lost:log" not in await spool.redis.hgetall(keys.COUNTERS)
    await add_large(spool.redis, 1_000)
    with capture_logs() as lines:
        removed += await publisher.trim()
    left = 2_000 - removed
    assert await publisher.backlogs() == {"file": min(left, 1_000), "log": left}
    lost = 1_400 - left
    assert await spool.redis.hget(keys.COUNTERS, "events_lost:log") == str(lost).encode()
    assert {(line["destination"], line["max_backlog_bytes"]) for line in lines} == {("log", 2_000_000)} | (
        {("file", 2_000_000)} if left < 1_000 else set()
    )


async def test_events_have_a_share_of_the_servers_memory_only(spool):
    await add_large(spool.redis, 2_000)
    publisher = publisher_of(spool, {"file": Collecting()}, NONE)
    await spool.redis.config_set("maxmemory", 16 * 1024 * 1024)
    try:
        assert await publisher.trim() > 500
    finally:
        await spool.redis.config_set("maxmemory", 0)
    assert await spool.redis.memory_usage(keys.EVENTS, samples=0) < 16 * 1024 * 1024 / MEMORY_SHARE * 1.1


async def test_nothing_is_kept_for_a_replay_while_the_server_is_above_its_mark(spool):
    await add_events(spool.redis, await accept(spool), 99)
    publisher = publisher_of(spool, {"file": Collecting()}, NONE, kept=Kept(3600, 1000))
    await publisher.publish("file")
    assert await publisher.trim() == 0
    spool.is_full = True
    assert await publisher.trim() == 100


async def test_backlogs_are_exact_in_the_middle_before_and_after_trimming(spool):
    message_id = await accept(spool)
    await add_events(spool.redis, message_id, 99)
    slow = publisher_of(spool, {"file": Collecting(), "log": Collecting("log")}, NONE, batch=10, budget_seconds=0)
    whole = publisher_of(spool, {"file": Collecting(), "log": Collecting("log")}, NONE)
    for waiting in (90, 80, 70):
        await slow.publish("file")
        assert await slow.backlogs() == {"file": waiting, "log": 100}
    await slow.publish("log")
    assert await slow.trim() == 10
    assert await slow.backlogs() == {"file": 70, "log": 90}
    await add_events(spool.redis, message_id, 5)
    assert await slow.backlogs() == {"file": 75, "log": 95}
    await whole.publish("log")
    await whole.trim()
    await slow.publish("file")
    assert await slow.backlogs() == {"file": 65, "log": 0}


async def test_backlogs_stay_within_the_stream_when_somebody_else_cut_it(spool):
    message_id = await accept(spool)
    await add_events(spool.redis, message_id, 99)
    publisher = publisher_of(spool, {"file": Collecting()}, NONE, batch=10, budget_seconds=0)
    await publisher.publish("file")
    await spool.redis.xtrim(keys.EVENTS, maxlen=50, approximate=False)
    assert await publisher.backlogs() == {"file": 50}
    await publisher.publish("file")
    assert 1 <= (await publisher.backlogs())["file"] <= 50
    await publisher_of(spool, {"file": Collecting()}, NONE).publish("file")
    await add_events(spool.redis, message_id, 17)
    await publisher.publish("file")
    assert await publisher.backlogs() == {"file": 7}


async def test_two_entries_of_the_same_millisecond_are_told_apart(spool):
    for sequence in (8, 9, 10, 11):
        await spool.redis.xadd(keys.EVENTS, {"d": b"{}"}, id=f"5-{sequence}")
    await spool.redis.set(keys.cursor_key("file"), "5-9")
    publisher = publisher_of(spool, {"file": Collecting()}, NONE)
    assert "file" in await publisher.with_work()
    assert await publisher.trim() == 2
    assert await stream_ids(spool.redis) == ["5-10", "5-11"]
    assert await publisher.backlogs() == {"file": 2}
