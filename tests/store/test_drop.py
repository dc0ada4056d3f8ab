"""Giving a message up: all of it in one write, or nothing when it is not any more what was looked at."""

import dataclasses

import pytest

from spool import keys
from spool.records import Attempt, Message, Settlement
from spool.states import Place, RecipientState
from spool.store import Spool
from tests.store.messages import accepted_and_claimed, an_intent, end_lease, events_of, numbers, places_of

DROPPED = RecipientState.DROPPED
ACCEPTED = dataclasses.replace(an_intent(), outcome="accepted", ended_at_ms=1_700_000_000_250, ses_message_id="ses-1")


async def put_aside(spool: Spool, to: str = "held", *, attempts: tuple[Attempt, ...] = (), **more: object) -> Message:
    claimed = await accepted_and_claimed(spool, **more)
    assert await spool.settle(Settlement(claimed.lease, 1, to, after_seconds=3600, reason="why", attempts=attempts))
    return await loaded(spool, claimed.message.message_id)


async def loaded(spool: Spool, message_id: str) -> Message:
    message = await spool.load(message_id, with_content=True)
    assert message is not None
    return message


async def drop(spool: Spool, message: Message) -> bool:
    counts = {"dropped_recipients": len(message.states), "finished_messages": 1}
    states = (DROPPED,) * len(message.states)
    return await spool.drop(message, states, reason="given up", events=[b'{"k":"dropped"}'], counts=counts)


@pytest.mark.parametrize("to", ["parked", "held"])
async def test_a_dropped_message_is_done_and_counted_with_its_event(spool: Spool, to: str):
    message = await put_aside(spool, to, recipients=3)
    assert await drop(spool, message)
    after = await loaded(spool, message.message_id)
    assert (after.place, after.reason, after.states, after.content) == (Place.DONE, "given up", (DROPPED,) * 3, None)
    assert await places_of(spool.redis, message.message_id) == set()
    assert 0 < await spool.redis.pttl(keys.message_key(message.message_id)) <= 3_600_000
    counters = await numbers(spool.redis, keys.COUNTERS)
    assert (counters["dropped_recipients"], counters["finished_messages"]) == (3, 1)
    assert await numbers(spool.redis, keys.REASONS) == await numbers(spool.redis, keys.AGES) == {}
    assert (await events_of(spool.redis))[-1] == b'{"k":"dropped"}'


async def test_a_second_drop_of_the_same_writes_nothing(spool: Spool):
    message = await put_aside(spool)
    assert await drop(spool, message)
    events = await events_of(spool.redis)
    assert not await drop(spool, message)
    assert not await drop(spool, await loaded(spool, message.message_id))
    assert await events_of(spool.redis) == events
    assert (await numbers(spool.redis, keys.COUNTERS))["finished_messages"] == 1


async def test_a_large_content_is_removed_too(spool: Spool):
    message = await put_aside(spool, content=b"x" * 200_000)
    assert message.content_ref
    assert await drop(spool, message)
    assert [one async for one in spool.contents.older_than(-60, 4_000_000_000)] == []


async def test_a_message_with_other_states_than_those_that_were_read_is_left_alone(spool: Spool):
    message = await put_aside(spool)
    await spool.redis.hset(keys.message_key(message.message_id), "r", "u")
    assert not await drop(spool, message)
    assert (await loaded(spool, message.message_id)).place is Place.HELD


async def test_an_acceptance_that_came_after_the_message_was_read_is_not_dropped(spool: Spool):
    claimed = await accepted_and_claimed(spool)
    message_id = claimed.message.message_id
    assert await spool.settle(Settlement(claimed.lease, 1, attempts=(an_intent(),)))
    await end_lease(spool.redis, message_id)
    await spool.sweep(limit=10, max_crashes=1, nudges=0)
    read = await loaded(spool, message_id)
    assert read.place is Place.HELD
    assert not await spool.settle(Settlement(claimed.lease, 2, attempts=(ACCEPTED,)))
    assert not await drop(spool, read)
    assert await drop(spool, await loaded(spool, message_id))


async def test_a_late_settlement_does_not_bring_a_dropped_message_back(spool: Spool):
    claimed = await accepted_and_claimed(spool)
    parked = Settlement(claimed.lease, 1, "parked", after_seconds=1, reason="why")
    assert await spool.settle(parked)
    assert await drop(spool, await loaded(spool, claimed.message.message_id))
    assert await spool.settle(parked), "the repeat of what was written is told so"
    assert not await spool.settle(Settlement(claimed.lease, 2, "due"))
    assert await spool.release([claimed.message.message_id]) == [False]
    assert (await loaded(spool, claimed.message.message_id)).place is Place.DONE
