"""Walks every (place, move) pair of spool/states.py against the server."""

import pytest

from spool import keys
from spool.operator import touch
from spool.records import Attempt, Lease, Settlement
from spool.scripts import UNSEAT
from spool.states import AWAITS_EVENT, HELD_BY_OPERATOR, IN_DOUBT, IN_LANE, MESSAGE_TABLE, Move, Place
from spool.store import Spool
from tests.store.messages import ZSETS, a_message, end_lease, numbers, places_of
from tests.store.taking import UNLIMITED, a_seat, lane_numbers

_SETTLED_TO = {
    Move.PUT_BACK: "due", Move.PARK: "parked", Move.QUEUE: "lane", Move.HOLD: "held", Move.FINISH: "done",
}  # fmt: skip
_BY_HAND = {Move.HOLD: "hold", Move.FREE: "free", Move.RETRY: "retry"}
_FROM_A_LANE = {(Place.PARKED, Move.TURN), (Place.PARKED, Move.RECHOOSE)}


def _reason_in(place: Place, move: Move) -> str:
    """Why the message is where the move finds it."""
    if (place, move) in _FROM_A_LANE:
        return IN_LANE
    if (place, move) == (Place.HELD, Move.FREE):
        return HELD_BY_OPERATOR
    return {Place.PARKED: AWAITS_EVENT, Place.HELD: IN_DOUBT}.get(place, "why")


async def _brought_to(spool: Spool, place: Place, move: Move) -> Lease:
    """A message in this place, there for the reason that the move is about, and the last lease that there was."""
    message = a_message()
    await spool.accept(message)
    if place is Place.DUE:
        return Lease(message.message_id, 0, 0.0)
    [claimed] = await spool.claim([message.message_id], "worker@test")
    if place is not Place.LEASED:
        to = {Place.PARKED: "parked", Place.HELD: "held", Place.DONE: "done"}[place]
        to, seat = ("lane", a_seat()) if (place, move) in _FROM_A_LANE else (to, None)
        doubt = Attempt(1, (0,), 1, "worker@test", "unknown")
        await spool.settle(Settlement(claimed.lease, number=1, attempts=(doubt,)))
        after_seconds = 3600 if place is Place.PARKED else 0
        settlement = Settlement(
            claimed.lease, number=2, to=to, after_seconds=after_seconds, reason=_reason_in(place, move), seat=seat
        )
        assert await spool.settle(settlement)
    return claimed.lease


async def _move(spool: Spool, lease: Lease, place: Place, move: Move) -> None:
    if move is Move.CLAIM:
        await spool.claim([lease.message_id], "another@test")
    elif move in _BY_HAND and (place, move) != (Place.LEASED, Move.HOLD):
        await touch(spool.redis, _BY_HAND[move], [lease.message_id])
    elif move in _SETTLED_TO:
        seat = a_seat() if move is Move.QUEUE else None
        await spool.settle(
            Settlement(lease, number=3, to=_SETTLED_TO[move], after_seconds=3600, reason="moved", seat=seat)
        )
    elif move is Move.TURN:
        await spool.gate([UNLIMITED], limit=10)
    elif move is Move.RECHOOSE:
        await UNSEAT(spool.redis, [1000, lease.message_id])
    elif move is Move.CONFIRM:
        await spool.confirm(lease.message_id, 1, "ses-1", 9)
    elif move is Move.RELEASE:
        await spool.release([lease.message_id])
    elif move is Move.DROP:
        message = await spool.load(lease.message_id)
        assert message is not None
        await spool.drop(message, message.states, reason="moved", counts={})
    else:
        # As if its time had come wherever it is, but for the place whose time it is not.
        ripe = keys.LEASED if move is Move.LEASE_END else keys.PARKED
        await spool.redis.zadd(ripe, {lease.message_id: 1}, xx=True)
        await spool.sweep(limit=100, max_crashes=3, nudges=100)


@pytest.mark.parametrize(("place", "move"), list(MESSAGE_TABLE), ids=lambda one: one.value)
async def test_the_scripts_move_as_the_table_says(spool: Spool, place: Place, move: Move):
    lease = await _brought_to(spool, place, move)
    await _move(spool, lease, place, move)
    expected = MESSAGE_TABLE[place, move]
    loaded = await spool.load(lease.message_id)
    assert loaded is not None
    assert loaded.place is expected
    assert await places_of(spool.redis, lease.message_id) == ({expected} - {Place.DONE})
    assert sum((await numbers(spool.redis, keys.AGES)).values()) == (0 if expected is Place.DONE else 1)
    reasons = await numbers(spool.redis, keys.REASONS)
    assert sum(reasons.values()) == (1 if expected in {Place.PARKED, Place.HELD} else 0), reasons
    assert bool(await lane_numbers(spool)) == (loaded.seat is not None)


async def test_a_lease_that_ends_too_often_ends_in_held(spool: Spool):
    message = a_message()
    await spool.accept(message)
    for crashes in (1, 2, 3):
        [claimed] = await spool.claim([message.message_id], "worker@test")
        assert claimed.message.crashes == crashes - 1
        await end_lease(spool.redis, message.message_id)
        swept = await spool.sweep(limit=10, max_crashes=3, nudges=0)
        assert swept.lease_ended == ((message.message_id,) if crashes < 3 else ())
    assert swept.held == (message.message_id,)
    loaded = await spool.load(message.message_id)
    assert loaded is not None
    assert (loaded.place, loaded.reason, loaded.crashes) == (Place.HELD, "workers lost", 3)
    assert (await numbers(spool.redis, keys.COUNTERS))["held_messages"] == 1
    assert await numbers(spool.redis, keys.REASONS) == {"held:workers lost": 1}
    await spool.release([message.message_id])
    [claimed] = await spool.claim([message.message_id], "worker@test")
    assert claimed.message.crashes == 0


@pytest.mark.parametrize("move", [Move.RETRY, Move.FREE, Move.RECHOOSE])
async def test_a_message_that_is_there_for_another_reason_stays(spool: Spool, move: Move):
    place = Place.HELD if move is Move.FREE else Place.PARKED
    lease = await _brought_to(spool, place, Move.TURN if move is Move.RETRY else Move.CLAIM)
    await _move(spool, lease, place, move)
    assert await places_of(spool.redis, lease.message_id) == {place}


async def test_only_workers_lost_in_a_row_count(spool: Spool):
    message = a_message()
    await spool.accept(message)
    for _ in range(5):
        for to in ("crash", "due"):
            [claimed] = await spool.claim([message.message_id], "worker@test")
            if to == "due":
                await spool.settle(Settlement(claimed.lease, to="due"))
            else:
                await end_lease(spool.redis, message.message_id)
                assert (await spool.sweep(limit=10, max_crashes=2, nudges=0)).held == ()


async def test_ids_that_no_hash_belongs_to_leave_every_place(spool: Spool):
    for key in ZSETS.values():
        await spool.redis.zadd(key, {f"gone-{key[-2:]}": 1})
    await spool.sweep(limit=10, max_crashes=3, nudges=10)
    assert await spool.release(["gone-ld", "never-there"]) == [False, False]
    assert [await spool.redis.zcard(key) for key in ZSETS.values()] == [0, 0, 0, 0]
    assert await spool.redis.keys("{ms}:m:*") == []
