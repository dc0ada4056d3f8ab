"""The Redis stream: what an entry has, its bound, and that a part offered again is not added twice."""

import pytest

from config.errors import TryLater
from config.redis_clients import redis_client
from sending_events.destinations.redis_stream import RedisStreamDestination
from tests.contract.event_services import an_event, opened
from tests.servers import RedisServer


@pytest.fixture(scope="module")
def server():
    with RedisServer() as server:
        yield server


@pytest.fixture
async def redis(server):
    client = redis_client(server.url, answer_seconds=60)
    await client.flushall()
    yield client
    await client.aclose()


async def ids(redis, key="mail-events"):
    return [fields[b"eventId"].decode().partition("-")[2] for _, fields in await redis.xrange(key)]


def records(*numbers):
    return [an_event(number) for number in numbers]


async def test_each_event_is_an_entry(redis):
    [record] = records(1)
    await RedisStreamDestination("s:r", {"Key": "mail-events"}, lambda: redis).take([record])
    [(_, fields)] = await redis.xrange("mail-events")
    assert fields == {b"eventId": b"1700000000000-1", b"eventType": b"Send", b"event": record}


async def test_a_part_that_is_offered_again_is_added_once_by_whoever_offers_it(redis):
    first, second = (RedisStreamDestination("s:r", {"Key": "mail-events"}, lambda: redis) for _ in range(2))
    await first.take(records(1, 2))
    await second.take(records(1, 2, 3))
    await first.take(records(1))
    assert await ids(redis) == ["1", "2", "3"]
    await first.take(records(4))
    await first.take(records(4))
    assert await ids(redis) == ["1", "2", "3", "4"]


async def test_a_replay_adds_the_events_again(redis):
    one = RedisStreamDestination("s:r", {"Key": "mail-events"}, lambda: redis)
    await one.take(records(1, 2, 3))
    await one.take(records(4))
    await one.take(records(2, 3, 4))
    assert await ids(redis) == ["1", "2", "3", "4", "2", "3", "4"]


async def test_a_replay_into_a_stream_that_was_emptied_adds_its_events(redis):
    one = RedisStreamDestination("s:r", {"Key": "mail-events"}, lambda: redis)
    await one.take(records(1, 2))
    await redis.delete("mail-events")
    await one.take(records(1, 2))
    assert await ids(redis) == ["1", "2"]


async def test_a_server_that_is_full_takes_nothing_and_the_events_wait(redis):
    one = RedisStreamDestination("s:r", {"Key": "mail-events"}, lambda: redis)
    await one.take(records(1))
    await redis.config_set("maxmemory", 1024)
    try:
        with pytest.raises(TryLater, match="did not take the events"):
            await one.take(records(2, 3))
        assert await ids(redis) == ["1"]
    finally:
        await redis.config_set("maxmemory", 0)
    await one.take(records(2, 3))
    assert await ids(redis) == ["1", "2", "3"]


async def test_two_destinations_of_one_stream_do_not_disturb_each_other(redis):
    for name in ("s:a", "s:b"):
        await RedisStreamDestination(name, {"Key": "{mail}events"}, lambda: redis).take(records(1))
    assert await ids(redis, "{mail}events") == ["1", "1"]


async def test_the_stream_keeps_its_length(redis):
    one = RedisStreamDestination("s:r", {"Key": "mail-events", "MaxLength": 200}, lambda: redis)
    for start in range(0, 1000, 100):
        await one.take(records(*range(start, start + 100)))
    assert 200 <= await redis.xlen("mail-events") <= 400
    assert (await ids(redis))[-1] == "999"


async def test_what_is_beside_the_stream_goes_away_by_itself(redis):
    await RedisStreamDestination("s:r", {"Key": "mail-events"}, lambda: redis).take(records(1))
    [other] = [key async for key in redis.scan_iter() if key != b"mail-events"]
    assert 0 < await redis.ttl(other) <= 600


async def test_the_server_may_be_named_by_url_or_variable_and_is_the_spools_else(redis, server, tmp_path, monkeypatch):
    monkeypatch.setenv("EVENTS_REDIS", server.url)
    for more in ({}, {"Url": server.url}, {"UrlEnvironment": "EVENTS_REDIS"}):
        async with opened("redis_stream", {"Key": "mail-events"} | more, tmp_path, redis) as one:
            await one.take(records(1))
            await redis.flushall()
    assert await redis.dbsize() == 0


@pytest.mark.parametrize(
    "more",
    [
        {"Url": "redis://:a-password@127.0.0.1:1/0"},
        {"Url": "rediss://:a-password@[/0"},
        {"UrlEnvironment": "NOT_SET"},
    ],
)
async def test_a_server_that_cannot_be_used_keeps_the_events_and_its_password(redis, tmp_path, more):
    async with opened("redis_stream", {"Key": "mail-events"} | more, tmp_path, redis) as one:
        with pytest.raises(TryLater) as caught:
            await one.take(records(1))
    assert "a-password" not in f"{caught.value!r} {caught.value.reason} {caught.value.detail}"


async def test_a_key_that_is_no_stream_keeps_the_events(redis):
    await redis.set("mail-events", "text")
    with pytest.raises(TryLater, match="did not take the events"):
        await RedisStreamDestination("s:r", {"Key": "mail-events"}, lambda: redis).take(records(1))
