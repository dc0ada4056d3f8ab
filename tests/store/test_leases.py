import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

from spool import keys
from spool.records import Settlement
from spool.states import IN_DOUBT, Place, RecipientState
from spool.store import Spool, Sweep
from tests.servers import RedisServer
from tests.store.messages import (
    a_message,
    accepted_and_claimed,
    an_intent,
    end_lease,
    events_of,
    no_nudge_is_late,
    nudge_is_late,
    numbers,
    open_test_spool,
    places_of,
    wake_now,
)
from tests.store.taking import in_time


async def test_twenty_claimers_of_two_hundred_messages_never_share_one(server: RedisServer, tmp_path: Path):
    async with AsyncExitStack() as stack:
        spools = [await stack.enter_async_context(open_test_spool(server.url, tmp_path)) for _ in range(20)]
        messages = [a_message() for _ in range(200)]
        await asyncio.gather(*(spools[0].accept(message) for message in messages))
        ids = [message.message_id for message in messages]

        async def claims(number: int) -> list[str]:
            mine = ids[number * 7 :] + ids[: number * 7]
            got = [await spools[number].claim(mine[start : start + 10], f"w{number}") for start in range(0, 200, 10)]
            return [one.lease.message_id for group in got for one in group]

        claimed = [one for group in await asyncio.gather(*map(claims, range(20))) for one in group]
        assert sorted(claimed) == sorted(ids)
        assert await spools[0].redis.zcard(keys.LEASED) == 200
        assert await spools[0].redis.zcard(keys.DUE) == 0


async def test_a_claim_brings_the_whole_message_with_its_content(spool: Spool):
    message = a_message(recipients=60, content=b"x" * 5000)
    await spool.accept(message)
    [claimed] = await spool.claim([message.message_id, message.message_id, "0000-unknown"], "w1@host")
    assert claimed.message.content == message.content
    assert claimed.message.recipients == message.recipients
    assert claimed.message.place is Place.LEASED
    assert claimed.lease.fence == 1


async def test_the_deadline_of_a_lease_is_not_later_than_the_servers(spool: Spool):
    before = time.monotonic()
    claimed = await accepted_and_claimed(spool)
    ends_ms = await spool.redis.zscore(keys.LEASED, claimed.lease.message_id)
    seconds, microseconds = await spool.redis.time()
    left_at_server = ends_ms / 1000 - (seconds + microseconds / 1e6)
    assert before + 29 < claimed.lease.deadline <= time.monotonic() + left_at_server + 0.002


async def test_the_fence_rises_with_every_claim_and_every_lost_lease(spool: Spool):
    message = a_message()
    await spool.accept(message)
    fences = []
    for _ in range(3):
        [claimed] = await spool.claim([message.message_id], "w")
        fences.append(claimed.lease.fence)
        await end_lease(spool.redis, message.message_id)
        await spool.sweep(limit=10, max_crashes=100, nudges=0)
    assert fences == sorted(set(fences))


async def test_renewing_prolongs_what_is_held_and_tells_what_is_lost(spool: Spool):
    kept, lost, finished = [await accepted_and_claimed(spool) for _ in range(3)]
    await end_lease(spool.redis, lost.lease.message_id)
    await spool.sweep(limit=10, max_crashes=9, nudges=0)
    await spool.settle(Settlement(finished.lease, to="done"))
    before = await spool.redis.zscore(keys.LEASED, kept.lease.message_id)
    await asyncio.sleep(0.01)
    renewed = await spool.renew([kept.lease, lost.lease, finished.lease])
    assert renewed[1:] == [None, None]
    assert renewed[0] is not None
    assert renewed[0].fence == kept.lease.fence
    assert renewed[0].deadline > kept.lease.deadline
    assert await spool.redis.zscore(keys.LEASED, kept.lease.message_id) > before
    assert await places_of(spool.redis, lost.lease.message_id) == {Place.DUE}


async def test_a_lease_that_ended_unnoticed_can_be_renewed(spool: Spool):
    claimed = await accepted_and_claimed(spool)
    await end_lease(spool.redis, claimed.lease.message_id)
    assert await spool.renew([claimed.lease]) != [None]
    assert (await spool.sweep(limit=10, max_crashes=9, nudges=0)).lease_ended == ()


async def test_an_intent_is_refused_after_the_end_of_the_lease_even_before_the_sweep(spool: Spool):
    claimed = await accepted_and_claimed(spool)
    intent = Settlement(claimed.lease, number=1, states=(RecipientState.SENDING,), attempts=(an_intent(),))
    await end_lease(spool.redis, claimed.lease.message_id)
    assert not await spool.settle(intent)
    loaded = await spool.load(claimed.lease.message_id)
    assert loaded is not None
    assert (loaded.attempts, loaded.states) == ((), (RecipientState.WAITING,))
    assert await spool.settle(Settlement(claimed.lease, number=2, to="due")), "facts are still taken: the fence is"


async def test_an_intent_written_before_is_not_confirmed_after_the_end_of_the_lease(spool: Spool):
    claimed = await accepted_and_claimed(spool)
    intent = Settlement(claimed.lease, number=1, states=(RecipientState.SENDING,), attempts=(an_intent(),))
    assert await spool.settle(intent)
    assert await spool.settle(intent), "a repeat in time"
    await end_lease(spool.redis, claimed.lease.message_id)
    assert not await spool.settle(intent), "a repeat too late: nothing may be sent any more"


async def test_a_holder_whose_lease_was_swept_writes_nothing(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=2)
    await end_lease(spool.redis, claimed.lease.message_id)
    await spool.sweep(limit=10, max_crashes=9, nudges=0)
    before = await spool.redis.hgetall(keys.message_key(claimed.lease.message_id))
    events = await events_of(spool.redis)
    counters = await numbers(spool.redis, keys.COUNTERS)
    for to in ("done", "parked", "held", "due", None):
        assert not await spool.settle(
            Settlement(
                claimed.lease,
                to=to,
                states=(RecipientState.SENT,) * 2,
                rounds=7,
                failures=7,
                attempts=(an_intent(1),),
                told=frozenset({0}),
                events=(b"{}",),
                counts={"sent_recipients": 2},
                spawned=(a_message(),),
            )
        )
    assert await spool.redis.hgetall(keys.message_key(claimed.lease.message_id)) == before
    assert await events_of(spool.redis) == events
    assert await numbers(spool.redis, keys.COUNTERS) == counters
    assert await spool.redis.zcard(keys.DUE) == 1


async def test_a_swept_holder_is_not_told_that_its_lease_holds_by_repeating_what_was_written(spool: Spool):
    claimed = await accepted_and_claimed(spool)
    fact = Settlement(claimed.lease, number=1, states=(RecipientState.SENT,))
    assert await spool.settle(fact)
    await end_lease(spool.redis, claimed.lease.message_id)
    await spool.sweep(limit=10, max_crashes=9, nudges=0)
    assert not await spool.settle(fact)


async def test_two_sweepers_at_once_end_each_lease_once(server: RedisServer, tmp_path: Path):
    async with open_test_spool(server.url, tmp_path) as one, open_test_spool(server.url, tmp_path) as two:
        messages = [a_message() for _ in range(60)]
        await asyncio.gather(*(one.accept(message) for message in messages))
        claimed = await one.claim([message.message_id for message in messages], "w")
        for position, each in enumerate(claimed):
            if position % 2:
                await end_lease(one.redis, each.lease.message_id)
            else:
                await one.settle(Settlement(each.lease, to="parked", after_seconds=60, reason="throttled"))
                await wake_now(one.redis, each.lease.message_id)

        async def swept() -> list[Sweep]:
            sweeps = (spool.sweep(limit=7, max_crashes=9, nudges=100) for _ in range(6) for spool in (one, two))
            return await asyncio.gather(*sweeps)

        sweeps = await swept()
        ended = [id_ for sweep in sweeps for id_ in sweep.lease_ended]
        assert len(ended) == len(set(ended)) == 30
        assert sum(sweep.woken for sweep in sweeps) == 30
        assert {id_ for sweep in sweeps for id_, _ in sweep.to_nudge} == {message.message_id for message in messages}
        assert await one.redis.hgetall(keys.REASONS) == {}

        async def nudged() -> list[str]:
            await nudge_is_late(one.redis, *ended)
            return [id_ for sweep in await swept() for id_, _ in sweep.to_nudge if id_ in ended]

        assert sorted(await in_time(one, nudged, 900)) == sorted(ended), "the nudge of each is wanted once"


async def test_a_sweep_stays_within_its_limits(spool: Spool):
    messages = [a_message() for _ in range(30)]
    await asyncio.gather(*(spool.accept(message) for message in messages))
    ids = [message.message_id for message in messages]
    for claimed in (await spool.claim(ids, "w"))[:20]:
        await spool.settle(Settlement(claimed.lease, to="parked", after_seconds=60, reason="throttled"))
        await wake_now(spool.redis, claimed.lease.message_id)
    for message_id in ids[20:]:
        await end_lease(spool.redis, message_id)
    swept = await spool.sweep(limit=4, max_crashes=9, nudges=3)
    assert (len(swept.lease_ended), swept.woken, len(swept.to_nudge), swept.due) == (4, 4, 3, 8)
    assert (await spool.sweep(limit=0, max_crashes=9, nudges=0)).to_nudge == ()


async def test_a_due_message_is_nudged_when_its_nudge_was_lost_and_not_again_at_once(spool: Spool):
    first = a_message()
    await spool.accept(first)

    async def of_a_new_one() -> tuple[tuple[str, int], ...]:
        await no_nudge_is_late(spool.redis)
        await spool.accept(a_message())
        return (await spool.sweep(limit=10, max_crashes=9, nudges=10)).to_nudge

    async def of_one_whose_nudge_was_lost() -> list[tuple[tuple[str, int], ...]]:
        await no_nudge_is_late(spool.redis)
        await nudge_is_late(spool.redis, first.message_id)
        return [(await spool.sweep(limit=10, max_crashes=9, nudges=10)).to_nudge for _ in range(2)]

    assert await in_time(spool, of_a_new_one, 900) == (), "the door's nudge is on its way"
    assert await in_time(spool, of_one_whose_nudge_was_lost, 900) == [((first.message_id, 0),), ()]


async def test_a_message_of_a_lost_worker_is_nudged_with_its_crashes_at_once(spool: Spool):
    claimed = await accepted_and_claimed(spool)
    await end_lease(spool.redis, claimed.lease.message_id)
    swept = await spool.sweep(limit=10, max_crashes=9, nudges=10)
    assert swept.to_nudge == ((claimed.lease.message_id, 1),)


async def test_a_parked_message_wakes_by_the_servers_clock(spool: Spool):
    soon, later = [await accepted_and_claimed(spool) for _ in range(2)]
    await spool.settle(Settlement(later.lease, to="parked", after_seconds=3600, reason="throttled"))
    assert (await spool.sweep(limit=10, max_crashes=9, nudges=10)).woken == 0
    await spool.settle(Settlement(soon.lease, to="parked", after_seconds=0.05, reason="throttled"))
    limit = time.monotonic() + 60
    while not (woken := (await spool.sweep(limit=10, max_crashes=9, nudges=10)).woken):
        assert time.monotonic() < limit
    assert woken == 1
    assert await places_of(spool.redis, soon.lease.message_id) == {Place.DUE}
    assert await places_of(spool.redis, later.lease.message_id) == {Place.PARKED}


async def test_a_release_makes_doubt_a_new_attempt_and_forgets_failures(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=4)
    states = tuple(RecipientState(letter) for letter in "uSuR")
    await spool.settle(Settlement(claimed.lease, to="held", states=states, failures=3, reason=IN_DOUBT))
    assert await numbers(spool.redis, keys.REASONS) == {f"held:{IN_DOUBT}": 1}
    assert await spool.release([claimed.lease.message_id]) == [True]
    assert await spool.release([claimed.lease.message_id]) == [False]
    loaded = await spool.load(claimed.lease.message_id)
    assert loaded is not None
    assert "".join(loaded.states) == "wSwR"
    assert (loaded.failures, loaded.place, loaded.reason) == (0, Place.DUE, "")
    assert await spool.redis.hgetall(keys.REASONS) == {}
