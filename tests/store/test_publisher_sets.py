"""Destinations of configuration sets: who is told what, from when on, and that most events cost nobody a task."""

import asyncio
import dataclasses

import orjson
import pytest

from config.errors import TryLater
from config.failpoints import Failpoints
from config.settings import Settings
from sending_events.configuration_sets.store import ConfigurationSets
from sending_events.operator_acts import OperatorAct
from sending_events.progress import dead_letters_key, destination_key
from sending_events.publisher import Publisher
from sending_events.records import EventRecord
from sending_events.registry import Registry, interests
from sending_events.round import Limits
from spool import keys
from tests.publishing import Collecting, House, Sets, a_destination, accept, add, opened_spool, stream_ids

NONE = Failpoints("")


@pytest.fixture
async def spool(redis_url):
    async with opened_spool(redis_url) as opened:
        yield opened


async def test_a_destination_of_a_set_is_told_the_types_it_asks_for_of_its_sets_messages(spool):
    sets = Sets(one=(a_destination("hook", "Send", "Bounce"), a_destination("other", "sluice:Held")), two=())
    house = House(spool, sets, "file")
    await house.publisher.with_work()  # the destinations are new: they begin now
    sent = await add(spool, "send", "one", ses_message_id="theirs")
    suppressed = await add(spool, "suppressed", "one")
    held = await add(spool, "held", "one")
    await add(spool, "send", "two")
    await add(spool, "send")
    await spool.redis.xadd(keys.EVENTS, {"d": OperatorAct("drain", 1, "me").encode()})
    await spool.redis.xadd(keys.EVENTS, {"d": b"not an event"})
    assert await house.publish_all() == ["file", "one:hook", "one:other"]
    assert house.told["one:hook"].ids == [sent, suppressed]
    assert house.told["one:other"].ids == [held]
    assert len(house.told["file"].ids) == 6
    assert house.publisher.names == ("file", "one:hook", "one:other")
    assert set(interests(["file"], await sets.all())) == set(house.publisher.names)
    assert await spool.redis.exists(dead_letters_key("one:hook")) == 0
    told = orjson.loads(house.told["one:hook"].parts[0][0])
    assert told["mail"]["tags"]["ses:configuration-set"] == ["one"]


async def test_a_message_without_a_set_is_of_the_default_one(spool):
    house = House(spool, Sets(one=(a_destination("hook", "Send"),)), default_set="one")
    await house.publisher.with_work()
    sent = await add(spool, "send")
    await add(spool, "send", "two")
    assert await house.publish_all() == ["one:hook"]
    assert house.told["one:hook"].ids == [sent]


async def test_a_new_destination_is_told_what_happens_from_now_on(spool):
    sets = Sets(one=())
    house = House(spool, sets, "file")
    await house.publish_all()
    await add(spool, "send", "one")
    sets.put("one", a_destination("hook", "Send"))
    house.look_again()
    await house.publish_all()
    later = await add(spool, "send", "one")
    await house.publish_all()
    assert house.told["one:hook"].ids == [later]
    assert len(house.told["file"].ids) == 2


async def test_changes_are_seen_within_a_second_and_nothing_is_opened_twice(spool):
    hook = a_destination("hook", "Send")
    sets = Sets(one=(hook,))
    house = House(spool, sets)
    for _ in range(5):
        await house.publisher.with_work()
    sets.put("one", hook, a_destination("more", "Send"))
    await house.publisher.with_work()
    assert house.publisher.names == ("one:hook",)
    house.look_again()
    await house.publisher.with_work()
    assert house.publisher.names == ("one:hook", "one:more")
    assert house.opened == ["one:hook", "one:more"]
    sets.put(
        "one", dataclasses.replace(hook, target={"TopicARN": "x"}), a_destination("more", "Send", is_enabled=False)
    )
    house.look_again()
    await house.publisher.with_work()
    assert house.publisher.names == ("one:hook",)
    assert house.opened == ["one:hook", "one:more", "one:hook"]
    assert sets.reads == 3


async def test_a_destination_that_is_gone_is_not_served(spool):
    sets = Sets(one=(a_destination("hook", "Send"),))
    house = House(spool, sets)
    await house.publisher.with_work()
    await add(spool, "send", "one")
    sets.put("one")
    house.look_again()
    assert await house.publisher.with_work() == []
    assert await house.publisher.publish("one:hook") == 0
    assert house.told["one:hook"].calls == 0


async def test_what_happens_while_a_destination_of_the_file_is_disabled_is_not_told_it_later(spool):
    hook = a_destination("hook", "Send")
    for is_enabled in (True, False, True):  # each is a start of the process with another file
        house = House(spool, Sets(one=(dataclasses.replace(hook, is_enabled=is_enabled),)))
        assert await house.publish_all() == []
        missed = await add(spool, "send", "one")
    assert await house.publish_all() == ["one:hook"]
    assert house.told["one:hook"].ids == [missed]


async def test_a_process_that_has_not_seen_it_yet_tells_a_disabled_destination_of_the_api_nothing(spool):
    sets = ConfigurationSets(spool.redis, Settings())
    await sets.create("one")
    hook = a_destination("hook", "Send")
    await sets.put_destination("one", hook, is_new=True)
    house = House(spool, sets)
    told = [await add(spool, "send", "one")]
    assert await house.publish_all() == ["one:hook"]
    await sets.put_destination("one", dataclasses.replace(hook, is_enabled=False), is_new=False)
    for _ in range(3):
        await add(spool, "send", "one")
        await house.publish_all()  # it looks for changes once a second, and no second passes here
    assert "one:hook" in house.publisher.names
    assert not await spool.redis.exists(keys.cursor_key("one:hook"))
    await sets.put_destination("one", hook, is_new=False)
    told.append(await add(spool, "send", "one"))
    await house.publish_all()
    assert house.told["one:hook"].ids == told


async def test_events_that_nobody_wants_move_all_cursors_in_one_step(spool):
    sets = Sets(**{f"set-{number}": (a_destination("hook", "Send"),) for number in range(20)})
    house = House(spool, sets)
    await house.publisher.with_work()
    for _ in range(50):
        await add(spool, "send")
    last = await add(spool, "held", "set-3")
    commands = (await spool.redis.info("stats"))["total_commands_processed"]
    assert await house.publisher.with_work() == []
    few = 12  # the version, who is ready, one read, one step, and what these scripts do inside is counted as well
    assert (await spool.redis.info("stats"))["total_commands_processed"] - commands < few + 20 * 9
    assert {await spool.redis.get(keys.cursor_key(name)) for name in house.publisher.names} == {last.encode()}
    assert set((await house.publisher.backlogs()).values()) == {0}
    assert all(one.calls == 0 for one in house.told.values())


async def test_only_those_that_want_something_get_a_task_and_they_are_remembered(spool):
    sets = Sets(one=(a_destination("hook", "Send"),), two=(a_destination("hook", "Send"),))
    house = House(spool, sets)
    await house.publisher.with_work()
    await add(spool, "held", "one")
    wanted = await add(spool, "send", "two")
    assert await house.publisher.with_work() == ["two:hook"]
    assert await house.publisher.with_work() == ["two:hook"]
    assert await house.publisher.publish("two:hook") == 1
    assert await house.publisher.with_work() == []
    assert house.told["two:hook"].ids == [wanted]


async def test_who_is_far_behind_gets_a_task_that_goes_through_it(spool):
    sets = Sets(one=(a_destination("hook", "Send"),))
    house = House(spool, sets)
    await house.publisher.with_work()
    pipeline = spool.redis.pipeline(transaction=False)
    raw = EventRecord("held", "ours", 1).encode()
    for _ in range(1200):
        pipeline.xadd(keys.EVENTS, {"d": raw})
    await pipeline.execute()
    assert await house.publisher.with_work() == ["one:hook"]
    assert await house.publisher.publish("one:hook") == 0
    assert await house.publisher.with_work() == []
    assert await house.publisher.backlogs() == {"one:hook": 0}
    assert house.told["one:hook"].calls == 0


async def test_a_failing_destination_keeps_its_failures_while_it_passes_what_it_does_not_want(spool):
    house = House(spool, Sets(one=(a_destination("hook", "Send"),)), batch=2)
    await house.publisher.with_work()
    wanted = await add(spool, "send", "one")
    house.told["one:hook"].trouble = TryLater("busy")
    assert await house.publisher.publish("one:hook") == 0
    state = await spool.redis.hgetall(destination_key("one:hook"))
    assert (state[b"failures"], state[b"error"]) == (b"1", b"busy")
    await spool.redis.hset(destination_key("one:hook"), "next_try_at_ms", 0)
    house.told["one:hook"].trouble = None
    assert await house.publish_all() == ["one:hook"]
    assert house.told["one:hook"].ids == [wanted]
    assert b"failures" not in await spool.redis.hgetall(destination_key("one:hook"))


async def test_a_hanging_destination_delays_no_other(spool):
    sets = Sets(bad=(a_destination("hook", "Send"),), good=(a_destination("hook", "Send"),))
    house = House(spool, sets, "file")
    await house.publisher.with_work()
    stuck, may_end = asyncio.Event(), asyncio.Event()

    async def hang():
        stuck.set()
        await may_end.wait()

    house.told["bad:hook"].before = hang
    await add(spool, "send", "bad")
    hanging = asyncio.create_task(house.publisher.publish("bad:hook"))
    await stuck.wait()
    expected = []
    for _ in range(5):
        expected.append(await add(spool, "send", "good"))
        await add(spool, "send", "bad")
        assert await house.publish_all() == ["file", "good:hook"]  # never the one that is being served
    assert house.told["good:hook"].ids == expected
    assert len(house.told["file"].ids) == 11
    assert not hanging.done()
    may_end.set()
    assert await hanging == 1
    assert await house.publisher.publish("bad:hook") == 5  # what came meanwhile, in one round


async def test_a_failing_destination_gives_up_what_is_too_old_and_goes_on_with_the_rest(spool):
    house = House(spool, Sets(one=(a_destination("hook", "Send"),)), max_age_seconds=3600)
    await house.publisher.with_work()
    seconds, _ = await spool.redis.time()
    old_ms = (seconds - 4000) * 1000
    raw = EventRecord("send", "ours", 1, (), configuration_set="one").encode()
    old = [(await spool.redis.xadd(keys.EVENTS, {"d": raw}, id=f"{old_ms + n}-0")).decode() for n in range(3)]
    fresh = await add(spool, "send", "one")
    house.told["one:hook"].trouble = TryLater("busy")
    assert await house.publisher.publish("one:hook") == 0
    await spool.redis.hset(destination_key("one:hook"), "next_try_at_ms", 0)
    assert await house.publisher.publish("one:hook") == 0
    letters = await spool.redis.xrange(dead_letters_key("one:hook"))
    assert [letter[b"id"].decode() for _, letter in letters] == old
    assert {letter[b"why"] for _, letter in letters} == {b"not taken for 3600 s"}
    counters = await spool.redis.hgetall(keys.COUNTERS)
    assert counters[b"events_too_old:one:hook"] == b"3"
    assert await spool.redis.hget(destination_key("one:hook"), "failures") == b"2"
    await spool.redis.hset(destination_key("one:hook"), "next_try_at_ms", 0)
    house.told["one:hook"].trouble = None
    assert await house.publisher.publish("one:hook") == 1
    assert house.told["one:hook"].ids == [fresh]


async def test_old_events_are_offered_to_a_destination_that_does_not_fail(spool):
    house = House(spool, Sets(), "file", max_age_seconds=3600)
    await spool.redis.xadd(keys.EVENTS, {"d": EventRecord("send", "ours", 1, ()).encode()}, id="5-0")
    assert await house.publish_all() == ["file"]
    assert house.told["file"].ids == ["5-0"]


async def test_a_destination_says_how_many_records_it_takes_at_once(spool):
    house = House(spool, Sets(), "file")
    house.told["file"].part_records = 3
    for _ in range(7):
        await add(spool, "send")
    await house.publish_all()
    assert [len(part) for part in house.told["file"].parts] == [3, 3, 1]


async def test_headers_are_read_once_and_a_message_that_is_done_not_again(spool):
    message_id = await accept(spool)
    loads: list[str] = []

    class Watched:
        redis = spool.redis

        async def load_summaries(self, ids):
            loads.append("summaries")
            return await spool.load_summaries(ids)

        async def load_for_events(self, ids):
            loads.append("with headers")
            return await spool.load_for_events(ids)

    file = Collecting()
    publisher = Publisher(Watched(), Registry({"file": file}), NONE, Limits())
    await publisher.publish("file")
    await add(spool, "held", message_id=message_id)
    await publisher.publish("file")
    await spool.redis.hset(keys.message_key(message_id), "p", "done")
    for _ in range(2):
        await add(spool, "send", message_id=message_id)
        await publisher.publish("file")
    assert loads == ["with headers", "summaries", "summaries"]
    told = [orjson.loads(line) for part in file.parts for line in part]
    assert [one["mail"]["commonHeaders"].get("subject") for one in told] == ["x"] * 4
    assert file.ids == await stream_ids(spool.redis)
