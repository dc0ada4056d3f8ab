import asyncio
from contextlib import AsyncExitStack

import pytest

from worker.steps.function_places import FunctionPlaces


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


async def test_as_many_are_inside_as_the_rule_says_and_those_wait_whose_turn_comes_soon():
    clock = Clock()
    places, inside = FunctionPlaces(1000, clock=clock), []
    for _ in range(60):  # the function takes a second
        async with places.place("r", 2):
            clock.now += 1
    leave = asyncio.Event()

    async def call():
        async with places.place("r", 2):
            inside.append(1)
            await leave.wait()

    tasks = []
    while not places.seconds_until_free("r", 2):
        tasks.append(asyncio.ensure_future(call()))
        await asyncio.sleep(0)
    assert (len(inside), len(tasks)) == (2, 11)
    leave.set()
    await asyncio.gather(*tasks)
    assert len(inside) == 11
    assert places.seconds_until_free("r", 2) == 0


async def test_who_finds_no_place_gets_a_time_of_its_own_at_the_pace_of_the_function():
    clock = Clock()
    places = FunctionPlaces(clock=clock)
    for _ in range(60):  # the function takes ten seconds
        async with places.place("r", 2):
            clock.now += 10
    async with AsyncExitStack() as inside:
        await _fill(places, inside, 2)
        times = [places.seconds_until_free("r", 2) for _ in range(4)]
    assert times == pytest.approx([10, 15, 20, 25], rel=0.01)


async def test_a_function_that_takes_longer_than_ever_gives_later_times():
    clock = Clock()
    places = FunctionPlaces(clock=clock)
    async with AsyncExitStack() as inside:
        await _fill(places, inside, 1)
        clock.now += 20
        assert places.seconds_until_free("r", 1) == 20


async def test_nobody_is_sent_away_for_longer_than_five_minutes():
    clock = Clock()
    places = FunctionPlaces(clock=clock)
    async with AsyncExitStack() as inside:
        await _fill(places, inside, 1)
        clock.now += 10
        assert max(places.seconds_until_free("r", 1) for _ in range(10_000)) == 300


async def test_a_slow_function_leaves_room_for_others_and_all_together_are_bounded():
    places = FunctionPlaces(messages=6, clock=Clock())
    async with AsyncExitStack() as inside:
        await _fill(places, inside, 1)
        assert places.seconds_until_free("other", 1) == 0
        await inside.enter_async_context(places.place("other", 2))
        await inside.enter_async_context(places.place("other", 2))
        assert places.seconds_until_free("third", 1) > 0


async def _fill(places, inside, concurrency):
    """Takes every place, and lets as many wait as may."""
    for _ in range(concurrency):
        await inside.enter_async_context(places.place("r", concurrency))

    async def wait():
        async with places.place("r", concurrency):
            await asyncio.Event().wait()

    tasks = [asyncio.ensure_future(wait()) for _ in range(3 * concurrency)]
    await asyncio.sleep(0)

    async def end():
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    inside.push_async_callback(end)
