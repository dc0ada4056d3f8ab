import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.group_commit import GroupCommit


class Store:
    """Writes when it is let; remembers the rounds."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.rounds: list[list[Any]] = []
        self.gate = asyncio.Event()
        self.errors: dict[int, BaseException] = {}
        self.answers: dict[int, list[Any]] = {}
        self.under_way = 0
        if is_open:
            self.gate.set()

    async def write(self, items: Sequence[Any]) -> Sequence[Any]:
        assert self.under_way == 0, "one round at a time"
        self.under_way += 1
        number = len(self.rounds)
        self.rounds.append(list(items))
        try:
            await self.gate.wait()
            if number in self.errors:
                raise self.errors[number]
            return self.answers.get(number, [item * 10 for item in items])
        finally:
            self.under_way -= 1


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_a_lone_item_does_not_wait_for_company():
    store = Store()
    assert await GroupCommit(store.write).add(1) == 10
    assert store.rounds == [[1]]


async def test_what_comes_during_a_round_leaves_together_and_in_order():
    store = Store(is_open=False)
    commit = GroupCommit(store.write)
    first = asyncio.create_task(commit.add(1))
    await turns()
    others = [asyncio.create_task(commit.add(number)) for number in range(2, 8)]
    await turns()
    assert store.rounds == [[1]]
    store.gate.set()
    assert await asyncio.gather(first, *others) == [10, 20, 30, 40, 50, 60, 70]
    assert store.rounds == [[1], [2, 3, 4, 5, 6, 7]]


@given(st.lists(st.integers(0, 100), min_size=1, max_size=60), st.integers(1, 10), st.integers(1, 200))
def test_every_item_is_written_once_in_order_within_the_limits(sizes: list[int], max_items: int, max_bytes: int):
    async def doing() -> list[list[Any]]:
        store = Store()
        commit = GroupCommit(store.write, size_of=lambda item: item, max_items=max_items, max_bytes=max_bytes)
        assert await asyncio.gather(*map(commit.add, sizes)) == [size * 10 for size in sizes]
        return store.rounds

    rounds = asyncio.run(doing())
    assert [item for one in rounds for item in one] == sizes
    assert all(len(one) <= max_items for one in rounds)
    assert all(sum(one) <= max_bytes or len(one) == 1 for one in rounds)
    # No round is smaller than it must be.
    for one, following in pairwise(rounds):
        assert len(one) == max_items or sum(one) + following[0] > max_bytes


async def test_a_failed_round_fails_its_items_and_no_other():
    store = Store()
    store.errors[0] = OSError("gone")
    commit = GroupCommit(store.write, max_items=3)
    results = await asyncio.gather(*map(commit.add, range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [OSError, OSError, OSError, int, int]
    assert await commit.add(7) == 70


async def test_a_wrong_number_of_answers_fails_the_round_and_nobody_waits_for_ever():
    store = Store()
    store.answers[0] = [1]
    commit = GroupCommit(store.write)
    results = await asyncio.wait_for(asyncio.gather(commit.add(1), commit.add(2), return_exceptions=True), 60)
    assert all(isinstance(result, ValueError) for result in results)


@pytest.mark.parametrize("drops", [True, False])
async def test_the_item_of_a_cancelled_caller_is_dropped_only_when_asked_for(drops: bool):  # noqa: FBT001
    store = Store(is_open=False)
    commit = GroupCommit(store.write, drops_cancelled=drops)
    tasks = [asyncio.create_task(commit.add(1))]
    await turns()
    tasks += [asyncio.create_task(commit.add(number)) for number in (2, 3, 4)]
    await turns()
    tasks[2].cancel()
    await turns()
    store.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [int, int, asyncio.CancelledError, int]
    assert store.rounds == [[1], [2, 4] if drops else [2, 3, 4]]


async def test_a_caller_cancelled_during_its_round_disturbs_nobody():
    for error in (None, OSError("gone")):
        store = Store(is_open=False)
        if error:
            store.errors[0] = error
        commit = GroupCommit(store.write)
        tasks = [asyncio.create_task(commit.add(number)) for number in (1, 2)]
        await turns()
        tasks[0].cancel()
        await turns()
        store.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1] == (error or 20)


async def test_when_everybody_left_nothing_is_written():
    store = Store(is_open=False)
    commit = GroupCommit(store.write, drops_cancelled=True)
    first = asyncio.create_task(commit.add(1))
    await turns()
    second = asyncio.create_task(commit.add(2))
    await turns()
    second.cancel()
    await turns()
    store.gate.set()
    await first
    await commit.drain()
    assert store.rounds == [[1]]


async def test_drain_waits_for_everything_that_was_added():
    store = Store(is_open=False)
    commit = GroupCommit(store.write, max_items=2)
    tasks = [asyncio.create_task(commit.add(number)) for number in range(5)]
    await turns()
    draining = asyncio.create_task(commit.drain())
    await turns()
    assert not draining.done()
    store.gate.set()
    await draining
    assert all(task.done() for task in tasks)
    assert len(store.rounds) == 3
    await commit.drain()


async def test_the_end_of_the_loops_task_leaves_nobody_waiting():
    store = Store(is_open=False)
    commit = GroupCommit(store.write, max_items=1)
    tasks = [asyncio.create_task(commit.add(number)) for number in range(3)]
    await turns()
    assert commit._round is not None
    commit._round.cancel()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    store.gate.set()
    assert await commit.add(9) == 90
