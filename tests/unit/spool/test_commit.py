"""When OK is said, and what becomes of a message whose answer came too late."""

import asyncio
import inspect
from dataclasses import replace

import pytest

from config.errors import SluiceError
from config.failpoints import Failpoint, Failpoints
from smtp_gateway.admission import MemoryBudget, Reservation
from spool.commit import Committed, Committer, Refusal
from spool.content import ContentUnavailable
from spool.nudge import Nudger
from spool.records import NewMessage
from spool.scripts import StoreFull, StoreUnavailable
from spool.store import Spool
from tests.dialogues.stand import FULL, UNSAFE, RememberingNudger, RememberingSpool, Watch, until

MESSAGE = NewMessage("id-1", "a@example.com", ("b@example.net",), b"content")
OK = Committed(None, "id-1")


class Bench:
    def __init__(self, *, timeout_seconds: float = 20.0, failpoints: str = "") -> None:
        self.spool, self.watch, self.budget = RememberingSpool(), Watch(), MemoryBudget(100)
        self.committer = Committer(
            self.spool, self.watch, timeout_seconds=timeout_seconds, failpoints=Failpoints(failpoints)
        )

    async def commit(self, message: NewMessage = MESSAGE) -> Committed:
        memory = Reservation(self.budget)
        assert memory.hold(len(message.content))
        return await self.committer.commit(message, memory)


def test_the_fakes_have_the_signatures_of_the_real_ones():
    for name in ("accept", "withdraw"):
        assert inspect.signature(getattr(RememberingSpool, name)) == inspect.signature(getattr(Spool, name))
    assert inspect.signature(RememberingNudger.process) == inspect.signature(Nudger.process)


async def test_a_kept_message_is_accepted_and_its_memory_free():
    bench = Bench()
    assert await bench.commit() == OK
    assert list(bench.spool.kept) == ["id-1"]
    assert bench.budget.used_bytes == 0


@pytest.mark.parametrize(("report", "refusal"), [(UNSAFE, "not_safe"), (FULL, "full")])
async def test_an_unsafe_or_full_store_is_not_even_asked(report, refusal: Refusal):
    bench = Bench()
    bench.watch.report = report
    assert await bench.commit() == Committed(refusal, "id-1")
    assert bench.spool.offered == []
    assert bench.budget.used_bytes == 0


@pytest.mark.parametrize(
    ("trouble", "refusal"),
    [(StoreFull("full"), "full"), (ContentUnavailable("disk"), "silent")],
)
async def test_what_was_surely_not_kept_is_refused_at_once_and_not_withdrawn(trouble: SluiceError, refusal: Refusal):
    bench = Bench()
    bench.spool.troubles = [trouble]
    assert await bench.commit() == Committed(refusal, "id-1")
    assert bench.spool.offered == ["id-1"]
    assert not bench.committer._late
    assert bench.budget.used_bytes == 0


async def test_a_store_that_comes_back_in_time_goes_unnoticed():
    bench = Bench()
    bench.spool.troubles = [StoreUnavailable("down")] * 3
    assert await bench.commit() == OK
    assert bench.spool.offered == ["id-1"] * 4
    assert bench.spool.withdrawn == []


async def test_a_store_that_stays_away_means_later_and_the_message_is_taken_back():
    bench = Bench(timeout_seconds=0.12)
    bench.spool.troubles = [StoreUnavailable("down")] * 100
    bench.spool.withdraw_troubles = [StoreUnavailable("down")] * 2
    bench.spool.keeps_in_trouble = True
    assert await bench.commit() == Committed("silent", "id-1")
    assert set(bench.spool.offered) == {"id-1"}
    await until(lambda: bench.spool.withdrawn == ["id-1"])
    assert not bench.spool.kept
    assert bench.budget.used_bytes == 0


async def test_a_message_perhaps_kept_before_the_store_was_full_is_taken_back():
    bench = Bench()
    bench.spool.troubles = [StoreUnavailable("down"), StoreFull("full")]
    bench.spool.keeps_in_trouble = True
    assert await bench.commit() == Committed("full", "id-1")
    await until(lambda: not bench.spool.kept)


async def test_an_accept_that_arrives_after_the_answer_does_not_count():
    bench = Bench(timeout_seconds=0.05)
    bench.spool.gate.clear()
    assert await bench.commit() == Committed("silent", "id-1")
    assert bench.budget.used_bytes > 0, "the content is still held by the write under way"
    await until(lambda: bench.spool.withdrawn == ["id-1"])
    bench.spool.gate.set()
    await until(lambda: bench.budget.used_bytes == 0)
    assert not bench.spool.kept


async def test_a_repeat_is_answered_with_the_id_of_the_first():
    bench = Bench()
    first, second = replace(MESSAGE, once="key"), replace(MESSAGE, message_id="id-2", once="key")
    assert await bench.commit(first) == OK
    assert await bench.commit(second) == OK
    assert list(bench.spool.kept) == ["id-1"]


async def test_draining_does_not_wait_forever_for_a_dead_store():
    bench = Bench(timeout_seconds=0.02)
    bench.spool.troubles = [StoreUnavailable("down")] * 1000
    bench.spool.withdraw_troubles = [StoreUnavailable("down")] * 1000
    await bench.commit()
    async with asyncio.timeout(60):
        await bench.committer.drain(0.05)


@pytest.mark.parametrize(("name", "kept"), [("commit.before", 0), ("commit.after", 1)])
async def test_the_failpoints_are_on_the_way(name: str, kept: int):
    bench = Bench(failpoints=f"{name}=raise*1")
    with pytest.raises(Failpoint):
        await bench.commit()
    assert len(bench.spool.kept) == kept
    assert await bench.commit() == OK
