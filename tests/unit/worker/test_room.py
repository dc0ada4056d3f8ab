import asyncio

from hypothesis import given
from hypothesis import strategies as st

from worker.room import Room


async def test_what_finds_no_room_waits_until_there_is_some():
    room, order = Room(10), []

    async def stay(name, wanted, leave):
        async with room.places(wanted):
            order.append(name)
            await leave.wait()

    first_leaves, second_leaves = asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(stay("first", 8, first_leaves))
    await asyncio.sleep(0)
    second = asyncio.create_task(stay("second", 5, second_leaves))
    for _ in range(5):
        await asyncio.sleep(0)
    assert order == ["first"]
    first_leaves.set()
    await first
    second_leaves.set()
    await second
    assert order == ["first", "second"]


async def test_whoever_waits_and_is_cancelled_together_with_who_is_inside_ends_cancelled():
    room = Room(1)

    async def stay():
        async with room.places(1):
            await asyncio.Event().wait()

    tasks = [asyncio.ensure_future(stay()) for _ in range(3)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError] * 3
    async with asyncio.timeout(60), room.places(1):
        pass


@given(st.lists(st.integers(1, 40), max_size=20))
def test_places_never_leak_and_more_than_all_counts_as_all(wanted):
    async def everybody():
        room = Room(10)
        inside = 0

        async def stay(number):
            nonlocal inside
            async with room.places(number):
                inside += min(number, 10)
                assert inside <= 10
                await asyncio.sleep(0)
                inside -= min(number, 10)

        await asyncio.gather(*(stay(number) for number in wanted))
        async with room.places(10):
            assert inside == 0

    asyncio.run(everybody())
