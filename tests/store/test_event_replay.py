"""Replays: what was taken is told again with the same ids, dead letters too; what is kept for it, and for how long."""

import pytest

from config.errors import Refused
from sending_events.loading import record_of
from sending_events.operator_acts import OperatorAct
from sending_events.progress import Entry, Kept, destination_key, order_of
from sending_events.replay import Window, dead_letters, redeem, replay, replayable
from sending_events.standing import standings
from spool import keys
from tests.publishing import Collecting, accept, add_events, opened_spool, publisher_of, stream_ids

DAY_MS = 86_400_000


@pytest.fixture
async def spool(redis_url):
    async with opened_spool(redis_url) as opened:
        yield opened


async def add_at(spool, message_id: str, *instants_ms: int) -> list[str]:
    """Events at these instants."""
    raw = (await spool.redis.xrange(keys.EVENTS, count=1))[0][1][b"d"]
    return [(await spool.redis.xadd(keys.EVENTS, {"d": raw}, id=f"{at_ms}-0")).decode() for at_ms in instants_ms]


async def now_ms(spool) -> int:
    seconds, microseconds = await spool.redis.time()
    return seconds * 1000 + microseconds // 1000


def everything(entry: Entry, record: object) -> bool:
    return True


async def test_what_was_taken_is_told_again_from_an_instant_on_with_the_same_ids(spool):
    ids = await add_events(spool.redis, await accept(spool), 9)
    everything_told = await stream_ids(spool.redis)
    destination, other = Collecting(), Collecting("log")
    publisher = publisher_of(spool, {"file": destination, "log": other})
    await publisher.publish("file")
    await publisher.publish("log")
    window = Window(order_of(ids[0])[0])
    expected = [id_ for id_ in everything_told if order_of(id_) >= (window.since_ms, 0)]
    assert await replayable(spool.redis, "file", window, everything) == len(expected)
    assert await replay(spool.redis, "file", window)
    assert await publisher.backlogs() == {"file": len(expected), "log": 0}
    assert await publisher.with_work() == ["file"]
    assert await publisher.publish("file") == len(expected)
    assert destination.ids == everything_told + expected
    assert other.ids == everything_told
    assert await publisher.backlogs() == {"file": 0, "log": 0}


async def test_a_replay_with_an_end_passes_over_what_came_after_it(spool):
    message_id = await accept(spool)
    start = await now_ms(spool) + 10_000
    ids = await add_at(spool, message_id, *range(start, start + 10))
    destination = Collecting()
    publisher = publisher_of(spool, {"file": destination}, batch=4)
    await publisher.publish("file")
    window = Window(start + 2, start + 5)
    assert await replayable(spool.redis, "file", window, everything) == 4
    assert await replay(spool.redis, "file", window)
    later = await add_at(spool, message_id, start + 20)
    taken = len(destination.ids)
    assert await publisher.publish("file") == 5
    assert destination.ids[taken:] == [*ids[2:6], *later]
    assert await replay(spool.redis, "file", Window(start + 9))  # the gap of before is forgotten
    assert await publisher.publish("file") == 2


async def test_only_what_the_destination_wants_is_counted(spool):
    await add_events(spool.redis, await accept(spool), 3)
    await spool.redis.xadd(keys.EVENTS, {"d": OperatorAct("drain", 1, "me").encode()})
    await spool.redis.xadd(keys.EVENTS, {"d": b"no event"})
    await publisher_of(spool, {"file": Collecting()}).publish("file")

    def of_messages(entry: Entry, record: object) -> bool:
        return not isinstance(record, OperatorAct)

    assert await replayable(spool.redis, "file", Window(0), of_messages) == 4


async def test_what_is_not_taken_yet_is_no_matter_of_a_replay(spool):
    await add_events(spool.redis, await accept(spool), 3)
    assert await replayable(spool.redis, "file", Window(0), everything) == 0
    assert not await replay(spool.redis, "file", Window(0))
    publisher = publisher_of(spool, {"file": Collecting()}, batch=2, budget_seconds=0)
    await publisher.publish("file")
    assert await replayable(spool.redis, "file", Window(0), everything) == 2


async def test_a_process_that_serves_the_destination_loses_its_turn_by_a_replay(spool):
    await add_events(spool.redis, await accept(spool), 3)
    everything_told = await stream_ids(spool.redis)
    destination = Collecting()
    publisher = publisher_of(spool, {"file": destination})
    await publisher.publish("file")
    [later] = await add_events(spool.redis, await accept(spool), 1)
    window = Window(order_of(everything_told[0])[0])

    async def set_back():
        destination.before = None
        assert await replay(spool.redis, "file", window)

    destination.before = set_back
    assert await publisher.publish("file") == 0
    assert await publisher.publish("file") == 6
    assert destination.ids[-6:] == await stream_ids(spool.redis)
    assert later in destination.ids


async def test_a_replay_ends_the_pause_after_a_failure(spool):
    await accept(spool)
    publisher = publisher_of(spool, {"file": Collecting()})
    await publisher.publish("file")
    later_ms = await now_ms(spool) + 60_000
    await spool.redis.hset(destination_key("file"), mapping={"failures": 7, "next_try_at_ms": later_ms, "error": "x"})
    assert await replay(spool.redis, "file", Window(0 + 1))
    assert await spool.redis.hkeys(destination_key("file")) == [b"position"]
    assert await publisher.publish("file") == 1


async def test_dead_letters_are_told_again_to_their_destination_only_with_their_ids(spool):
    ids = await add_events(spool.redis, await accept(spool), 5)
    destination, other = Collecting(poison=b'"sluice:attempt":["3"]'), Collecting("log")
    publisher = publisher_of(spool, {"file": destination, "log": other})
    await publisher.publish("file")
    await publisher.publish("log")
    await publisher.trim()
    [letter] = await dead_letters(spool.redis, "file", Window(order_of(ids[0])[0]))
    assert (letter.event_id, letter.why) == (ids[2], "a record is too strange")
    assert await dead_letters(spool.redis, "file", Window(order_of(ids[-1])[0] + 1)) == []
    assert await redeem(spool.redis, "file", [letter]) == 1
    assert await redeem(spool.redis, "file", [letter]) == 0
    assert await dead_letters(spool.redis, "file") == []
    mended = Collecting()
    publisher = publisher_of(spool, {"file": mended, "log": other})
    before = len(other.ids)
    assert await publisher.publish("file") == 1
    assert await publisher.publish("log") == 0
    assert mended.ids == [ids[2]]
    assert len(other.ids) == before
    assert await publisher.backlogs() == {"file": 0, "log": 0}


async def test_a_dead_letter_that_is_refused_again_keeps_its_event_id(spool):
    ids = await add_events(spool.redis, await accept(spool), 1)
    destination = Collecting()
    destination.trouble = Refused("never")
    publisher = publisher_of(spool, {"file": destination})
    await publisher.publish("file")
    await redeem(spool.redis, "file", await dead_letters(spool.redis, "file"))
    await publisher.publish("file")
    assert [one.event_id for one in await dead_letters(spool.redis, "file")][-1] == ids[0]


async def test_taken_events_are_kept_for_a_replay_up_to_their_age(spool):
    message_id = await accept(spool)
    now = await now_ms(spool)
    await spool.redis.delete(keys.EVENTS)
    await spool.redis.xadd(keys.EVENTS, {"d": b"{}"}, id=f"{now - 7_200_000}-0")
    kept = [(await spool.redis.xadd(keys.EVENTS, {"d": b"{}"}, id=f"{now - 60_000 + n}-0")).decode() for n in range(3)]
    publisher = publisher_of(spool, {"file": Collecting()}, kept=Kept(3600, 1000))
    await publisher.publish("file")
    assert await publisher.trim() == 1
    assert await stream_ids(spool.redis) == kept
    assert await publisher.backlogs() == {"file": 0}
    await add_events(spool.redis, message_id, 2)
    assert await publisher.backlogs() == {"file": 2}


async def test_taken_events_are_kept_for_a_replay_up_to_their_number(spool):
    ids = await add_events(spool.redis, await accept(spool), 3_000)
    publisher = publisher_of(spool, {"file": Collecting(), "log": Collecting("log")}, kept=Kept(3600, 100))
    await publisher.publish("file")
    assert await publisher.trim() == 0  # one of them has nothing yet
    await publisher.publish("log")
    assert await publisher.trim() == 2_901
    assert await stream_ids(spool.redis) == ids[-100:]
    assert await publisher.trim() == 0
    assert await publisher.backlogs() == {"file": 0, "log": 0}
    await add_events(spool.redis, await accept(spool), 50)
    await publisher.publish("file")
    assert await publisher.backlogs() == {"file": 0, "log": 51}
    assert await publisher.trim() == 0
    await publisher.publish("log")
    assert await publisher.trim() == 51


async def test_what_is_kept_for_a_replay_goes_before_anything_is_lost(spool):
    await add_events(spool.redis, await accept(spool), 149)
    publisher = publisher_of(
        spool, {"file": Collecting(), "log": Collecting("log")}, kept=Kept(3600, 1000), max_backlog=100
    )
    await publisher.publish("file")
    await publisher_of(spool, {"log": Collecting("log")}, batch=60, budget_seconds=0).publish("log")
    assert await publisher.trim() == 50
    assert b"events_lost:log" not in await spool.redis.hgetall(keys.COUNTERS)
    assert await publisher.backlogs() == {"file": 0, "log": 90}
    assert not await replay(spool.redis, "log", Window(await now_ms(spool)))
    assert await replay(spool.redis, "log", Window(1))
    assert await publisher.backlogs() == {"file": 0, "log": 100}


async def test_the_standing_of_each_destination_is_told(spool):
    await add_events(spool.redis, await accept(spool), 4)
    destination = Collecting(poison=b'"sluice:attempt":["2"]')
    publisher = publisher_of(spool, {"file": destination})
    await publisher.publish("file")
    await add_events(spool.redis, await accept(spool), 2)
    found = await standings(spool.redis, ["file", "one:hook"])
    file = found["file"]
    assert (file.behind, file.published, file.refused, file.dead_letters, file.error) == (3, 4, 1, 1, "")
    assert 0 <= file.oldest_seconds < 60
    assert (found["one:hook"].behind, found["one:hook"].oldest_seconds) == (0, 0)  # it begins at the end
    assert await standings(spool.redis, []) == {}


def test_an_entry_of_the_dead_is_a_record():
    act = OperatorAct("replay", 1, "me")
    assert record_of(Entry("1-0", act.encode(), "1-0")) == act
