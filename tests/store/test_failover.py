"""Mail that waits for a route in trouble goes to another that its sender may use; the rest waits on."""

import dataclasses

import pytest

from config.settings import Settings
from spool import keys
from spool.records import Settlement
from spool.sending_quota import Gate, LaneView, Pause, RouteFact, RouteView, Seat, Trouble
from spool.states import IN_LANE, Place, RecipientState
from tests.store.messages import accepted_and_claimed, places_of
from tests.store.taking import in_time
from tests.unit.worker.stand import AnsweringSes, stand
from worker.failover import Failover
from worker.relay.choice import seat_of
from worker.relay.routes import Routes

_NEVER_MS = 9_999_999_999_999
ROUTES = {"first": {}, "second": {"from_domains": ["example.com"]}}


def tools_for(spool, routes=ROUTES):
    tools = stand(routes=routes)
    settings = Settings.model_validate({"routes": routes})
    ways = Routes(settings, new_client=lambda _: AnsweringSes())
    return dataclasses.replace(tools, spool=spool, routes=ways, settings=settings)


async def waiting_at(spool, route, from_domain, sender="app@example.com", states=None):
    """A message in the queue of a route."""
    claimed = await accepted_and_claimed(spool, recipients=len(states or "w"))
    seat = Seat(route, "express", sender, 1.0, from_domain)
    assert await spool.settle(Settlement(claimed.lease, 1, to="lane", seat=seat, reason=IN_LANE, states=states))
    return claimed.message.message_id


async def looked(tools):
    tools.routes.saw(await tools.spool.gate(tools.routes.all_limits, limit=10))


async def troubled(tools, route="first", *, since_ms_ago=60_000):
    """The route's breaker has been open for a while, by the word of the gate."""
    await looked(tools)
    view = tools.routes.view(route)
    trouble = Trouble("AccountSendingPaused", "paused", view.taken_at_ms - since_ms_ago, 1 << 50, is_account=True)
    told(tools, dataclasses.replace(view, trouble=trouble))


def told(tools, *views, pauses=()):
    """What the gate would tell."""
    tools.routes.saw(Gate((), 1000, {view.name: view for view in views}, pauses))


async def gate_is_closed(spool):
    """The first route is in trouble: the gate lets nothing go any more, not as a probe either.

    Since when it is so `troubled` says: by the gate's word it is not even now, however long the test takes.
    """
    claimed = await accepted_and_claimed(spool)
    fact = RouteFact("trouble", "first", "AccountSendingPaused", "paused")
    await spool.settle(Settlement(claimed.lease, 1, to="done", facts=(fact,)))
    await spool.redis.hset(keys.route_key("first"), mapping={"tp": _NEVER_MS, "ts": _NEVER_MS})


@pytest.fixture
async def waiting(spool):
    """Tools, a message that another route allows, and one that none does."""
    tools = tools_for(spool)
    await gate_is_closed(spool)
    movable = await waiting_at(spool, "first", "example.com")
    bound = await waiting_at(spool, "first", "example.org")
    return tools, movable, bound


async def test_what_another_open_route_allows_is_due_and_the_rest_waits_on(spool, waiting):
    tools, movable, bound = waiting
    await troubled(tools)
    assert await Failover(tools).move("first") == 1
    assert await places_of(spool.redis, movable) == {Place.DUE}
    assert await places_of(spool.redis, bound) == {Place.PARKED}
    await looked(tools)
    assert tools.routes.view("first").waiting_messages == 1


async def test_the_next_holder_finds_a_message_without_a_seat(spool, waiting):
    tools, movable, _ = waiting
    await troubled(tools)
    await Failover(tools).move("first")
    [claimed] = await spool.claim([movable], "worker@test")
    assert (claimed.message.seat, claimed.message.turn) == (None, 0)


async def test_recipients_in_doubt_stay_in_doubt(spool):
    tools = tools_for(spool)
    await troubled(tools)
    states = (RecipientState.UNKNOWN, RecipientState.WAITING)
    message_id = await waiting_at(spool, "first", "example.com", states=states)
    lanes = {"express": LaneView(100, messages=1, recipients=1)}
    told(tools, dataclasses.replace(tools.routes.view("first"), lanes=lanes))
    assert await Failover(tools).move("first") == 1
    assert (await spool.load(message_id)).states == states


async def test_a_breaker_that_opened_a_moment_ago_moves_nothing(spool, waiting):
    tools, movable, _ = waiting
    await troubled(tools, since_ms_ago=1000)
    assert await Failover(tools).move("first") == 0
    assert await places_of(spool.redis, movable) == {Place.PARKED}


async def test_without_another_open_route_nothing_is_looked_at(spool, waiting):
    tools, movable, _ = waiting
    await troubled(tools)
    trouble = dataclasses.replace(tools.routes.view("first").trouble)
    told(tools, RouteView("second", trouble=trouble, taken_at_ms=1 << 49))
    assert await Failover(tools).move("first") == 0
    assert await places_of(spool.redis, movable) == {Place.PARKED}
    assert not await spool.redis.keys(keys.lock_key("failover") + "*")


async def test_one_process_walks_at_a_time_and_soon_again_only_after_a_success(spool, waiting):
    tools, movable, bound = waiting
    lock, left_ms = keys.lock_key("failover:first:second"), []

    async def two_walks():
        await spool.redis.delete(lock)
        await waiting_at(spool, "first", "example.com")
        await troubled(tools)
        assert await Failover(tools).move("first") > 0
        left_ms.append(await spool.redis.pttl(lock))
        await waiting_at(spool, "first", "example.com")
        return await Failover(tools).move("first")

    assert await in_time(spool, two_walks, 5_000) == 0
    assert await places_of(spool.redis, movable) == {Place.DUE}
    assert 0 < left_ms[-1] <= 5_000
    await spool.redis.delete(lock)
    await troubled(tools)
    assert await Failover(tools).move("first") == 1, "what came between the walks"
    await spool.redis.delete(lock)
    assert await Failover(tools).move("first") == 0
    assert await spool.redis.pttl(lock) > 5_000
    assert await places_of(spool.redis, bound) == {Place.PARKED}


async def test_a_queue_of_many_senders_is_walked_to_its_end(spool):
    tools = tools_for(spool)
    await gate_is_closed(spool)
    for number in range(300):
        await waiting_at(spool, "first", "example.com", sender=f"s{number % 60}@example.com")
    moved = 0
    for _ in range(10):
        await troubled(tools)
        for lock in await spool.redis.keys(keys.lock_key("failover") + "*"):
            await spool.redis.delete(lock)
        moved += await Failover(tools).move("first")
        if not await spool.redis.zcard(keys.PARKED):
            break
    assert await spool.redis.zcard(keys.PARKED) == 0
    assert moved == 300


@pytest.mark.parametrize("kept_by", ["trouble", "daily quota", "pause"])
async def test_nothing_moves_to_a_route_that_does_not_send(spool, waiting, kept_by):
    tools, movable, _ = waiting
    await troubled(tools)
    first, second = tools.routes.view("first"), tools.routes.view("second")
    trouble = Trouble("AccessDenied", "", second.taken_at_ms, 1 << 50, is_account=True)
    told(
        tools,
        first,
        dataclasses.replace(second, trouble=trouble if kept_by == "trouble" else None, daily_ended="quota" in kept_by),
        pauses=(Pause("route:second", since_ms=second.taken_at_ms),) if kept_by == "pause" else (),
    )
    assert await Failover(tools).move("first") == 0
    assert await places_of(spool.redis, movable) == {Place.PARKED}


async def test_what_waits_in_a_route_that_was_paused_goes_back_to_its_own_and_then_stays(spool):
    tools = tools_for(spool, {"first": {}, "second": {"from_domains": ["example.com"], "weight": 0}})
    await spool.redis.hset(keys.PAUSES, "route:second", '{"until": 0, "since": 1}')
    stranded = await waiting_at(spool, "second", "example.com")
    await looked(tools)
    assert await Failover(tools).move("second") == 1
    [claimed] = await spool.claim([stranded], "worker@test")
    seat = seat_of(claimed.message, b"From: a@example.com\r\n", tools.settings, tools.routes.takes_mail)
    assert seat.route == "first"
    assert await spool.settle(Settlement(claimed.lease, 1, to="lane", seat=seat, reason=IN_LANE))
    await spool.redis.hdel(keys.PAUSES, "route:second")
    for lock in await spool.redis.keys(keys.lock_key("failover") + "*"):
        await spool.redis.delete(lock)
    tools.routes.saw(await spool.gate(tools.routes.all_limits, limit=0))
    assert await Failover(tools).move("first") == 0
    assert (await spool.load(stranded)).seat == seat


async def test_one_message_of_a_paused_spare_makes_the_probe_that_nobody_else_can_make(spool):
    tools = tools_for(spool)
    await spool.redis.hset(keys.PAUSES, "all", '{"until": 0, "since": 1}')  # the gate lets nothing go
    waiting = [await waiting_at(spool, "second", "example.com") for _ in range(3)]
    await looked(tools)
    paused = (Pause("route:second", since_ms=1),)
    view = tools.routes.view("first")
    told(
        tools,
        dataclasses.replace(view, trouble=Trouble("X", "", 1, view.taken_at_ms + 1, is_account=True)),
        pauses=paused,
    )
    assert await Failover(tools).move("second") == 0
    told(
        tools, dataclasses.replace(view, trouble=Trouble("X", "", 1, view.taken_at_ms, is_account=True)), pauses=paused
    )
    assert await Failover(tools).move("second") == 1
    places = [(await spool.load(one)).place for one in waiting]
    assert sorted(places) == [Place.DUE, Place.PARKED, Place.PARKED]
    [due] = [one for one, place in zip(waiting, places, strict=True) if place is Place.DUE]
    [claimed] = await spool.claim([due], "worker@test")
    seat = seat_of(claimed.message, b"From: a@example.com\r\n", tools.settings, tools.routes.takes_mail)
    assert seat.route == "first"


async def test_what_waits_for_a_daily_quota_goes_to_a_route_that_has_some(spool):
    tools = tools_for(spool)
    await spool.redis.hset(keys.PAUSES, "all", '{"until": 0, "since": 1}')  # the gate lets nothing go
    movable = await waiting_at(spool, "first", "example.com")
    await looked(tools)
    told(tools, tools.routes.view("first"))
    ended = dataclasses.replace(tools.routes.view("first"), daily_ended=True)
    told(tools, ended)
    assert tools.routes.is_open("first")
    told(tools, dataclasses.replace(ended, taken_at_ms=ended.taken_at_ms + 2001))
    assert await Failover(tools).move("first") == 1
    assert await places_of(spool.redis, movable) == {Place.DUE}
