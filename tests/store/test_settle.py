import asyncio
from dataclasses import replace

import pytest

from spool import keys
from spool.records import Attempt, Settlement
from spool.rows import KEPT_ATTEMPTS
from spool.states import Place, RecipientState
from spool.store import Spool
from tests.store.messages import (
    a_message,
    accepted_and_claimed,
    an_intent,
    end_lease,
    events_of,
    numbers,
    places_of,
)


def answered(intent: Attempt, outcome: str = "accepted", **more: object) -> Attempt:
    return replace(intent, outcome=outcome, ended_at_ms=1_700_000_000_900, **more)


async def attempts_of(spool: Spool, message_id: str) -> tuple[Attempt, ...]:
    loaded = await spool.load(message_id)
    assert loaded is not None
    return loaded.attempts


async def test_a_settlement_writes_everything_it_says(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=3)
    await spool.redis.delete(keys.EVENTS)
    attempt = answered(an_intent(1, (0, 1)), ses_message_id="ses-1", code="", reason="")
    settlement = Settlement(
        claimed.lease,
        to="parked",
        after_seconds=60,
        reason="throttled",
        states=tuple(RecipientState(letter) for letter in "SSw"),
        rounds=2,
        failures=1,
        attempts=(attempt,),
        told=frozenset({2, 0}),
        events=(b'{"k":"send"}', '{"why":"grüße"}'.encode()),
        counts={"sent_recipients": 2, "ses_calls": 1},
    )
    assert await spool.settle(settlement)
    loaded = await spool.load(claimed.lease.message_id)
    assert loaded is not None
    assert ("".join(loaded.states), loaded.rounds, loaded.failures) == ("SSw", 2, 1)
    assert (loaded.told, loaded.attempts) == (frozenset({0, 2}), (attempt,))
    assert (loaded.place, loaded.reason) == (Place.PARKED, "throttled")
    assert await events_of(spool.redis) == list(settlement.events)
    counters = await numbers(spool.redis, keys.COUNTERS)
    assert (counters["sent_recipients"], counters["ses_calls"]) == (2, 1)
    for asked in ("ses-1", "<ses-1@email.amazonses.com>", "ses-1@us-west-2.amazonses.com"):
        found = await spool.find(asked)
        assert found is not None
        assert found.message_id == claimed.lease.message_id


async def test_a_settlement_in_the_middle_keeps_the_lease(spool: Spool):
    claimed = await accepted_and_claimed(spool)
    assert await spool.settle(Settlement(claimed.lease, number=1, attempts=(an_intent(),)))
    assert await places_of(spool.redis, claimed.lease.message_id) == {Place.LEASED}
    assert await spool.settle(Settlement(claimed.lease, number=2, attempts=(answered(an_intent()),)))


async def test_a_finished_message_keeps_its_story_for_a_while_and_not_its_content(spool: Spool):
    claimed = await accepted_and_claimed(spool)
    await spool.settle(Settlement(claimed.lease, to="done", states=(RecipientState.SENT,), reason="sent"))
    loaded = await spool.load(claimed.lease.message_id, with_content=True)
    assert loaded is not None
    assert (loaded.place, loaded.content, loaded.reason) == (Place.DONE, None, "sent")
    assert 3590 < await spool.redis.ttl(keys.message_key(claimed.lease.message_id)) <= 3600
    assert await spool.redis.hgetall(keys.AGES) == {}


async def test_spawned_messages_are_accepted_with_the_settlement_and_once_by_id(spool: Spool):
    first, second = await accepted_and_claimed(spool), await accepted_and_claimed(spool)
    bounce, other = a_message(door="bounce", content=b"bounce \x00\xff", recipients=2), a_message(content=b"other")
    results = await asyncio.gather(
        spool.settle(Settlement(first.lease, to="done", spawned=(bounce, other))),
        spool.settle(Settlement(second.lease, to="done", spawned=(bounce,))),
    )
    assert results == [True, True]
    for spawned in (bounce, other):
        loaded = await spool.load(spawned.message_id, with_content=True)
        assert loaded is not None
        assert (loaded.content, loaded.place, loaded.sender) == (spawned.content, Place.DUE, spawned.sender)
    counters = await numbers(spool.redis, keys.COUNTERS)
    assert (counters["accepted_messages"], counters["accepted_recipients"]) == (4, 5)
    assert sum((await numbers(spool.redis, keys.AGES)).values()) == 2
    assert len(await events_of(spool.redis)) == 4


async def test_contents_of_spawned_messages_stay_with_their_settlement_when_another_is_refused(spool: Spool):
    lost, kept = await accepted_and_claimed(spool), await accepted_and_claimed(spool)
    await end_lease(spool.redis, lost.lease.message_id)
    await spool.sweep(limit=10, max_crashes=9, nudges=0)
    never, spawned = a_message(content=b"never"), a_message(content=b"spawned")
    results = await asyncio.gather(
        spool.settle(Settlement(lost.lease, to="done", spawned=(never,))),
        spool.settle(Settlement(kept.lease, to="done", spawned=(spawned,))),
    )
    assert results == [False, True]
    assert await spool.load(never.message_id) is None
    loaded = await spool.load(spawned.message_id, with_content=True)
    assert loaded is not None
    assert loaded.content == b"spawned"


@pytest.mark.parametrize("to", [None, "due", "parked", "held", "done"])
async def test_a_settlement_sent_again_is_written_once(spool: Spool, to):
    claimed = await accepted_and_claimed(spool)
    before = await numbers(spool.redis, keys.COUNTERS)
    settlement = Settlement(
        claimed.lease, number=3, to=to, reason="x", counts={"sent_recipients": 1}, events=(b"{}",),
        attempts=(answered(an_intent()),), spawned=(a_message(),),
    )  # fmt: skip
    assert [await spool.settle(settlement) for _ in range(3)] == [True, True, True]
    counters = await numbers(spool.redis, keys.COUNTERS)
    assert counters["sent_recipients"] == 1
    assert counters["accepted_messages"] == before["accepted_messages"] + 1
    assert (await events_of(spool.redis)).count(b"{}") == 1


async def test_equal_settlements_of_one_lease_are_told_apart_by_their_number(spool: Spool):
    claimed = await accepted_and_claimed(spool)
    for number in (1, 2, 3):
        assert await spool.settle(Settlement(claimed.lease, number=number, counts={"x": 1}))
    assert (await numbers(spool.redis, keys.COUNTERS))["x"] == 3


async def test_repeats_of_several_settlements_in_any_order_are_written_once(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=20)
    settlements = [
        Settlement(claimed.lease, number=number, attempts=(answered(an_intent(number)),), counts={"x": 1})
        for number in range(1, 21)
    ]
    for one in [*settlements, *reversed(settlements)]:
        assert await spool.settle(one)
    assert (await numbers(spool.redis, keys.COUNTERS))["x"] == 20


async def test_the_next_lease_does_not_know_the_marks_of_the_last(spool: Spool):
    message = a_message()
    await spool.accept(message)
    for _ in range(3):
        [claimed] = await spool.claim([message.message_id], "w")
        assert await spool.settle(Settlement(claimed.lease, number=1, to="due", counts={"x": 1}))
    assert (await numbers(spool.redis, keys.COUNTERS))["x"] == 3


async def test_settlements_of_one_process_are_written_in_the_order_they_were_made(spool: Spool):
    claimed = [await accepted_and_claimed(spool) for _ in range(5)]
    await spool.redis.delete(keys.EVENTS)
    settlements = [
        Settlement(one.lease, number=number, rounds=number, events=(b"%d/%d" % (number, position),))
        for number in range(40)
        for position, one in enumerate(claimed)
    ]
    assert all(await asyncio.gather(*map(spool.settle, settlements)))
    assert await events_of(spool.redis) == [one.events[0] for one in settlements]
    for one in claimed:
        loaded = await spool.load(one.lease.message_id)
        assert loaded is not None
        assert loaded.rounds == 39


class TestLateAnswers:
    """The lease is lost, and then SES's answer comes."""

    @staticmethod
    async def lost(spool: Spool):
        claimed = await accepted_and_claimed(spool)
        intent = Settlement(claimed.lease, number=1, states=(RecipientState.SENDING,), attempts=(an_intent(),))
        assert await spool.settle(intent)
        await end_lease(spool.redis, claimed.lease.message_id)
        await spool.sweep(limit=10, max_crashes=9, nudges=0)
        return claimed

    async def test_it_closes_the_open_attempt_and_nothing_else(self, spool: Spool):
        claimed = await self.lost(spool)
        late = answered(an_intent(), ses_message_id="ses-late")
        settlement = Settlement(
            claimed.lease, number=2, to="done", states=(RecipientState.SENT,), attempts=(late,), events=(b"{}",),
            counts={"sent_recipients": 1},
        )  # fmt: skip
        assert not await spool.settle(settlement)
        loaded = await spool.load(claimed.lease.message_id)
        assert loaded is not None
        assert loaded.attempts == (late,)
        assert (loaded.states, loaded.place) == ((RecipientState.SENDING,), Place.DUE)
        assert b"{}" not in await events_of(spool.redis)
        found = await spool.find("ses-late")
        assert found is not None

    async def test_it_replaces_the_doubt_that_the_next_holder_noted(self, spool: Spool):
        claimed = await self.lost(spool)
        [next_] = await spool.claim([claimed.lease.message_id], "next")
        doubt = answered(an_intent(), "unknown")
        assert await spool.settle(Settlement(next_.lease, number=1, attempts=(doubt,)))
        late = answered(an_intent(), "accepted", ses_message_id="ses-late")
        assert not await spool.settle(Settlement(claimed.lease, number=2, attempts=(late,)))
        assert await attempts_of(spool, claimed.lease.message_id) == (late,)

    async def test_it_does_not_replace_an_outcome(self, spool: Spool):
        claimed = await self.lost(spool)
        [next_] = await spool.claim([claimed.lease.message_id], "next")
        known = answered(an_intent(), "accepted", ses_message_id="ses-1")
        assert await spool.settle(Settlement(next_.lease, number=1, attempts=(known,)))
        for late in (answered(an_intent(), "unknown"), answered(an_intent(), "throttled"), an_intent()):
            assert not await spool.settle(Settlement(claimed.lease, number=2, attempts=(late,)))
        assert await attempts_of(spool, claimed.lease.message_id) == (known,)

    async def test_an_attempt_that_was_never_recorded_stays_so(self, spool: Spool):
        claimed = await self.lost(spool)
        assert not await spool.settle(Settlement(claimed.lease, number=2, attempts=(answered(an_intent(2)),)))
        assert [attempt.number for attempt in await attempts_of(spool, claimed.lease.message_id)] == [1]


async def test_attempts_that_finish_nobody_do_not_gather_without_limit(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=3)
    outcomes = {3: "accepted", 5: "rejected", 7: None}
    for number in range(1, 351):
        intent = an_intent(number)
        assert await spool.settle(Settlement(claimed.lease, number=2 * number, attempts=(intent,)))
        outcome = outcomes.get(number, ("throttled", "unavailable", "unknown")[number % 3])
        if outcome:
            closed = answered(intent, outcome)
            assert await spool.settle(Settlement(claimed.lease, number=2 * number + 1, attempts=(closed,)))
    kept = [attempt.number for attempt in await attempts_of(spool, claimed.lease.message_id)]
    assert kept == [3, 5, 7, *range(351 - KEPT_ATTEMPTS, 351)]


async def test_a_settlement_that_cannot_be_encoded_harms_no_other_in_its_group(spool: Spool):
    first, second = await accepted_and_claimed(spool), await accepted_and_claimed(spool)
    results = await asyncio.gather(
        spool.settle(Settlement(first.lease, to="done", reason="\udc80")),
        spool.settle(Settlement(first.lease, to="done", events=(b"\xff",))),
        spool.settle(Settlement(second.lease, to="done")),
        return_exceptions=True,
    )
    assert [isinstance(result, Exception) for result in results] == [True, True, False]
    assert await places_of(spool.redis, first.lease.message_id) == {Place.LEASED}
