"""Drained: Celery's consumers go, what is under way stays, and nothing takes the quiet for a stall."""

import asyncio
import dataclasses
from types import SimpleNamespace

import orjson
import pytest

from config.errors import Refused
from config.settings import Settings
from spool import keys
from tests.unit.worker.stand import RememberingSpool, stand
from tests.unit.worker.test_gate_job import RememberingNudger
from worker.drain import Intake
from worker.heartbeat import Heartbeat, Progress
from worker.process import WorkerProcess, check_settings
from worker.sweeper import Sweeper
from worker.watchdog import Watchdog


class Consumer:
    """The part of Celery's consumer that an intake uses."""

    def __init__(self, *queues):
        self.consuming = list(queues)
        self.app = SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from=dict.fromkeys(queues))))

    def call_soon(self, call):
        call()

    def add_task_queue(self, name):
        self.consuming.append(name)

    def cancel_task_queue(self, name):
        self.consuming.remove(name)


def test_an_intake_gives_up_its_queues_and_takes_the_same_ones_again():
    intake, consumer = Intake(), Consumer("process", "events")
    intake._on_ready(consumer)
    intake.obey(is_drained=True)
    assert (intake.is_open, consumer.consuming) == (False, [])
    intake.obey(is_drained=True)
    intake.obey(is_drained=False)
    assert (intake.is_open, consumer.consuming) == (True, ["process", "events"])
    intake.obey(is_drained=False)
    assert consumer.consuming == ["process", "events"]


def test_a_worker_that_is_drained_before_its_consumer_is_there_never_takes_a_task():
    intake, consumer = Intake(), Consumer("process")
    intake.obey(is_drained=True)
    intake._on_ready(consumer)
    assert consumer.consuming == []


class SmallRedis:
    """Hashes, as far as a heartbeat needs them."""

    def __init__(self):
        self.hashes = {keys.WORKERS: {}, keys.DRAINS: {}}

    async def hset(self, key, field, value):
        self.hashes[key][field] = value

    async def hexists(self, key, field):
        return field in self.hashes[key]

    async def hdel(self, key, *fields):
        for field in fields:
            self.hashes[key].pop(field, None)

    async def hgetall(self, key):
        return dict(self.hashes[key])


@pytest.fixture
def beating():
    spool = RememberingSpool()
    spool.redis = SmallRedis()
    tools = stand(spool=spool)
    intake = Intake()
    return Heartbeat(tools, intake, lambda: Progress(7, 5)), intake, spool.redis.hashes


async def test_the_heartbeat_obeys_the_order_and_says_so(beating):
    heartbeat, intake, hashes = beating
    await heartbeat.beat()
    line = orjson.loads(hashes[keys.WORKERS]["this-worker"])
    assert (line["claimed"], line["last_claim_at_ms"], line["active"]) == (7, 5, 0)
    assert "draining" not in line
    hashes[keys.DRAINS]["this-worker"] = "1"
    await heartbeat.beat()
    assert not intake.is_open
    assert orjson.loads(hashes[keys.WORKERS]["this-worker"])["draining"] is True
    del hashes[keys.DRAINS]["this-worker"]
    await heartbeat.beat()
    assert intake.is_open
    assert "draining" not in orjson.loads(hashes[keys.WORKERS]["this-worker"])


async def test_an_order_for_another_worker_is_not_obeyed(beating):
    heartbeat, intake, hashes = beating
    hashes[keys.DRAINS]["this-worker-2"] = "1"
    await heartbeat.beat()
    assert intake.is_open


async def test_neither_line_nor_order_outlives_the_process(beating):
    heartbeat, _, hashes = beating
    hashes[keys.DRAINS] = {"this-worker": "1", "dead": "1", "alive": "1"}
    await heartbeat.beat()
    hashes[keys.WORKERS] |= {"dead": b'{"at_ms":1}', "alive": orjson.dumps({"at_ms": 1 << 50})}
    await heartbeat.forget_dead_workers()
    assert set(hashes[keys.WORKERS]) == {"this-worker", "alive"}
    await heartbeat.leave()
    assert (set(hashes[keys.WORKERS]), set(hashes[keys.DRAINS])) == ({"alive"}, {"alive"})


async def test_a_drained_worker_gives_a_nudge_back_and_claims_nothing():
    tools = dataclasses.replace(stand(), nudger=RememberingNudger())
    process = WorkerProcess(tools, publisher=None)
    process.may_work.set()
    process.intake.obey(is_drained=True)
    await process.process(["m1", "m2"])
    assert tools.nudger.groups == [["m1", "m2"]]


async def test_a_worker_that_does_not_know_whose_spool_it_is_claims_and_publishes_nothing():
    process = WorkerProcess(stand(), publisher=None)  # a claim or a publisher that is asked would raise
    await process.process(["m1"])
    await process.publish("file")


def a_watchdog(*, resting):
    tools = stand()
    sweeper = Sweeper(tools, is_saturated=lambda: False)
    sweeper.overdue_since = -1000.0
    watchdog = Watchdog(tools, sweeper, is_resting=lambda: resting[0])
    watchdog._last_claim_at -= 1000
    return watchdog


def test_a_worker_that_is_given_nothing_while_work_is_due_has_stalled():
    assert a_watchdog(resting=[False]).stalled(60) == "messages are due and this worker is given none"


def test_a_drained_worker_has_not_and_begins_anew_afterwards():
    resting = [True]
    watchdog = a_watchdog(resting=resting)
    assert watchdog.stalled(60) == ""
    resting[0] = False
    assert watchdog.stalled(60) == ""


def test_a_loop_that_stands_still_is_a_stall_even_when_drained():
    watchdog = a_watchdog(resting=[True])
    watchdog._last_tick -= 1000
    assert watchdog.stalled(60) == "the event loop stands still"


def test_confirm_without_a_source_of_events_is_refused_in_words():
    with pytest.raises(Refused, match=r"\[relay\] unknown = confirm needs SES's own events"):
        check_settings(Settings.model_validate({"relay": {"unknown": "confirm"}}))


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"relay": {"unknown": "resend"}},
        {"relay": {"unknown": "confirm"}, "feedback": {"simulator_url": "http://127.0.0.1:2581"}},
        {"feedback": {"simulator_url": "http://127.0.0.1:2581"}},
    ],
)
def test_every_other_choice_is_a_worker_that_starts(sections):
    check_settings(Settings.model_validate(sections))


async def test_a_cancelled_heartbeat_ends(beating):
    task = asyncio.create_task(beating[0].run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
