"""Answers of SES that come after the lease has gone, against what others know by then."""

import dataclasses

import pytest

from spool.records import Attempt, Settlement
from spool.states import IN_DOUBT, Place
from tests.store.messages import a_message


async def claimed(spool, message_id, worker):
    (one,) = await spool.claim([message_id], worker)
    return one


async def lose_lease(spool, message_id):
    await spool.redis.zadd("{ms}:leased", {message_id: 1})
    await spool.sweep(limit=10, max_crashes=10, nudges=0)


@pytest.fixture
async def left_behind(spool):
    """A message whose first holder made a call and lost its lease: (id, first lease, open attempt)."""
    message = a_message()
    await spool.accept(message)
    first = await claimed(spool, message.message_id, "first")
    attempt = Attempt(1, (0,), 1, "first")
    assert await spool.settle(Settlement(first.lease, number=1, attempts=(attempt,)))
    await lose_lease(spool, message.message_id)
    return message.message_id, first.lease, attempt


async def test_a_holder_that_does_not_know_of_a_late_success_writes_nothing(spool, left_behind):
    message_id, old_lease, attempt = left_behind
    second = await claimed(spool, message_id, "second")
    accepted = dataclasses.replace(attempt, outcome="accepted", ses_message_id="ses-1")
    assert not await spool.settle(Settlement(old_lease, number=2, attempts=(accepted,), to="done"))
    unknown = dataclasses.replace(attempt, outcome="unknown")
    assert not await spool.settle(Settlement(second.lease, number=1, attempts=(unknown,)))
    message = await spool.load(message_id)
    assert (message.place, message.attempts[0].outcome) == (Place.DUE, "accepted")


async def test_a_late_success_lets_a_message_go_on_that_is_held_for_the_doubt(spool, left_behind):
    message_id, old_lease, attempt = left_behind
    second = await claimed(spool, message_id, "second")
    unknown = dataclasses.replace(attempt, outcome="unknown")
    assert await spool.settle(Settlement(second.lease, number=1, attempts=(unknown,), to="held", reason=IN_DOUBT))
    accepted = dataclasses.replace(attempt, outcome="accepted", ses_message_id="ses-1")
    assert not await spool.settle(Settlement(old_lease, number=2, attempts=(accepted,)))
    message = await spool.load(message_id)
    assert (message.place, message.attempts[0].outcome) == (Place.DUE, "accepted")
    assert await spool.redis.hlen("{ms}:reasons") == 0
