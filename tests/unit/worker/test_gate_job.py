"""The loop around the gate: nudges, views, and the pause between two looks."""

import asyncio
import dataclasses
import inspect
from itertools import pairwise

import pytest

from config.errors import TryLater
from spool.nudge import Nudger
from spool.sending_quota import Gate, Pause, RouteView
from spool.store import Spool
from tests.unit.worker.skipping_loop import run_skipping
from tests.unit.worker.stand import stand
from worker.gate import GateKeeper, groups_for


class GateSpool:
    """Answers looks from a list, the last one again and again; errors are raised."""

    def __init__(self, *answers):
        self.answers = list(answers)
        #: When each look came, by the loop's clock.
        self.at = []
        self.limits = None
        #: How many messages each look was allowed to let go.
        self.most = []

    @property
    def looks(self):
        return len(self.at)

    async def gate(self, limits, *, limit):
        self.at.append(asyncio.get_running_loop().time())
        self.limits = limits
        self.most.append(limit)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class RememberingNudger:
    def __init__(self):
        self.groups = []
        self.urgent = False

    async def push(self, groups, *, is_urgent=False):
        self.urgent = is_urgent
        self.groups += [list(group) for group in groups]


@pytest.mark.parametrize(("fake", "real", "name"), [(GateSpool, Spool, "gate"), (RememberingNudger, Nudger, "push")])
def test_the_fakes_have_the_signatures_of_what_they_stand_for(fake, real, name):
    assert list(inspect.signature(getattr(fake, name)).parameters) == list(
        inspect.signature(getattr(real, name)).parameters
    )


def a_gate(*released, next_ms=60_000, views=None):
    return Gate(released, next_ms, views or {})


def tools_with(spool):
    return dataclasses.replace(stand(spool=spool), nudger=RememberingNudger())


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.fixture
async def running():
    tasks = []

    def run(keeper):
        tasks.append(asyncio.create_task(keeper.run()))

    yield run
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_look_nudges_by_fifties_and_brings_the_views():
    ids = [f"m{number}" for number in range(120)]
    view = RouteView("default", rate=3.0)
    spool = GateSpool(a_gate(*ids, next_ms=250, views={"default": view}))
    tools = tools_with(spool)
    assert await GateKeeper(tools).look() == 0.25
    assert [len(group) for group in tools.nudger.groups] == [50, 50, 20]
    assert tools.nudger.urgent
    assert [one for group in tools.nudger.groups for one in group] == ids
    assert tools.routes.view("default") is view
    assert [limits.name for limits in spool.limits] == ["default"]


def test_nothing_released_is_no_nudge():
    assert groups_for(()) == []


async def test_as_much_as_one_look_may_release_means_look_again_at_once():
    spool = GateSpool(a_gate(*(f"m{number}" for number in range(1000))))
    assert await GateKeeper(tools_with(spool)).look() == 0.0


def test_the_next_look_comes_within_a_second_even_if_nothing_is_expected():
    spool = GateSpool(a_gate(next_ms=600_000))

    async def look_thrice():
        job = asyncio.create_task(GateKeeper(tools_with(spool)).run())
        await until(lambda: spool.looks >= 3)
        job.cancel()

    run_skipping(look_thrice())
    assert all(later - earlier <= 1.0 for earlier, later in pairwise(spool.at))


def test_who_wants_it_need_not_wait_for_the_next_round():
    spool = GateSpool(a_gate())

    async def want_a_look():
        tools = tools_with(spool)
        job = asyncio.create_task(GateKeeper(tools).run())
        await until(lambda: spool.looks == 1)
        tools.gate_wanted.set()
        await until(lambda: spool.looks == 2)
        assert not tools.gate_wanted.is_set()
        job.cancel()

    run_skipping(want_a_look())
    assert spool.at[1] - spool.at[0] < 0.1


async def test_a_wish_that_is_renewed_all_the_time_does_not_make_looks_without_pause(running):
    spool = GateSpool(a_gate(next_ms=0))
    tools = tools_with(spool)
    started = asyncio.get_running_loop().time()
    running(GateKeeper(tools))
    while spool.looks < 5:
        tools.gate_wanted.set()
        await asyncio.sleep(0)
    assert asyncio.get_running_loop().time() - started > 3 * 0.03


@pytest.mark.parametrize("error", [TryLater("the spool does not answer"), OSError(5, "x")])
async def test_a_spool_that_is_away_is_asked_again(running, error):
    spool = GateSpool(error, a_gate("m1", next_ms=50))
    tools = tools_with(spool)
    running(GateKeeper(tools))
    await until(lambda: tools.nudger.groups)
    assert spool.looks >= 2


def test_a_worker_that_rests_lets_nothing_go():
    spool = GateSpool(a_gate())

    async def rest_for_two_looks():
        job = asyncio.create_task(GateKeeper(tools_with(spool), is_resting=lambda: spool.looks < 2).run())
        await until(lambda: spool.looks >= 3)
        job.cancel()

    run_skipping(rest_for_two_looks())
    assert spool.most[:2] == [0, 0]
    assert spool.most[2] > 0


async def test_a_worker_that_rests_still_learns_what_is_paused_and_looks_as_rarely_as_may_be():
    spool = GateSpool(Gate((), 1, {"default": RouteView("default", rate=3.0)}, (Pause("domain:example.net"),)))
    tools = tools_with(spool)
    assert await GateKeeper(tools, is_resting=lambda: True).look() > 0.9  # though it is told to come back at once
    assert tools.routes.paused_domains == {"example.net"}
    assert tools.routes.view("default").rate == 3.0
