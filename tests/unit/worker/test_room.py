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
