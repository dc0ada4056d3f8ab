"""Destinations that do not take, never take, hang or have bugs: nobody else notices, nothing is hammered."""

import asyncio

import orjson
import pytest
from structlog.testing import capture_logs

from config.errors import Refused, TryLater
from config.failpoints import Failpoints
from sending_events.destinations.log import LogDestination
from sending_events.feedback_records import FeedbackRecord
from sending_events.progress import MAX_DEAD_LETTERS, dead_letters_key, destination_key
from sending_events.records import EventRecord
from sending_events.round import ODD_TRIES
from spool import keys
from tests.publishing import Collecting, accept, add_events, ids_of, opened_spool, publisher_of, stream_ids

NONE = Failpoints("")


@pytest.fixture
async def spool(redis_url):
    async with opened_spool(redis_url) as opened:
        yield opened


async def end_the_pause(spool, name="file"):
    await spool.redis.hset(destination_key(name), "next_try_at_ms", 0)


async def now_ms(spool):
    seconds, microseconds = await spool.redis.time()
    return seconds * 1000 + microseconds // 1000


async def next_try_at_ms(spool, name="file"):
    return int(await spool.redis.hget(destination_key(name), "next_try_at_ms"))


async def pause_lasts(spool, name="file"):
    """As if the pause were an hour longer: a machine that is busy does not reach its end."""
    await spool.redis.hincrby(destination_key(name), "next_try_at_ms", 3_600_000)


async def test_a_dead_destination_stops_nobody(spool):
    await add_events(spool.redis, await accept(spool), 50)
    dead, alive = Collecting("file"), Collecting("log")
    dead.trouble = TryLater("the disk is full")
    publisher = publisher_of(spool, {"file": dead, "log": alive}, NONE)
    assert await asyncio.gather(publisher.publish("file"), publisher.publish("log")) == [0, 51]
    assert alive.ids == await stream_ids(spool.redis)
    assert await publisher.backlogs() == {"file": 51, "log": 0}


async def test_a_failed_destination_is_left_alone_for_a_growing_pause(spool):
    await accept(spool)
    destination = Collecting()
    destination.trouble = TryLater("the disk is full", detail="errno 28")
    publisher = publisher_of(spool, {"file": destination}, NONE)
    for failures, pause in [(1, 1000), (2, 2000), (3, 4000)]:
        began_ms = await now_ms(spool)
        assert await publisher.publish("file") == 0
        assert began_ms <= await next_try_at_ms(spool) - pause <= await now_ms(spool)
        await pause_lasts(spool)
        assert await spool.redis.hmget(destination_key("file"), "failures", "error") == [
            str(failures).encode(),
            b"the disk is full",
        ]
        assert await publisher.publish("file") == 0
        assert destination.calls == failures
        assert "file" not in await publisher.with_work()
        await end_the_pause(spool)
        assert "file" in await publisher.with_work()


async def test_a_destination_that_takes_again_has_no_failures(spool):
    await accept(spool)
    destination = Collecting()
    destination.trouble = TryLater("the disk is full")
    publisher = publisher_of(spool, {"file": destination}, NONE)
    await publisher.publish("file")
    await end_the_pause(spool)
    destination.trouble = None
    assert await publisher.publish("file") == 1
    assert await spool.redis.hkeys(destination_key("file")) == [b"position"]


async def test_what_was_taken_before_the_failure_is_not_offered_again(spool):
    await add_events(spool.redis, await accept(spool), 9)
    destination = Collecting()
    publisher = publisher_of(spool, {"file": destination}, NONE, batch=4)

    async def fail_the_second_time():
        destination.trouble = TryLater("busy") if destination.calls == 2 else None

    destination.before = fail_the_second_time
    assert await publisher.publish("file") == 4
    await end_the_pause(spool)
    assert await publisher.publish("file") == 6
    assert destination.ids == await stream_ids(spool.redis)


async def test_a_destination_that_hangs_is_given_up_and_offered_again(spool):
    await accept(spool)
    destination = Collecting()
    destination.before = asyncio.Event().wait
    impatient = publisher_of(spool, {"file": destination}, NONE, take_seconds=0.05)
    assert await impatient.publish("file") == 0
    await pause_lasts(spool)
    assert "file" not in await impatient.with_work()
    await end_the_pause(spool)
    destination.before = None
    assert await publisher_of(spool, {"file": destination}, NONE).publish("file") == 1


class Stumbling(Collecting):
    """Fails over some events in a way that no destination should."""

    def __init__(self, *ids):
        super().__init__()
        self.odd_ids = set(ids)

    async def take(self, records):
        if any(id_ in self.odd_ids for id_ in ids_of(records)):
            self.calls += 1
            raise ZeroDivisionError("a bug")
        await super().take(records)


@pytest.mark.parametrize("position", [0, 77, 100])
async def test_an_event_that_a_destination_fails_over_is_tried_five_times_and_put_aside(spool, position):
    await add_events(spool.redis, await accept(spool), 100)
    everything = await stream_ids(spool.redis)
    odd = everything[position]
    destination = Stumbling(odd)
    publisher = publisher_of(spool, {"file": destination}, NONE)
    with capture_logs() as lines:
        for tries in range(1, ODD_TRIES):
            began_ms = await now_ms(spool)
            await publisher.publish("file")
            assert destination.ids == everything[:position], "nothing behind it, and nothing twice"
            assert await next_try_at_ms(spool) > began_ms
            assert await spool.redis.hget(destination_key("file"), "failures") == str(tries).encode()
            await end_the_pause(spool)
        await publisher.publish("file")
    assert destination.ids == [id_ for id_ in everything if id_ != odd]
    assert len([line for line in lines if line["event"] == "events.failed"]) == ODD_TRIES - 1
    [(_, letter)] = await spool.redis.xrange(dead_letters_key("file"))
    assert letter[b"id"] == odd.encode()
    assert letter[b"why"].endswith(b"ZeroDivisionError: a bug")
    assert await spool.redis.hkeys(destination_key("file")) == [b"position"]


async def test_a_destination_that_was_away_for_long_gives_an_odd_event_all_its_tries(spool):
    await accept(spool)
    [odd] = await stream_ids(spool.redis)
    destination = Stumbling(odd)
    publisher = publisher_of(spool, {"file": destination}, NONE)
    for trouble in (
        ZeroDivisionError("a bug"),
        *[TryLater("away")] * 8,
        *[ZeroDivisionError("a bug")] * (ODD_TRIES - 1),
    ):
        destination.odd_ids = {odd} if isinstance(trouble, ZeroDivisionError) else set()
        destination.trouble = trouble
        await publisher.publish("file")
        await end_the_pause(spool)
    assert await spool.redis.xlen(dead_letters_key("file")) == 0
    await publisher.publish("file")
    assert await spool.redis.xlen(dead_letters_key("file")) == 1


@pytest.mark.parametrize("position", [1, 2, 250, 500])
async def test_a_refused_record_becomes_a_dead_letter_and_the_rest_is_taken_in_order(spool, position):
    message_id = await accept(spool)
    ids = await add_events(spool.redis, message_id, 500)
    destination = Collecting(poison=b'"sluice:attempt":["%d"]' % position)
    publisher = publisher_of(spool, {"file": destination}, NONE)
    assert await publisher.publish("file") == 500
    refused = ids[position - 1]
    assert destination.ids == [id_ for id_ in await stream_ids(spool.redis) if id_ != refused]
    assert destination.calls < 30
    [(_, letter)] = await spool.redis.xrange(dead_letters_key("file"))
    assert letter[b"id"] == refused.encode()
    assert letter[b"why"] == b"a record is too strange"
    assert EventRecord.decode(letter[b"d"]).attempt == position


async def test_a_destination_that_refuses_everything_keeps_a_bounded_number_of_dead_letters(spool):
    await add_events(spool.redis, await accept(spool), MAX_DEAD_LETTERS + 200)
    destination = Collecting()
    destination.trouble = Refused("never")
    publisher = publisher_of(spool, {"file": destination}, NONE, budget_seconds=60)
    assert await publisher.publish("file") == 0
    assert await spool.redis.xlen(dead_letters_key("file")) == MAX_DEAD_LETTERS
    assert int(await spool.redis.hget(keys.COUNTERS, "events_refused:file")) == MAX_DEAD_LETTERS + 201
    assert await publisher.backlogs() == {"file": 0}


@pytest.mark.parametrize(
    "fields", [{"d": b"not JSON"}, {"d": b'{"k":"odd","id":"x","at":1}'}, {"other": b"x"}], ids=str
)
async def test_an_unreadable_entry_is_no_stumbling_block(spool, fields):
    await accept(spool)
    strange = await spool.redis.xadd(keys.EVENTS, fields)
    await accept(spool)
    destination = Collecting()
    publisher = publisher_of(spool, {"file": destination}, NONE)
    assert await publisher.publish("file") == 2
    assert destination.ids == [id_ for id_ in await stream_ids(spool.redis) if id_ != strange.decode()]
    assert await spool.redis.xlen(dead_letters_key("file")) == 1


async def test_a_verdict_that_cannot_be_read_is_no_stumbling_block(spool):
    message_id = await accept(spool)
    await spool.redis.hset(keys.message_key(message_id), "v", b'{"decisions":[{"newer":1}]}')
    await accept(spool)
    destination = Collecting()
    assert await publisher_of(spool, {"file": destination}, NONE).publish("file") == 2
    assert await spool.redis.xlen(dead_letters_key("file")) == 0


async def test_a_message_that_cannot_be_read_is_told_as_one_that_is_forgotten_and_is_no_stumbling_block(spool):
    message_id = await accept(spool)
    await spool.redis.hset(keys.message_key(message_id), "p", b"nowhere")
    await accept(spool)
    destination = Collecting()
    assert await publisher_of(spool, {"file": destination}, NONE).publish("file") == 2
    told = [orjson.loads(line)["mail"]["destination"] for line in destination.parts[0]]
    assert told == [[], ["user0@example.net"]]
    assert await spool.redis.xlen(dead_letters_key("file")) == 0


async def test_an_index_that_the_message_does_not_have_is_no_stumbling_block(spool):
    message_id = await accept(spool, recipients=2)
    await spool.redis.xadd(keys.EVENTS, {"d": EventRecord("send", message_id, 1, (2,)).encode()})
    destination = Collecting()
    assert await publisher_of(spool, {"file": destination}, NONE).publish("file") == 1
    assert [orjson.loads(line)["eventType"] for line in destination.parts[0]] == ["sluice:Accepted"]
    assert await spool.redis.xlen(dead_letters_key("file")) == 1


async def test_one_odd_event_of_ses_does_not_keep_the_others_from_the_log(spool):
    message_id = await accept(spool)
    bounce = {"eventType": "Bounce", "mail": {"tags": {}, "destination": None}, "bounce": [1]}
    record = FeedbackRecord("Bounce", message_id, 1_700_000_000_123, "theirs", bounce)
    await spool.redis.xadd(keys.EVENTS, {"d": record.encode()})
    for event_type in ([], "Bounce"):
        strange = {"k": "ses", "id": message_id, "at": 1, "type": event_type, "event": 5}
        await spool.redis.xadd(keys.EVENTS, {"d": orjson.dumps(strange)})
    await accept(spool)
    with capture_logs() as lines:
        assert await publisher_of(spool, {"log": LogDestination()}, NONE).publish("log") == 3
    assert [line["type"] for line in lines if line["event"] == "event"] == [
        "sluice:Accepted", "Bounce", "sluice:Accepted",
    ]  # fmt: skip
    assert await spool.redis.xlen(dead_letters_key("log")) == 2
