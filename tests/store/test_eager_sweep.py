"""While the queue is empty what is due is nudged at once, not after the second of a lost nudge."""

from spool.store import Spool
from tests.store.messages import a_message


async def test_what_is_due_is_nudged_before_its_second_only_when_the_queue_is_empty(spool: Spool):
    message = a_message()
    await spool.accept(message)
    seconds, microseconds = await spool.redis.time()
    in_half_a_second = seconds * 1000 + microseconds // 1000 + 500
    await spool.redis.zadd("{ms}:due", {message.message_id: in_half_a_second + 60_000})
    assert (await spool.sweep(limit=10, max_crashes=10, nudges=50)).to_nudge == ()
    assert (await spool.sweep(limit=10, max_crashes=10, nudges=50, is_queue_empty=True)).to_nudge == ()
    await spool.redis.zadd("{ms}:due", {message.message_id: in_half_a_second})
    eager = await spool.sweep(limit=10, max_crashes=10, nudges=50, is_queue_empty=True)
    assert eager.to_nudge == ((message.message_id, 0),)
