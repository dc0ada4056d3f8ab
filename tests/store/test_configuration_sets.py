"""Configuration sets in Redis: what a change does, what it refuses, and from when on a destination is told."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from config.redis_clients import redis_client
from config.settings import Settings
from sending_events.configuration_sets.records import ConfigurationSet, EventDestination, cursor_name
from sending_events.configuration_sets.shapes import described
from sending_events.configuration_sets.store import MAX_SETS, ConfigurationSets, SetRefused
from sending_events.progress import dead_letters_key, destination_key
from spool import keys
from spool.scripts import StoreFull
from tests.servers import RedisServer

SETTINGS = Settings.model_validate(
    {
        "configuration_sets": {
            "written": {
                "EventDestinations": [
                    {"Name": "log", "Enabled": True, "MatchingEventTypes": ["send"], "LogDestination": {}}
                ]
            }
        },
        "relay": {"ses_configuration_set": "feedback", "configuration_sets": {"mapped": "theirs"}},
    }
)


def destination(name: str = "topic", *, is_enabled: bool = True, topic: str = "events") -> EventDestination:
    target = {"TopicARN": f"arn:aws:sns:us-east-1:123456789012:{topic}"}
    return EventDestination(name, is_enabled, frozenset({"Bounce", "Complaint"}), "sns", target)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[Any]:
    client = redis_client(server.url)
    yield client
    await client.aclose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sets(redis: Any, clock: Clock) -> ConfigurationSets:
    return ConfigurationSets(redis, SETTINGS, clock=clock)


async def refusal(call: Any) -> str:
    with pytest.raises(SetRefused) as found:
        await call
    assert found.value.reason
    return found.value.why


async def add_events(redis: Any, number: int) -> str:
    """The id of the last one."""
    for _ in range(number):
        last = await redis.xadd(keys.EVENTS, {"d": b"{}"})
    return last.decode()


async def cursor(redis: Any, name: str = "orders:topic") -> str | None:
    found = await redis.get(keys.cursor_key(name))
    return found.decode() if found else None


async def test_a_set_and_its_destinations_are_kept_and_read_again(sets):
    await sets.create("orders")
    await sets.put_destination("orders", destination("two"), is_new=True)
    await sets.put_destination("orders", destination("one", is_enabled=False), is_new=True)
    expected = ConfigurationSet("orders", (destination("one", is_enabled=False), destination("two")))
    assert await sets.get("orders") == expected
    assert [one.name for one in await sets.all()] == ["orders", "written"]
    assert (await sets.all())[0] == expected
    assert await sets.get("other") is None
    assert await sets.get("other:one") is None


async def test_an_update_replaces_the_whole_destination(sets):
    await sets.create("orders")
    await sets.put_destination("orders", destination(), is_new=True)
    changed = EventDestination("topic", is_enabled=False, event_types=frozenset({"Send"}), kind="log", target={})
    await sets.put_destination("orders", changed, is_new=False)
    assert (await sets.get("orders")).destinations == (changed,)


async def test_what_is_there_twice_or_not_at_all_is_refused(sets):
    await sets.create("orders")
    assert await refusal(sets.create("orders")) == "set_exists"
    assert await refusal(sets.delete("other")) == "no_set"
    assert await refusal(sets.delete("a b")) == "no_set"
    assert await refusal(sets.put_destination("other", destination(), is_new=True)) == "no_set"
    assert await refusal(sets.put_destination("orders", destination(), is_new=False)) == "no_destination"
    await sets.put_destination("orders", destination(), is_new=True)
    assert await refusal(sets.put_destination("orders", destination(), is_new=True)) == "destination_exists"
    assert await refusal(sets.delete_destination("orders", "other")) == "no_destination"
    assert await refusal(sets.delete_destination("other", "topic")) == "no_set"


async def test_what_is_refused_changes_nothing(sets):
    await sets.create("orders")
    version = await sets.version()
    for call in (sets.create("orders"), sets.delete("other"), sets.delete_destination("orders", "x")):
        await refusal(call)
    assert await sets.version() == version


async def test_every_change_has_a_version_of_its_own(sets):
    versions = [await sets.version()]
    for change in (
        sets.create("orders"),
        sets.put_destination("orders", destination(), is_new=True),
        sets.put_destination("orders", destination(topic="others"), is_new=False),
        sets.delete_destination("orders", "topic"),
        sets.delete("orders"),
    ):
        await change
        versions.append(await sets.version())
    assert len(set(versions)) == 6


async def test_the_eleventh_destination_is_one_too_many(sets):
    await sets.create("orders")
    for number in range(10):
        await sets.put_destination("orders", destination(f"d{number}"), is_new=True)
    assert await refusal(sets.put_destination("orders", destination(), is_new=True)) == "too_many_destinations"
    await sets.put_destination("orders", destination("d9", is_enabled=False), is_new=False)
    await sets.delete_destination("orders", "d0")
    await sets.put_destination("orders", destination(), is_new=True)


async def test_of_many_that_add_at_once_ten_do(sets):
    await sets.create("orders")
    calls = [sets.put_destination("orders", destination(f"d{number}"), is_new=True) for number in range(40)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert answers.count(None) == 10
    assert len((await sets.get("orders")).destinations) == 10


async def test_there_are_ten_thousand_sets_at_most(sets, redis):
    await redis.zadd("{ms}:sets", {f"s{number:05}": 0 for number in range(MAX_SETS - 1)})
    await sets.create("orders")
    assert await refusal(sets.create("another")) == "too_many_sets"
    assert len(await sets.all()) == MAX_SETS + 1
    await sets.delete("s00000")
    await sets.create("another")


async def test_names_come_in_pages_with_the_files_among_them(sets):
    for name in ("b", "zoo", "Zoo", "a-b", "a_b", "a"):
        await sets.create(name)
    everything = sorted(["b", "zoo", "Zoo", "a-b", "a_b", "a", "written"])
    for limit in (1, 2, 3, 7, 100):
        found: list[str] = []
        while page := await sets.names(found[-1] if found else "", limit):
            assert len(page) <= limit
            found += page
        assert found == everything


async def test_the_files_sets_are_read_and_not_changed(sets, redis):
    shown = await sets.get("written")
    assert shown.is_of_file
    assert [one.name for one in shown.destinations] == ["log"]
    assert await refusal(sets.create("written")) == "set_exists"
    assert await refusal(sets.delete("written")) == "of_file"
    assert await refusal(sets.put_destination("written", destination(), is_new=True)) == "of_file"
    assert await refusal(sets.delete_destination("written", "log")) == "of_file"
    assert await sets.version() == "0"
    await ConfigurationSets(redis, Settings()).create("written")
    assert (await sets.get("written")).is_of_file
    assert [one.is_of_file for one in await sets.all()] == [True]
    assert await sets.names("", 10) == ("written",)


async def test_an_enabled_destination_is_told_what_happens_from_then_on(sets, redis):
    last = await add_events(redis, 5)
    await sets.create("orders")
    await sets.put_destination("orders", destination(), is_new=True)
    assert await cursor(redis) == last
    assert await redis.hget(destination_key("orders:topic"), "position") == b"5"


async def test_the_position_counts_what_was_trimmed_before(sets, redis):
    await add_events(redis, 5)
    await redis.xtrim(keys.EVENTS, maxlen=2, approximate=False)
    await redis.hset(keys.COUNTERS, "events_trimmed", 3)
    await sets.create("orders")
    await sets.put_destination("orders", destination(), is_new=True)
    assert await redis.hget(destination_key("orders:topic"), "position") == b"5"


async def test_without_any_event_a_destination_starts_at_the_beginning(sets, redis):
    await sets.create("orders")
    await sets.put_destination("orders", destination(), is_new=True)
    assert await cursor(redis) == "0-0"


async def test_a_disabled_destination_has_no_cursor_and_starts_at_the_end_when_enabled(sets, redis):
    await sets.create("orders")
    await sets.put_destination("orders", destination(is_enabled=False), is_new=True)
    assert await cursor(redis) is None
    # What a publisher that has not heard of it yet may leave behind.
    await redis.set(keys.cursor_key("orders:topic"), "0-0")
    last = await add_events(redis, 3)
    await sets.put_destination("orders", destination(), is_new=False)
    assert await cursor(redis) == last
    await sets.put_destination("orders", destination(is_enabled=False), is_new=False)
    assert await cursor(redis) is None
    assert not await redis.exists(destination_key("orders:topic"), "{ms}:lock:events:orders:topic")


async def test_a_change_of_an_enabled_destination_keeps_its_place_and_ends_its_pause(sets, redis):
    await sets.create("orders")
    first = await add_events(redis, 1)
    await sets.put_destination("orders", destination(), is_new=True)
    await add_events(redis, 3)
    paused = {"failures": 3, "next_try_at_ms": 10**15, "error": "no such topic"}
    await redis.hset(destination_key("orders:topic"), mapping=paused)
    await sets.put_destination("orders", destination(topic="others"), is_new=False)
    assert await cursor(redis) == first
    changed = (await sets.version()).encode()
    assert await redis.hgetall(destination_key("orders:topic")) == {b"position": b"1", b"changed": changed}


@pytest.mark.parametrize("is_whole_set", [False, True])
async def test_nothing_is_left_of_what_was_removed(sets, redis, is_whole_set):
    await add_events(redis, 1)
    await sets.create("orders")
    await sets.put_destination("orders", destination(), is_new=True)
    name = cursor_name("orders", "topic")
    await redis.set(f"{{ms}}:lock:events:{name}", "token")
    await redis.xadd(dead_letters_key(name), {"id": "1-1", "d": "{}", "why": "x"})
    for figure in ("published", "lost", "refused", "too_old"):
        await redis.hset(keys.COUNTERS, f"events_{figure}:{name}", 1)
    if is_whole_set:
        await sets.delete("orders")
    else:
        await sets.delete_destination("orders", "topic")
    left = {key.decode() for key in await redis.keys("*")}
    assert left == {keys.EVENTS, "{ms}:sets:version"} | (set() if is_whole_set else {"{ms}:sets"})
    assert await sets.get("orders") == (None if is_whole_set else ConfigurationSet("orders"))


async def test_a_set_made_again_is_empty(sets):
    await sets.create("orders")
    await sets.put_destination("orders", destination(), is_new=True)
    await sets.delete("orders")
    await sets.create("orders")
    assert await sets.get("orders") == ConfigurationSet("orders")


async def test_known_is_what_was_made_here_what_the_file_has_and_what_the_settings_name(sets):
    await sets.create("orders")
    known = [
        name
        for name in ("orders", "written", "mapped", "feedback", "theirs", "x", "", "a b")
        if await sets.is_known(name)
    ]
    assert known == ["orders", "written", "mapped", "feedback"]


async def test_a_set_is_known_for_a_second_without_a_look_and_unknown_only_as_long_as_it_is_not_there(
    sets, redis, clock
):
    assert not await sets.is_known("orders")
    other = ConfigurationSets(redis, SETTINGS)
    await other.create("orders")
    assert await sets.is_known("orders")
    await other.delete("orders")
    assert await sets.is_known("orders")
    clock.now += 1.1
    assert not await sets.is_known("orders")
    await sets.create("orders")
    assert await sets.is_known("orders")
    await sets.delete("orders")
    assert not await sets.is_known("orders")


async def test_a_full_server_takes_no_set_and_lets_one_go(own_server):
    async with redis_client(own_server.url) as redis:
        sets = ConfigurationSets(redis, Settings())
        await sets.create("orders")
        await sets.put_destination("orders", destination(), is_new=True)
        await redis.config_set("maxmemory", 1)
        with pytest.raises(StoreFull):
            await sets.create("more")
        with pytest.raises(StoreFull):
            await sets.put_destination("orders", destination("more"), is_new=True)
        assert [one.name for one in (await sets.get("orders")).destinations] == ["topic"]
        await sets.delete_destination("orders", "topic")
        await sets.delete("orders")
        assert await sets.names("", 10) == ()


UNREADABLE = [
    b"not JSON",
    b"[]",
    b'{"on":true,"kind":"webhook","target":{}}',
    b'{"on":true,"types":["Send"],"kind":"pigeon","target":{}}',
    b'{"on":true,"types":[["Send"]],"kind":"log","target":{}}',
    b'{"on":1,"types":["Send"],"kind":"log","target":{}}',
    b'{"on":true,"types":["Send"],"kind":"log","target":5}',
]


@pytest.mark.parametrize("raw", UNREADABLE, ids=range(len(UNREADABLE)))
async def test_a_stored_destination_that_cannot_be_read_is_disabled_and_logged_and_stops_no_other(
    redis_url: str, raw: bytes
):
    redis = redis_client(redis_url)
    sets = ConfigurationSets(redis, SETTINGS)
    await sets.create("app")
    await sets.put_destination("app", destination("good"), is_new=True)
    await redis.hset("{ms}:set:app", "odd", raw)
    with capture_logs() as lines:
        found = {one.name: one for one in await sets.all()}["app"]
        assert await sets.get("app") == found
    assert [(one.name, one.is_enabled) for one in found.destinations] == [("good", True), ("odd", False)]
    assert [(line["event"], line["destination"]) for line in lines] == [("events.destination_unreadable", "odd")] * 2
    assert described(found.destinations[1])["Enabled"] is False
    await sets.put_destination("app", destination("odd"), is_new=False)
    assert (await sets.get("app") or found).destinations[1] == destination("odd")
    assert await redis.exists(keys.cursor_key("app:odd")) == 1
    await redis.hset("{ms}:set:app", "odd", raw)
    await sets.delete_destination("app", "odd")
    await redis.aclose()


async def test_with_a_destination_go_all_its_figures(redis_url: str):
    redis = redis_client(redis_url)
    sets = ConfigurationSets(redis, SETTINGS)
    await sets.create("app")
    await sets.put_destination("app", destination(), is_new=True)
    for figure in ("events_published", "events_lost", "events_refused", "events_too_old"):
        await redis.hset(keys.COUNTERS, f"{figure}:app:topic", 5)
    await sets.delete_destination("app", "topic")
    assert not [name for name in await redis.hkeys(keys.COUNTERS) if name.endswith(b":app:topic")]
    await redis.aclose()
