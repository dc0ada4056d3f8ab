"""Mail that waits for a route in trouble goes to another that its sender may use; the rest waits on."""

import dataclasses

import pytest

from config.settings import Settings
from spool import keys
from spool.records import Settlement
from spool.sending_quota import LaneView, RouteFact, RouteView, Seat, Trouble
from spool.states import IN_LANE, Place, RecipientState
from tests.store.messages import accepted_and_claimed, places_of
from tests.unit.worker.stand import AnsweringSes, stand
from worker.failover import Failover
from worker.relay.routes import Routes

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
    tools.routes._views[route] = dataclasses.replace(view, trouble=trouble)


@pytest.fixture
async def waiting(spool):
    """Tools, a message that another route allows, and one that none does."""
    tools = tools_for(spool)
    claimed = await accepted_and_claimed(spool)
    fact = RouteFact("trouble", "first", "AccountSendingPaused", "paused")
    await spool.settle(Settlement(claimed.lease, 1, to="done", facts=(fact,)))  # the gate lets nothing go any more
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
    tools.routes._views["first"] = dataclasses.replace(
        tools.routes.view("first"), lanes={"express": LaneView(100, messages=1, recipients=1)}
    )
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
    tools.routes._views["second"] = RouteView("second", trouble=trouble, taken_at_ms=1 << 49)
    assert await Failover(tools).move("first") == 0
    assert await places_of(spool.redis, movable) == {Place.PARKED}
    assert not await spool.redis.keys(keys.lock_key("failover") + "*")


async def test_one_process_walks_at_a_time_and_soon_again_only_after_a_success(spool, waiting):
    tools, _, bound = waiting
    await troubled(tools)
    assert await Failover(tools).move("first") == 1
    [lock] = await spool.redis.keys(keys.lock_key("failover") + "*")
    assert 0 < await spool.redis.pttl(lock) <= 5_000
    assert await Failover(tools).move("first") == 0
    await spool.redis.delete(lock)
    assert await Failover(tools).move("first") == 0
    assert await spool.redis.pttl(lock) > 5_000
    assert await places_of(spool.redis, bound) == {Place.PARKED}


async def test_a_queue_of_many_senders_is_walked_to_its_end(spool):
    tools = tools_for(spool)
    claimed = await accepted_and_claimed(spool)
    fact = RouteFact("trouble", "first", "AccountSendingPaused", "paused")
    await spool.settle(Settlement(claimed.lease, 1, to="done", facts=(fact,)))
    for number in range(300):
        await waiting_at(spool, "first", "example.com", sender=f"s{number % 60}@example.com")
    moved = 0
    for _ in range(10):
        await troubled(tools)
        for lock in await spool.redis.keys(keys.lock_key("failover") + "*"):
            await spool.redis.delete(lock)
        moved += await Failover(tools).move("first")
        if moved == 300:
            break
    assert moved == 300
    assert await spool.redis.zcard(keys.PARKED) == 0
