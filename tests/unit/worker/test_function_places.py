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
    while not places.seconds_until_free("r", 2, "id"):
        tasks.append(asyncio.ensure_future(call()))
        await asyncio.sleep(0)
    assert (len(inside), len(tasks)) == (2, 11)
    leave.set()
    await asyncio.gather(*tasks)
    assert len(inside) == 11
    assert places.seconds_until_free("r", 2, "id") == 0


async def test_who_finds_no_place_gets_a_time_of_its_own_at_the_pace_of_the_function():
    clock = Clock()
    places = FunctionPlaces(clock=clock)
    for _ in range(60):  # the function takes ten seconds
        async with places.place("r", 2):
            clock.now += 10
    async with AsyncExitStack() as inside:
        await _fill(places, inside, 2)
        times = [places.seconds_until_free("r", 2, "id") for _ in range(4)]
    assert times == pytest.approx([10, 15, 20, 25], rel=0.01)


async def test_a_function_that_takes_longer_than_ever_gives_later_times():
    clock = Clock()
    places = FunctionPlaces(clock=clock)
    async with AsyncExitStack() as inside:
        await _fill(places, inside, 1)
        clock.now += 20
        assert places.seconds_until_free("r", 1, "id") == 20


async def test_nobody_is_sent_away_for_longer_than_five_minutes():
    clock = Clock()
    places = FunctionPlaces(clock=clock)
    async with AsyncExitStack() as inside:
        await _fill(places, inside, 1)
        clock.now += 10
        times = [places.seconds_until_free("r", 1, "id") for _ in range(10_000)]
    assert max(times) <= 300
    late = times[100:]
    assert min(late) >= 225
    assert len(set(late)) > 9000, "they do not come back all at once"


async def test_newcomers_leave_the_places_to_wait_at_to_those_who_were_sent_away_before():
    clock = Clock()
    places = FunctionPlaces(clock=clock)
    for _ in range(60):  # the function takes ten seconds
        async with places.place("r", 1):
            clock.now += 10
    async with places.place("r", 1):
        assert places.seconds_until_free("r", 1, "id") == 0, "nobody was sent away"
        async with AsyncExitStack() as inside:
            await _wait_beside(places, inside, 1, 3)
            assert places.seconds_until_free("r", 1, "id") > 0
        assert places.seconds_until_free("r", 1, "id") > 0
        assert places.seconds_until_free("r", 1, "id", has_waited=True) == 0
    assert places.seconds_until_free("r", 1, "id") == 0, "no place is left empty"
    async with places.place("r", 1):
        clock.now += 300
        assert places.seconds_until_free("r", 1, "id") == 0, "nobody comes back any more"


async def test_a_slow_function_leaves_room_for_others_and_all_together_are_bounded():
    places = FunctionPlaces(messages=6, clock=Clock())
    async with AsyncExitStack() as inside:
        await _fill(places, inside, 1)
        assert places.seconds_until_free("other", 1, "id") == 0
        await inside.enter_async_context(places.place("other", 2))
        await inside.enter_async_context(places.place("other", 2))
        assert places.seconds_until_free("third", 1, "id") > 0


async def test_those_who_were_sent_away_are_called_back_in_order_when_a_place_is_free():
    clock = Clock()
    places = FunctionPlaces(clock=clock)
    for _ in range(60):  # the function takes ten seconds
        async with places.place("r", 1):
            clock.now += 10
    async with AsyncExitStack() as inside:
        await _fill(places, inside, 1)
        for message_id in ("a", "b", "c", "d", "e"):
            assert places.seconds_until_free("r", 1, message_id) > 0
        assert places.to_wake() == []
        assert not places.freed.is_set()
    assert places.freed.is_set()
    assert places.to_wake() == ["a", "b", "c", "d"], "as many as may be inside"
    assert places.to_wake() == []
    assert places.seconds_until_free("r", 1, "a", has_waited=True) == 0
    async with places.place("r", 1):
        assert places.to_wake() == []
    places.missed({"b"})
    assert places.to_wake() == ["e"]


async def test_who_was_called_back_and_does_not_come_keeps_no_place():
    clock = Clock()
    places = FunctionPlaces(clock=clock)
    async with AsyncExitStack() as inside:
        await _fill(places, inside, 1)
        clock.now += 100
        for number in range(20):
            places.seconds_until_free("r", 1, str(number))
    first = places.to_wake()
    assert first
    assert places.to_wake() == []
    clock.now += 4
    assert places.to_wake()


async def _fill(places, inside, concurrency):
    """Takes every place, and lets as many wait as may."""
    for _ in range(concurrency):
        await inside.enter_async_context(places.place("r", concurrency))
    await _wait_beside(places, inside, concurrency, 3 * concurrency)


async def _wait_beside(places, inside, concurrency, messages):
    async def wait():
        async with places.place("r", concurrency):
            await asyncio.Event().wait()

    tasks = [asyncio.ensure_future(wait()) for _ in range(messages)]
    await asyncio.sleep(0)

    async def end():
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    inside.push_async_callback(end)
