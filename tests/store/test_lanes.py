"""Messages that wait for their turn: the queues of the lanes, and the gate that lets them go."""

import random

import orjson
import pytest

from spool import keys
from spool.records import Settlement
from spool.sending_quota import Denied, Granted, RouteFact
from spool.states import FAR_FUTURE_MS, HELD_BY_OPERATOR, IN_LANE, PAUSED_DOMAIN, Place, RecipientState
from spool.store import Spool
from tests.store.messages import (
    accepted_and_claimed,
    end_lease,
    events_of,
    numbers,
    places_of,
    wake_now,
)
from tests.store.taking import (
    ROUTE,
    UNLIMITED,
    a_seat,
    intended,
    lane_numbers,
    limits,
    look,
    now_ms,
    put_off,
    queued,
    set_route,
    view,
)

PAUSE = '{"until":0,"since":1,"why":"x","by":"me"}'


async def tokens_come(spool: Spool, recipients: float, **more: float) -> None:
    """The releases of both lanes stand so far above the level at which they pass; nothing else flows in."""
    await set_route(spool, **{"r_express": recipients, "r_bulk": recipients, "s_bulk": recipients, **more})


async def released_all(spool: Spool, of, most: int = 1000) -> list[str]:
    """Everything that waits, in the order in which it goes, with one release at a time."""
    order: list[str] = []
    while len(order) < most and (ids := await look(spool, of, limit=1)):
        order += ids
    return order


async def test_a_message_in_a_lane_is_parked_and_says_where_it_waits(spool: Spool):
    message_id = await queued(spool, a_seat("bulk", "grüße@example.com", 2.5), recipients=7)
    loaded = await spool.load(message_id)
    assert loaded is not None
    assert (loaded.place, loaded.reason, loaded.until_ms) == (Place.PARKED, IN_LANE, FAR_FUTURE_MS)
    assert loaded.seat == a_seat("bulk", "grüße@example.com", 2.5)
    assert await places_of(spool.redis, message_id) == {Place.PARKED}
    assert await lane_numbers(spool) == {f"{ROUTE}:bulk:messages": 1, f"{ROUTE}:bulk:recipients": 7}
    assert await numbers(spool.redis, keys.REASONS) == {f"parked:{IN_LANE}": 1}
    summary = (await spool.load_summaries([message_id]))[message_id]
    assert summary.seat == loaded.seat
    assert not [key for key in await spool.redis.keys("*") if "grüße".encode() in key]


async def test_only_recipients_that_wait_are_counted(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=5)
    states = tuple(RecipientState(letter) for letter in "SwuwR")
    await spool.settle(Settlement(claimed.lease, 1, "lane", seat=a_seat(), states=states))
    assert (await lane_numbers(spool))[f"{ROUTE}:express:recipients"] == 2


async def test_a_message_without_a_waiting_recipient_may_pass_through_a_lane(spool: Spool):
    claimed = await accepted_and_claimed(spool)
    await spool.settle(Settlement(claimed.lease, 1, "lane", seat=a_seat(), states=(RecipientState.UNKNOWN,)))
    assert await look(spool, UNLIMITED) == (claimed.lease.message_id,)
    assert await lane_numbers(spool) == {}


async def test_a_released_message_is_due_with_a_turn_and_stands_nowhere_else(spool: Spool):
    message_id = await queued(spool, a_seat(), recipients=120)
    gate = await spool.gate([UNLIMITED], limit=10)
    assert gate.released == (message_id,)
    assert gate.routes[ROUTE].waiting_messages == 0
    assert await places_of(spool.redis, message_id) == {Place.DUE}
    [claimed] = await spool.claim([message_id], "w")
    assert (claimed.message.turn, claimed.message.turn_at, claimed.message.seat) == (120, f"{ROUTE}:express", None)
    assert await lane_numbers(spool) == {}
    assert await spool.redis.keys("{ms}:line:*") == []
    assert await spool.redis.zcard("{ms}:released") == 0


async def test_a_turn_is_half_a_second_of_the_rate_and_fifty_at_least(spool: Spool):
    for rate, turn in ((14, 50), (1000, 495), (100, 50)):
        message_id = await queued(spool, a_seat(), recipients=600)
        await spool.gate([limits(rate)], limit=0)
        await tokens_come(spool, 1)
        assert await look(spool, limits(rate)) == (message_id,)
        [claimed] = await spool.claim([message_id], "w")
        assert claimed.message.turn == turn


async def test_a_turn_passes_the_queue_and_when_it_is_used_up_the_message_queues_again(spool: Spool):
    first, _ = await queued(spool, a_seat(), recipients=60), await queued(spool, a_seat(), recipients=1)
    await spool.gate([limits(100)], limit=0)
    await tokens_come(spool, -40, c=40)
    assert await look(spool, limits(100)) == (first,)
    [claimed] = await spool.claim([first], "w")
    assert await intended(spool, claimed, a_seat(), limits(100), 30, number=1) == Granted()
    loaded = await spool.load(first)
    assert loaded is not None
    assert loaded.turn == 20
    assert await intended(spool, claimed, a_seat(), limits(100), 20, number=2) == Granted()
    assert await intended(spool, claimed, a_seat(), limits(100), 10, number=3) == Denied("queue", 0)


async def test_a_turn_of_one_route_is_none_of_another(spool: Spool):
    message_id = await queued(spool, a_seat(route="other"))
    other = limits(name="other")
    assert await look(spool, other) == (message_id,)
    [claimed] = await spool.claim([message_id], "w")
    await queued(spool, a_seat())
    assert await intended(spool, claimed, a_seat(), UNLIMITED) == Denied("queue", 0)
    assert await intended(spool, claimed, a_seat(route="other"), other) == Granted()


async def test_messages_of_a_sender_go_in_the_order_of_their_acceptance(spool: Spool):
    claimed = [await accepted_and_claimed(spool) for _ in range(30)]
    ids = [one.lease.message_id for one in claimed]
    assert ids == sorted(ids)
    for one in random.Random(7).sample(claimed, len(claimed)):
        await spool.redis.hset(keys.message_key(one.lease.message_id), "at", 1_700_000_000_000)  # all in one ms
        await spool.settle(Settlement(one.lease, 1, "lane", seat=a_seat()))
    assert await released_all(spool, UNLIMITED) == ids


async def test_what_comes_back_with_a_used_up_turn_stands_in_front_again(spool: Spool):
    ids = [await queued(spool, a_seat(), recipients=200) for _ in range(3)]
    await spool.gate([limits(10)], limit=0)
    await tokens_come(spool, 1)
    assert await look(spool, limits(10)) == (ids[0],)
    [claimed] = await spool.claim([ids[0]], "w")
    assert await spool.settle(Settlement(claimed.lease, 1, "lane", seat=a_seat(), reason=IN_LANE))
    await tokens_come(spool, 1)
    assert await look(spool, limits(10)) == (ids[0],)


async def test_senders_take_turns_in_proportion_to_their_weights(spool: Spool):
    senders = {"alice": 1.0, "bob": 1.0, "carol": 3.0}
    owner = {}
    for _ in range(50):
        for sender, weight in senders.items():
            owner[await queued(spool, a_seat(sender=sender, weight=weight), recipients=10)] = sender
    order = [owner[message_id] for message_id in await released_all(spool, UNLIMITED, 50)]
    assert (order.count("alice"), order.count("bob"), order.count("carol")) == (10, 10, 30)
    for begin in range(0, 40, 10):
        part = order[begin : begin + 10]
        assert 1 <= part.count("alice") <= 3


async def test_one_mail_does_not_wait_for_a_hundred_thousand_of_another_sender(spool: Spool):
    big = await queued(spool, a_seat(sender="news"), recipients=1000)
    more = [await queued(spool, a_seat(sender="news")) for _ in range(20)]
    await spool.gate([limits(10)], limit=0)
    await tokens_come(spool, 1)
    assert await look(spool, limits(10)) == (big,)
    [claimed] = await spool.claim([big], "w")
    await spool.settle(Settlement(claimed.lease, 1, "lane", seat=a_seat(sender="news")))
    small = await queued(spool, a_seat(sender="alice"))
    await tokens_come(spool, 1)
    assert (await look(spool, limits(10)))[0] == small
    assert await spool.redis.zscore(keys.PARKED, more[0])


async def test_a_sender_that_was_away_gets_no_arrears(spool: Spool):
    for _ in range(40):
        await queued(spool, a_seat(sender="busy"))
    await released_all(spool, UNLIMITED, 20)
    owner = {await queued(spool, a_seat(sender="late")): "late" for _ in range(20)}
    order = [owner.get(message_id, "busy") for message_id in await released_all(spool, UNLIMITED, 20)]
    assert 9 <= order.count("late") <= 11


async def test_who_was_served_directly_is_served_later_than_who_had_to_wait(spool: Spool):
    route = limits(50, -1)
    claimed = await accepted_and_claimed(spool, recipients=100)
    assert await intended(spool, claimed, a_seat(sender="big"), route, 50) == Granted()
    waiting = (RecipientState.SENT,) * 50 + (RecipientState.WAITING,) * 50
    await spool.settle(Settlement(claimed.lease, 2, "lane", seat=a_seat(sender="big"), states=waiting))
    small = await queued(spool, a_seat(sender="small"))
    await tokens_come(spool, 1)
    assert (await look(spool, route, limit=1)) == (small,)


class TestLanesAndTokens:
    async def test_the_gate_lets_go_what_half_a_second_allows(self, spool: Spool):
        for _ in range(200):
            await queued(spool, a_seat(), recipients=1)
        await spool.gate([limits(100)], limit=0)
        await tokens_come(spool, 1)
        gate = await spool.gate([limits(100)], limit=1000)
        assert len(gate.released) == 50  # 0.5 s x 99/s, from one token
        assert 1 <= gate.next_ms <= 1000
        assert await look(spool, limits(100)) == ()

    async def test_the_lane_before_goes_first_and_is_not_stopped_by_what_the_other_has_taken(self, spool: Spool):
        bulk = await queued(spool, a_seat("bulk"), recipients=5000)
        await spool.gate([limits(14)], limit=0)
        await tokens_come(spool, 1)
        assert await look(spool, limits(14)) == (bulk,)
        express = await queued(spool, a_seat("express"))
        assert await look(spool, limits(14)) == (express,), "bulk's debt of a turn is not express's"
        both = await queued(spool, a_seat("bulk")), await queued(spool, a_seat("express"))
        await tokens_come(spool, 1)
        assert await look(spool, limits(14)) == both[::-1]

    async def test_what_the_lane_before_takes_is_missing_for_the_one_after_it(self, spool: Spool):
        await queued(spool, a_seat("bulk"))
        await queued(spool, a_seat("express"), recipients=50)
        await spool.gate([limits(14)], limit=0)
        await tokens_come(spool, 1)
        assert len(await look(spool, limits(14))) == 1

    async def test_bulk_never_takes_the_reserved_share(self, spool: Spool):
        for _ in range(100):
            await queued(spool, a_seat("bulk"))
        await spool.gate([limits(100)], limit=0)
        await tokens_come(spool, 50, s_bulk=1)
        assert len(await look(spool, limits(100))) == 40  # 80 % of half a second

    async def test_nothing_goes_beyond_a_lanes_share_of_the_daily_quota(self, spool: Spool):
        for lane in ("express", "bulk"):
            for _ in range(30):
                await queued(spool, a_seat(lane), recipients=10)
        assert len(await look(spool, limits(0, 200))) == 20, "express may take all of it"
        await set_route(spool, day=150)
        assert len(await look(spool, limits(0, 200))) == 5
        await set_route(spool, day=0)
        for _ in range(5):
            await look(spool, limits(0, 10**6))
        for _ in range(30):
            await queued(spool, a_seat("bulk"), recipients=10)
        assert len(await look(spool, limits(0, 200))) == 16

    async def test_nothing_goes_while_the_route_is_in_trouble_but_one_probe(self, spool: Spool):
        ids = [await queued(spool, a_seat()) for _ in range(5)]
        claimed = await accepted_and_claimed(spool)
        await spool.settle(Settlement(claimed.lease, 1, "due", facts=(RouteFact("trouble", ROUTE, "Paused"),)))
        await put_off(spool, "tp")
        assert await look(spool, UNLIMITED) == ()
        await set_route(spool, tp=await now_ms(spool) - 1)
        assert await look(spool, UNLIMITED) == (ids[0],)
        await put_off(spool, "tr")
        assert await look(spool, UNLIMITED) == (), "the probe is under way"
        await set_route(spool, tr=await now_ms(spool) - 1)
        assert await look(spool, UNLIMITED) == (ids[1],), "it was never claimed: another one"
        [probe] = await spool.claim([ids[1]], "w")
        assert await intended(spool, probe, a_seat(), UNLIMITED) == Granted()
        await set_route(spool, tr=0)
        await put_off(spool, "tp")
        assert await look(spool, UNLIMITED) == ()
        await spool.settle(Settlement(probe.lease, 2, "done", facts=(RouteFact("ok", ROUTE),)))
        assert len(await look(spool, UNLIMITED)) == 3

    async def test_a_look_releases_no_more_than_it_was_asked_for(self, spool: Spool):
        for _ in range(5):
            await queued(spool, a_seat())
        gate = await spool.gate([UNLIMITED], limit=3)
        assert (len(gate.released), gate.routes[ROUTE].waiting_messages) == (3, 2)
        assert gate.next_ms < 1000

    async def test_released_messages_that_nobody_claims_stop_the_gate_for_a_while(self, spool: Spool):
        await queued(spool, a_seat())
        now = await now_ms(spool)
        await spool.redis.zadd("{ms}:released", {f"0000-{n}": now + 60_000 for n in range(2000)})
        assert await look(spool, UNLIMITED) == ()
        await spool.redis.zadd("{ms}:released", {f"0000-{n}": now - 10_001 for n in range(2000)})
        assert len(await look(spool, UNLIMITED)) == 1


class TestPauses:
    @pytest.mark.parametrize("scope", ["all", f"route:{ROUTE}", "lane:express"])
    async def test_nothing_goes_while_it_is_paused(self, spool: Spool, scope: str):
        await queued(spool, a_seat())
        bulk = await queued(spool, a_seat("bulk"))
        await spool.redis.hset(keys.PAUSES, scope, PAUSE)
        gate = await spool.gate([UNLIMITED], limit=10)
        assert gate.released == ((bulk,) if scope == "lane:express" else ())
        assert [one.scope for one in gate.pauses] == [scope]
        await spool.redis.delete(keys.PAUSES)
        assert len(await look(spool, UNLIMITED)) == (1 if gate.released else 2)

    async def test_a_paused_user_is_taken_out_of_the_schedule_and_comes_back(self, spool: Spool):
        alice = [await queued(spool, a_seat(sender="alice")) for _ in range(3)]
        bob = await queued(spool, a_seat(sender="bob"))
        await spool.redis.hset(keys.PAUSES, "user:alice", PAUSE)
        before = (await view(spool, UNLIMITED)).lanes["express"]
        assert (before.paused_senders, before.is_all_paused) == (1, False), "the gate has not looked yet"
        assert await look(spool, UNLIMITED) == (bob,)
        alice.append(await queued(spool, a_seat(sender="alice")))
        shown = await view(spool, UNLIMITED)
        assert (shown.lanes["express"].messages, shown.lanes["express"].paused_senders) == (4, 1)
        assert shown.lanes["express"].is_all_paused
        free = await accepted_and_claimed(spool)
        assert await intended(spool, free, a_seat(sender="bob"), UNLIMITED) == Granted(), "nobody else waits for her"
        await spool.redis.delete(keys.PAUSES)
        assert await look(spool, UNLIMITED) == tuple(alice)
        assert (await view(spool, UNLIMITED)).lanes["express"].paused_senders == 0

    async def test_a_paused_users_last_message_that_goes_another_way_leaves_nothing_behind(self, spool: Spool):
        message_id = await queued(spool, a_seat(sender="alice"))
        await spool.redis.hset(keys.PAUSES, "user:alice", PAUSE)
        await look(spool, UNLIMITED)
        await spool.release([message_id])
        assert await spool.redis.keys("{ms}:benched:*") == []
        assert await lane_numbers(spool) == {}

    async def test_a_pause_whose_time_is_over_is_removed(self, spool: Spool):
        past, future = await now_ms(spool) - 1, await now_ms(spool) + 60_000
        await spool.redis.hset(keys.PAUSES, "user:a", f'{{"until":{past},"since":1,"why":"","by":""}}')
        await spool.redis.hset(keys.PAUSES, "user:b", f'{{"until":{future},"since":1,"why":"w","by":"me"}}')
        gate = await spool.gate([UNLIMITED], limit=1)
        assert [(one.scope, one.until_ms, one.why, one.by) for one in gate.pauses] == [("user:b", future, "w", "me")]
        assert await spool.redis.hkeys(keys.PAUSES) == [b"user:b"]

    async def test_the_time_of_a_pause_does_not_count_for_the_age_of_who_waits(self, spool: Spool):
        await spool.redis.hset(keys.PAUSES, "user:alice", PAUSE)
        await look(spool, UNLIMITED)
        before = await queued(spool, a_seat(sender="alice"))
        await look(spool, UNLIMITED)
        await spool.redis.hincrby("{ms}:kept", "at", -60_000)  # as if a minute had gone by
        await look(spool, UNLIMITED)
        after, other = await queued(spool, a_seat(sender="alice")), await queued(spool, a_seat(sender="bob"))
        await spool.redis.delete(keys.PAUSES)
        await look(spool, UNLIMITED)
        kept = [(await spool.load(one)).kept_ms for one in (before, after, other)]
        assert 60_000 <= kept[0] < 120_000
        assert max(kept[1:]) < 60_000
        await look(spool, UNLIMITED)
        assert await spool.redis.exists("{ms}:kept") == 0, "nobody waits: nothing is remembered"


class TestWhereverTheyGo:
    async def test_a_wake_up_takes_it_out_of_its_lane(self, spool: Spool):
        message_id = await queued(spool, a_seat(), after_seconds=60)
        assert await spool.redis.zscore(keys.PARKED, message_id) < await now_ms(spool) + 60_001
        await wake_now(spool.redis, message_id)
        await spool.sweep(limit=10, max_crashes=9, nudges=10)
        loaded = await spool.load(message_id)
        assert loaded is not None
        assert (loaded.place, loaded.turn, loaded.seat) == (Place.DUE, 0, None)
        assert await lane_numbers(spool) == {}
        assert await look(spool, UNLIMITED) == ()

    async def test_an_operators_drop_takes_it_out_of_its_lane(self, spool: Spool):
        message_id = await queued(spool, a_seat())
        message = await spool.load(message_id)
        assert message is not None
        assert await spool.drop(message, (RecipientState.DROPPED,), reason="x", counts={})
        assert await lane_numbers(spool) == {}
        assert await look(spool, UNLIMITED) == ()

    async def test_a_lost_worker_leaves_its_turn_to_the_next(self, spool: Spool):
        message_id = await queued(spool, a_seat(), recipients=9)
        await look(spool, UNLIMITED)
        await spool.claim([message_id], "w")
        await end_lease(spool.redis, message_id)
        await spool.sweep(limit=10, max_crashes=9, nudges=10)
        [claimed] = await spool.claim([message_id], "w2")
        assert claimed.message.turn == 9
        assert await spool.settle(Settlement(claimed.lease, 1, "parked", after_seconds=9, reason="unavailable"))
        loaded = await spool.load(message_id)
        assert loaded is not None
        assert loaded.turn == 0

    @pytest.mark.parametrize("to", ["due", "parked", "lane", "held"])
    async def test_a_hold_that_came_meanwhile_wins(self, spool: Spool, to):
        claimed = await accepted_and_claimed(spool, recipients=2)
        await spool.redis.hset(keys.message_key(claimed.lease.message_id), "ho", 1)
        states = (RecipientState.SENT, RecipientState.WAITING)
        seat = a_seat() if to == "lane" else None
        reason = HELD_BY_OPERATOR if to == "held" else "x"
        counts = {"held_messages": 1} if to == "held" else {}
        assert await spool.settle(
            Settlement(claimed.lease, 1, to, reason=reason, seat=seat, states=states, counts=counts)
        )
        loaded = await spool.load(claimed.lease.message_id)
        assert loaded is not None
        assert (loaded.place, loaded.reason, loaded.is_hold_wanted) == (Place.HELD, HELD_BY_OPERATOR, False)
        assert await lane_numbers(spool) == {}
        event = orjson.loads((await events_of(spool.redis))[-1])
        assert (event["k"], event["id"], event["why"], event["r"]) == ("held", loaded.message_id, loaded.reason, [1])
        assert (await numbers(spool.redis, keys.COUNTERS))["held_messages"] == 1

    async def test_messages_of_a_lane_that_the_settings_lost_become_due_as_newcomers(self, spool: Spool):
        gone = await queued(spool, a_seat("gone")), await queued(spool, a_seat(route="gone"))
        assert sorted(await look(spool, UNLIMITED)) == sorted(gone)
        loaded = await spool.load(gone[0])
        assert loaded is not None
        assert (loaded.place, loaded.turn) == (Place.DUE, 0)

    async def test_some_that_wait_for_a_route_can_be_asked_for(self, spool: Spool):
        mine = {await queued(spool, a_seat(lane, sender)) for lane in ("express", "bulk") for sender in "abc"}
        await queued(spool, a_seat(route="other"))
        found = await spool.rechoose(ROUTE, limit=100)
        assert {message_id for message_id, _ in found} == mine
        assert {seat.route for _, seat in found} == {ROUTE}
        assert len(await spool.rechoose(ROUTE, limit=2)) == 2
        assert await spool.rechoose("none", limit=5) == ()

    async def test_the_numbers_of_the_lanes_stay_exact_whatever_happens(self, spool: Spool):
        chance, waiting = random.Random(11), {}
        for _ in range(150):
            act = chance.choice(["queue", "queue", "queue", "wake", "release", "drop", "gate"])
            if act == "queue" or not waiting:
                seat = a_seat(chance.choice(["express", "bulk"]), chance.choice("abcd"), chance.choice([1, 2]))
                recipients = chance.randint(1, 9)
                waiting[await queued(spool, seat, recipients)] = (seat, recipients)
                continue
            message_id = chance.choice(list(waiting))
            if act == "wake":
                await wake_now(spool.redis, message_id)
                await spool.sweep(limit=10, max_crashes=9, nudges=10)
                gone = {message_id}
            elif act == "release":
                await spool.release([message_id])
                gone = {message_id}
            elif act == "drop":
                message = await spool.load(message_id)
                await spool.drop(message, (RecipientState.DROPPED,) * len(message.states), reason="x", counts={})
                gone = {message_id}
            else:
                gone = set(await look(spool, UNLIMITED, limit=2))
            waiting = {one: what for one, what in waiting.items() if one not in gone}
            await self._check(spool, waiting)

    @staticmethod
    async def _check(spool: Spool, waiting) -> None:
        expected: dict[str, int] = {}
        for seat, recipients in waiting.values():
            at = f"{seat.route}:{seat.lane}"
            expected[f"{at}:messages"] = expected.get(f"{at}:messages", 0) + 1
            expected[f"{at}:recipients"] = expected.get(f"{at}:recipients", 0) + recipients
        assert await lane_numbers(spool) == expected
        lines = [await spool.redis.zcard(key) for key in await spool.redis.keys("{ms}:line:*")]
        assert sum(lines) == len(waiting)
        senders = {(seat.lane, seat.sender) for seat, _ in waiting.values()}
        active = [await spool.redis.zcard(key) for key in await spool.redis.keys("{ms}:lane:*")]
        assert sum(active) == len(senders)


async def test_senders_that_are_gone_are_forgotten(spool: Spool):
    for n in range(300):
        await queued(spool, a_seat(sender=f"user{n}"))
    await released_all(spool, UNLIMITED)
    await look(spool, UNLIMITED)
    assert await spool.redis.keys("{ms}:served:*") == []
    assert await spool.redis.exists(keys.LANES) == 0


_FILL = """
for n = 1, tonumber(ARGV[1]) do
  local id = string.format('%016x-%s', n, ARGV[2])
  local sender = redis.sha1hex('user' .. n % 500)
  local seat = {route='main', lane='express', sender='user' .. n % 500, weight=1, from_domain='', recipients=1, kept=0}
  redis.call('HSET', '{ms}:m:' .. id, 'm', '{}', 'at', n, 'p', 'parked', 'r', 'w', 'why', 'waits', 'l',
    cjson.encode(seat))
  redis.call('ZADD', '{ms}:parked', 9999999999999, id)
  redis.call('ZADD', '{ms}:line:main:express:' .. sender, n, id)
  redis.call('ZADD', '{ms}:lane:main:express', 0, sender)
end
redis.call('HINCRBY', '{ms}:lanes', 'main:express:messages', ARGV[1])
redis.call('HINCRBY', '{ms}:lanes', 'main:express:recipients', ARGV[1])
"""


@pytest.mark.timeout(300)
async def test_a_look_costs_the_same_with_a_thousand_and_with_a_hundred_thousand_waiting(spool: Spool):
    await spool.redis.config_set("appendfsync", "no")  # a slow disk is not what is measured

    async def commands_of_a_look() -> int:
        await tokens_come(spool, -30)
        await spool.redis.config_resetstat()
        assert len(await look(spool, limits(100))) == 19
        return sum(row["calls"] for row in (await spool.redis.info("commandstats")).values())

    await spool.redis.eval(_FILL, 0, 1000, "few")
    few = await commands_of_a_look()
    for part in range(220):  # each of them is quick: a client does not wait for an answer for ever
        await spool.redis.eval(_FILL, 0, 450, f"many-{part}")
    many = await commands_of_a_look()
    assert (await view(spool, limits(100))).waiting_messages == 100_000 - 38
    assert many <= few + 2


async def test_the_time_that_a_paused_domain_keeps_a_message_does_not_count_for_its_age(spool: Spool):
    claimed = await accepted_and_claimed(spool)
    message_id = claimed.lease.message_id
    parked = Settlement(claimed.lease, 1, to="parked", reason=PAUSED_DOMAIN, after_seconds=3600)
    assert await spool.settle(parked)
    await spool.redis.hincrby(keys.message_key(message_id), "pd", -5000)
    await wake_now(spool.redis, message_id)
    await spool.sweep(limit=10, max_crashes=10, nudges=10)
    [again] = await spool.claim([message_id], "worker")
    assert 5000 <= again.message.kept_ms < 60_000
    assert not await spool.redis.hexists(keys.message_key(message_id), "pd")
