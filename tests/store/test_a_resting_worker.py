"""A drained worker sends what it still has: it knows what the spool knows, and moves nothing that waits."""

import asyncio
import dataclasses
from contextlib import suppress

from spool.operator import pause
from spool.sending_quota import LaneView, Pause
from spool.states import Place
from tests.store.messages import places_of
from tests.store.test_failover import ROUTES, told, tools_for, troubled, waiting_at
from tests.unit.worker.test_gate_job import RememberingNudger, until
from worker.failover import Failover
from worker.gate import GateKeeper


def resting_tools(spool):
    """No distance between two looks of a failover, and nudges are only remembered."""
    return dataclasses.replace(tools_for(spool, ROUTES), nudger=RememberingNudger(), chance=lambda: -1.5)


async def test_its_look_tells_of_pauses_and_troubles_and_gives_nobody_a_turn(spool):
    tools = resting_tools(spool)
    await troubled(tools)  # as it was when the worker was drained
    message_id = await waiting_at(spool, "first", "example.com")
    await pause(spool.redis, [Pause("domain:paused.example", 0, 1, "why", "me")], b"")
    await GateKeeper(tools, is_resting=lambda: True).look()
    assert tools.routes.paused_domains == {"paused.example"}
    assert tools.routes.is_open("first")
    assert tools.routes.view("first").waiting_messages == 1
    assert (await places_of(spool.redis, message_id), tools.nudger.groups) == ({Place.PARKED}, [])

    await GateKeeper(tools).look()  # called back
    assert await places_of(spool.redis, message_id) == {Place.DUE}


async def test_its_failover_begins_no_walk_until_it_is_called_back(spool):
    tools = resting_tools(spool)
    await troubled(tools)
    waiting = {"express": LaneView(100, messages=1, recipients=1)}
    told(tools, dataclasses.replace(tools.routes.view("first"), lanes=waiting))
    message_id = await waiting_at(spool, "first", "example.com")
    is_resting, asked = True, 0

    def resting() -> bool:
        nonlocal asked
        asked += 1
        return is_resting

    running = asyncio.create_task(Failover(tools, is_resting=resting).run())
    await until(lambda: asked > 3)  # looks that found the route closed
    assert await places_of(spool.redis, message_id) == {Place.PARKED}
    is_resting = False
    async with asyncio.timeout(60):
        while await places_of(spool.redis, message_id) != {Place.DUE}:
            await asyncio.sleep(0.01)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_it_leaves_alone_what_waits_for_a_route_that_its_settings_do_not_have(spool):
    message_id = await waiting_at(spool, "new", "example.com")
    tools = resting_tools(spool)
    await GateKeeper(tools, is_resting=lambda: True).look()
    assert await places_of(spool.redis, message_id) == {Place.PARKED}
    await GateKeeper(tools).look()
    assert await places_of(spool.redis, message_id) == {Place.DUE}
