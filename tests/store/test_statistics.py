"""GetSendStatistics: what the scripts count, and what is read of it."""

import time

from config.queues import KEY_PREFIX
from spool import scripts
from spool.records import Settlement
from spool.states import RecipientState
from spool.statistics import SLOT_SECONDS, SendDataPoint, send_statistics
from spool.store import Spool
from tests.store.messages import a_message, accepted_and_claimed


async def test_what_became_of_recipients_is_counted_with_their_states(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=5)
    counts = {"sent_recipients": 3, "rejected_recipients": 1, "unknown_recipients": 1}
    settlement = Settlement(claimed.lease, number=1, counts=counts)
    for _ in range(2):  # its answer was lost
        assert await spool.settle(settlement)
    await spool.settle(Settlement(claimed.lease, number=2, to="held", reason="x", counts={"sent_recipients": 1}))
    points = await send_statistics(spool.redis)
    assert (sum(one.attempts for one in points), sum(one.rejects for one in points)) == (4, 1)
    assert len(points) in {1, 2}, "another slot may have begun between the two"
    for point in points:
        assert point == SendDataPoint(point.at_s, attempts=point.attempts, rejects=point.rejects)
        assert point.at_s % SLOT_SECONDS == 0
        assert abs(time.time() - point.at_s) < SLOT_SECONDS + 60


async def test_suppressed_recipients_are_bounces_as_their_event_says(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=3)
    counts = {"rejected_recipients": 3, "suppressed_recipients": 2}
    assert await spool.settle(Settlement(claimed.lease, number=1, counts=counts))
    [point] = await send_statistics(spool.redis)
    assert point == SendDataPoint(point.at_s, bounces=2, rejects=1)


async def test_what_a_drop_finds_to_be_sent_is_counted_too(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=2)
    await spool.settle(Settlement(claimed.lease, number=1, to="held", reason="x"))
    message = await spool.load(claimed.lease.message_id)
    assert message is not None
    states = [RecipientState.SENT, RecipientState.DROPPED]
    assert await spool.drop(message, states, reason="x", counts={"sent_recipients": 1, "dropped_recipients": 1})
    assert [point.attempts for point in await send_statistics(spool.redis)] == [1]


async def test_two_weeks_are_told_and_older_days_go_by_themselves(spool: Spool):
    day = int(time.time()) // 86400
    for days, at_s in ((15, day * 86400 - 15 * 86400), (13, day * 86400 - 13 * 86400)):
        await spool.redis.hset(f"{KEY_PREFIX}statistics:{day - days}", f"{at_s}:bounces", 7)
    await accepted_and_settled(spool)
    points = await send_statistics(spool.redis)
    assert [(point.bounces, point.attempts) for point in points] == [(7, 0), (0, 1)]
    key = max([key async for key in spool.redis.scan_iter(f"{KEY_PREFIX}statistics:*")])
    assert 14 * 86400 < await spool.redis.ttl(key) <= 16 * 86400


async def accepted_and_settled(spool: Spool) -> None:
    claimed = await accepted_and_claimed(spool)
    await spool.settle(Settlement(claimed.lease, number=1, counts={"sent_recipients": 1}))


async def test_nothing_happened_is_no_point(spool: Spool):
    await spool.accept(a_message())
    assert await send_statistics(spool.redis) == []
    assert scripts.SETTLE.source.count("local function count_statistic") == 1
