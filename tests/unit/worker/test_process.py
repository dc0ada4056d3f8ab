"""What a task does with its messages, and what goes on when it has ended."""

import asyncio
import time

import pytest
import structlog

from spool.records import Lease
from spool.states import Place
from spool.store import Claimed
from tests.unit.worker.stand import AnsweringSes, RememberingSpool, message, stand
from worker.process import WorkerProcess
from worker.relay.outcomes import Accepted


class ClaimingSpool(RememberingSpool):
    """Everything that is asked for is due."""

    async def claim(self, message_ids, worker):
        return [
            Claimed(message(1, message_id=one), Lease(one, 1, time.monotonic() + self.lease_seconds))
            for one in message_ids
        ]


class SlowSes(AnsweringSes):
    """Answers when it is told to."""

    def __init__(self):
        super().__init__()
        self.answers = asyncio.Event()

    async def send(self, call, may_send):
        self.calls.append(call)
        await self.answers.wait()
        return Accepted("0100-1")


def worker_with(ses):
    tools = stand(ses, ClaimingSpool(), worker={"concurrent_calls": 4})
    process = WorkerProcess(tools, publisher=None)
    process.may_work.set()
    return tools, process


async def test_a_task_ends_with_its_messages():
    tools, process = worker_with(AnsweringSes(Accepted("0100-1"), Accepted("0100-2")))
    await process.process(["m1", "m2"])
    assert {one.to for one in tools.spool.settlements if one.to} == {Place.DONE}
    await asyncio.wait_for(process.finish(), 60)
    assert len(tools.leases) == 0


async def test_a_task_does_not_wait_for_a_slow_message_which_goes_on_without_it():
    ses = SlowSes()
    tools, process = worker_with(ses)
    await asyncio.wait_for(process.process(["m1"]), 60)
    assert (len(ses.calls), len(tools.leases)) == (1, 1)
    finishing = asyncio.create_task(process.finish())
    await asyncio.sleep(0)
    assert not finishing.done()
    ses.answers.set()
    await asyncio.wait_for(finishing, 60)
    assert tools.spool.settlements[-1].to == "done"
    assert len(tools.leases) == 0


async def test_what_is_under_way_keeps_its_places_until_it_ends():
    ses = SlowSes()
    tools, process = worker_with(ses)
    places = process._room._places
    await process.process([f"m{number}" for number in range(places)])
    assert process._room._free == 0
    more = asyncio.create_task(process.process(["one more"]))
    await asyncio.sleep(0)
    assert not more.done()
    ses.answers.set()
    await asyncio.wait_for(more, 60)
    await asyncio.wait_for(process.finish(), 60)
    assert process._room._free == places
    assert len(tools.leases) == 0


async def test_nothing_is_begun_any_more_when_the_worker_stops():
    tools, process = worker_with(AnsweringSes())
    tools.stopping.set()
    await process.process(["m1"])
    assert tools.spool.settlements == []


async def test_a_bug_that_escapes_the_pipeline_is_logged_and_costs_its_message_only():
    tools, process = worker_with(AnsweringSes(Accepted("0100-1"), Accepted("0100-2")))
    tools.spool.lease_seconds = 30.0

    def broken(lease):
        if lease.message_id == "m1":
            raise ValueError("broken")

    tools.leases.drop = broken
    with structlog.testing.capture_logs() as lines:
        await process.process(["m1", "m2"])
        await asyncio.wait_for(process.finish(), 60)
    failed = [line for line in lines if line["event"] == "message.failed" and line["error"] == "ValueError"]
    assert failed
    assert any(one.lease.message_id == "m2" and one.to == "done" for one in tools.spool.settlements)
    assert process._room._free == process._room._places


@pytest.mark.parametrize("tasks", [1, 40])
async def test_tasks_beyond_the_threads_drop_their_nudges(tasks):
    ses = SlowSes()
    tools, process = worker_with(ses)
    running = [asyncio.create_task(process.process([f"m{number}"])) for number in range(tasks)]
    await asyncio.wait(running)
    assert len(tools.leases) == min(tasks, process._max_processing)
    ses.answers.set()
    await asyncio.wait_for(process.finish(), 60)
