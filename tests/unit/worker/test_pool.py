import asyncio
import contextvars
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from time import monotonic, sleep
from typing import Any

import pytest
import structlog
from celery import Celery
from celery.exceptions import Ignore, SoftTimeLimitExceeded, TimeLimitExceeded
from celery.worker import state

from tests.line import wait_until
from worker.loop import LoopThread
from worker.pool import LoopPool, held, run_on_loop

#: Whatever is waited for comes long before.
LIMIT_SECONDS = 60.0

app = Celery("tests", set_as_current=False)
tells = contextvars.ContextVar("tells", default="nothing")


def patient(pool: LoopPool) -> LoopPool:
    """On a slow machine its end may take long: what it does then would end the process of the tests."""
    pool.close_seconds, pool.last_resort_seconds = LIMIT_SECONDS, 3600.0
    return pool


@pytest.fixture
def pool() -> Iterator[LoopPool]:
    pool = patient(LoopPool(4, app=app))
    pool.start()
    yield pool
    pool.stop()
    assert not pool.loop_thread.loop.is_running()


class Limit(float):
    """Seconds of a time limit that begin to count when something is so, and from which instant they were counted."""

    counted_from = 0.0
    is_ready: Callable[[], bool]

    def __radd__(self, instant: float) -> float:
        wait_until(self.is_ready, "the limit may count")
        self.counted_from = instant
        return instant + float(self)


def limit(seconds: float, is_ready: Callable[[], bool] = lambda: True) -> Limit:
    made = Limit(seconds)
    made.is_ready = is_ready
    return made


def body_in(pool: LoopPool, body: Callable[[], Any], **limits: float) -> tuple[Any, Future[Any]]:
    """Runs a body as a task in a thread of the pool: Celery's handle, and what the body returned or raised."""
    outcome: Future[Any] = Future()

    def record() -> None:
        try:
            outcome.set_result(body())
        except BaseException as error:  # noqa: BLE001 the test looks at it
            outcome.set_exception(error)

    task = app.task(record, name=f"tests.{id(record)}", **limits)
    run = pool.apply_async(
        task.apply, (), {}, callback=lambda _: None, timeout_callback=lambda *_: None, accept_callback=None
    )
    return run, outcome


class Coroutine:
    """A coroutine that waits until it is cancelled, and takes its time then."""

    def __init__(self, cleanup_seconds: float = 0.0) -> None:
        self.began = threading.Event()
        self.was_cancelled = threading.Event()
        self.has_cleaned_up = False
        self._cleanup_seconds = cleanup_seconds

    async def __call__(self) -> None:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled.set()
            await asyncio.sleep(self._cleanup_seconds)
            self.has_cleaned_up = True
            raise


async def answer() -> int:
    return 42


async def fail() -> None:
    raise ValueError("on purpose")


async def leave() -> None:
    raise SystemExit(3)


class TestOutsideAPool:
    def test_a_coroutine_runs_and_its_result_comes_back(self) -> None:
        assert run_on_loop(answer) == 42

    def test_an_error_comes_back_as_it_is(self) -> None:
        with pytest.raises(ValueError, match="on purpose"):
            run_on_loop(fail)

    def test_an_error_while_the_coroutine_is_made_comes_back_too(self) -> None:
        with pytest.raises(ZeroDivisionError):
            run_on_loop(lambda: 1 / 0)  # type: ignore[arg-type, return-value]

    def test_all_calls_share_one_loop(self) -> None:
        async def which() -> asyncio.AbstractEventLoop:
            return asyncio.get_running_loop()

        assert run_on_loop(which) is run_on_loop(which)

    def test_the_contextvars_of_the_caller_cross_with_the_coroutine(self) -> None:
        async def told() -> str:
            return tells.get()

        tells.set("message 7")
        assert run_on_loop(told) == "message 7"

    def test_a_call_from_the_loop_itself_is_refused_instead_of_waiting_for_ever(self) -> None:
        async def nested() -> int:
            return run_on_loop(answer)

        with pytest.raises(RuntimeError, match="await instead"):
            run_on_loop(nested)

    def test_nothing_is_held(self) -> None:
        with pytest.raises(LookupError):
            held(str)


class TestTheLoop:
    def test_it_survives_a_coroutine_that_exits(self) -> None:
        with pytest.raises(RuntimeError, match=r"SystemExit\(3\)") as caught:
            run_on_loop(leave)
        assert isinstance(caught.value.__cause__, SystemExit)
        assert run_on_loop(answer) == 42

    def test_it_survives_a_child_task_that_exits(self) -> None:
        async def parent() -> None:
            await asyncio.gather(leave(), asyncio.sleep(0.01))

        with pytest.raises(RuntimeError, match="SystemExit"):
            run_on_loop(parent)
        assert run_on_loop(answer) == 42

    def test_it_tells_when_it_is_blocked_and_where(self) -> None:
        thread = LoopThread()
        thread.start()
        free = threading.Event()
        thread.soon(free.wait)
        assert thread.is_blocked(within_seconds=0.05)
        wait_until(lambda: "in wait" in thread.where(), "it says that it waits")
        free.set()
        assert not thread.is_blocked(within_seconds=LIMIT_SECONDS)
        assert thread.stop(LIMIT_SECONDS)

    def test_stopping_it_cancels_what_runs_and_says_whether_that_worked(self) -> None:
        thread, coroutine = LoopThread(), Coroutine(cleanup_seconds=0.02)
        thread.start()
        thread.soon(lambda: setattr(coroutine, "task", thread.loop.create_task(coroutine())))
        assert coroutine.began.wait(LIMIT_SECONDS)
        assert thread.stop(LIMIT_SECONDS)
        assert coroutine.has_cleaned_up
        assert thread.loop.is_closed()
        assert thread.stop(LIMIT_SECONDS)  # again

    def test_stopping_it_says_when_something_did_not_end(self) -> None:
        thread, free = LoopThread(), threading.Event()
        thread.start()
        thread.soon(free.wait)
        assert not thread.stop(0.05)
        free.set()
        assert thread._thread is not None
        thread._thread.join(LIMIT_SECONDS)


class TestInThePool:
    def test_the_result_comes_back(self, pool: LoopPool) -> None:
        _, outcome = body_in(pool, lambda: run_on_loop(answer))
        assert outcome.result(LIMIT_SECONDS) == 42

    def test_coroutines_of_all_threads_run_together(self, pool: LoopPool) -> None:
        present = [0]
        everyone = asyncio.Event()

        async def meet() -> None:
            present[0] += 1
            if present[0] == 4:
                everyone.set()
            await everyone.wait()

        for outcome in [body_in(pool, lambda: run_on_loop(meet))[1] for _ in range(4)]:
            outcome.result(LIMIT_SECONDS)

    def test_a_soft_limit_cancels_and_waits_for_the_cleanup(self, pool: LoopPool) -> None:
        coroutine = Coroutine(cleanup_seconds=0.1)
        soft = limit(0.05, coroutine.began.is_set)
        _, outcome = body_in(pool, lambda: run_on_loop(coroutine), soft_time_limit=soft, time_limit=600)
        assert isinstance(outcome.exception(LIMIT_SECONDS), SoftTimeLimitExceeded)
        assert coroutine.has_cleaned_up

    def test_the_soft_limit_strikes_once_so_that_the_body_can_tidy_up(self, pool: LoopPool) -> None:
        def body() -> int:
            with pytest.raises(SoftTimeLimitExceeded):
                run_on_loop(Coroutine())
            return run_on_loop(answer)

        _, outcome = body_in(pool, body, soft_time_limit=0.05)
        assert outcome.result(LIMIT_SECONDS) == 42

    def test_a_hard_limit_does_not_wait_for_the_coroutine(self, pool: LoopPool) -> None:
        coroutine = Coroutine(cleanup_seconds=60)
        soft = limit(0.05, coroutine.began.is_set)
        _, outcome = body_in(pool, lambda: run_on_loop(coroutine), soft_time_limit=soft, time_limit=0.2)
        assert isinstance(outcome.exception(LIMIT_SECONDS), TimeLimitExceeded)
        assert coroutine.was_cancelled.wait(LIMIT_SECONDS)
        assert not coroutine.has_cleaned_up

    def test_a_hard_limit_alone_cancels_too(self, pool: LoopPool) -> None:
        coroutine = Coroutine()
        hard = limit(0.05, coroutine.began.is_set)
        _, outcome = body_in(pool, lambda: run_on_loop(coroutine), time_limit=hard)
        assert isinstance(outcome.exception(LIMIT_SECONDS), TimeLimitExceeded)
        assert coroutine.was_cancelled.wait(LIMIT_SECONDS)

    def test_limits_count_from_the_start_of_the_task(self, pool: LoopPool) -> None:
        began, hard = [], limit(0.05)

        def body() -> None:
            began.append(monotonic())
            sleep(0.01)  # synchronous work before the crossing is what is meant here
            run_on_loop(Coroutine())

        _, outcome = body_in(pool, body, time_limit=hard)
        assert isinstance(outcome.exception(LIMIT_SECONDS), TimeLimitExceeded)
        assert 0 < hard.counted_from <= began[0]

    def test_the_limits_of_the_worker_hold_for_tasks_without_their_own(self) -> None:
        pool = patient(LoopPool(1, app=app, soft_timeout=0.05))
        pool.start()
        _, outcome = body_in(pool, lambda: run_on_loop(Coroutine()))
        assert isinstance(outcome.exception(LIMIT_SECONDS), SoftTimeLimitExceeded)
        pool.stop()

    def test_a_hard_limit_holds_while_the_loop_is_blocked_and_the_log_says_where(self, pool: LoopPool) -> None:
        free = threading.Event()

        async def block() -> None:
            free.wait()

        soft = limit(0.02, lambda: "free.wait()" in pool.loop_thread.where())
        with structlog.testing.capture_logs() as logs:
            _, outcome = body_in(pool, lambda: run_on_loop(block), soft_time_limit=soft, time_limit=0.05)
            assert isinstance(outcome.exception(LIMIT_SECONDS), TimeLimitExceeded)
        free.set()
        assert [entry["event"] for entry in logs] == ["worker.loop_blocked"]
        assert "free.wait()" in logs[0]["where"]

    def test_a_terminated_task_is_cancelled_and_ignored(self, pool: LoopPool) -> None:
        coroutine = Coroutine(cleanup_seconds=0.02)
        run, outcome = body_in(pool, lambda: run_on_loop(coroutine))
        assert coroutine.began.wait(LIMIT_SECONDS)
        run.terminate()
        assert isinstance(outcome.exception(LIMIT_SECONDS), Ignore)
        assert coroutine.has_cleaned_up

    def test_a_task_terminated_before_it_crosses_does_not_cross(self, pool: LoopPool) -> None:
        may_cross, coroutine = threading.Event(), Coroutine()

        def body() -> None:
            may_cross.wait()
            run_on_loop(coroutine)

        run, outcome = body_in(pool, body)
        run.terminate()
        may_cross.set()
        assert isinstance(outcome.exception(LIMIT_SECONDS), Ignore)
        assert not coroutine.began.is_set()

    def test_a_coroutine_cancelled_by_others_fails_its_task_only(self, pool: LoopPool) -> None:
        async def cancelled() -> None:
            raise asyncio.CancelledError

        _, outcome = body_in(pool, lambda: run_on_loop(cancelled))
        assert isinstance(outcome.exception(LIMIT_SECONDS), Exception)
        assert body_in(pool, lambda: run_on_loop(answer))[1].result(LIMIT_SECONDS) == 42

    def test_an_error_of_celery_itself_is_logged(self, pool: LoopPool) -> None:
        def callback(_: object) -> None:
            raise ValueError("no connection")

        with structlog.testing.capture_logs() as logs:
            run = pool.apply_async(lambda: None, callback=callback, timeout_callback=None)
            assert isinstance(run.future.exception(LIMIT_SECONDS), ValueError)
            wait_until(lambda: logs, "it is logged")
            pool.stop()
        assert [entry["event"] for entry in logs] == ["worker.task_not_recorded"]

    def test_its_description_is_for_flower(self, pool: LoopPool) -> None:
        assert pool.info == {
            "implementation": "worker.pool:LoopPool",
            "max-concurrency": 4,
            "threads": 0,
            "running": 0,
            "loop": "uvloop",
        }


class Tools(list[str]):
    pass


class PatientPool(LoopPool):
    close_seconds = LIMIT_SECONDS
    last_resort_seconds = 3600.0


class PoolWithTools(PatientPool):
    trace: list[str]

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[Tools]:
        self.trace = ["opened"]
        yield Tools(["a client"])
        self.trace.append("closed")


class PoolThatCannotStart(PatientPool):
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        raise ConnectionError("no store")
        yield


class PoolThatStartsForEver(PatientPool):
    start_seconds = 0.05

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield


class PoolWhoseSweeperDies(PatientPool):
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            yield


class TestTheLifespan:
    def test_it_surrounds_the_tasks_and_they_find_what_it_holds(self) -> None:
        pool = PoolWithTools(1, app=app)
        pool.start()
        _, outcome = body_in(pool, lambda: (held(Tools), list(pool.trace)))
        assert outcome.result(LIMIT_SECONDS) == (["a client"], ["opened"])
        pool.stop()
        assert pool.trace == ["opened", "closed"]

    def test_it_is_left_after_the_running_tasks_have_ended(self) -> None:
        pool, began, release = PoolWithTools(1, app=app), threading.Event(), threading.Event()
        pool.start()

        def body() -> list[str]:
            began.set()
            release.wait()
            return list(pool.trace)

        _, outcome = body_in(pool, body)
        assert began.wait(LIMIT_SECONDS)
        stopping = threading.Thread(target=pool.stop)
        stopping.start()
        release.set()
        assert outcome.result(LIMIT_SECONDS) == ["opened"]
        stopping.join(LIMIT_SECONDS)
        assert pool.trace == ["opened", "closed"]

    def test_it_may_be_cut_short_by_a_cold_shutdown_in_the_middle(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pool, coroutine = PoolWithTools(1, app=app), Coroutine()
        pool.start()
        body_in(pool, lambda: run_on_loop(coroutine))
        assert coroutine.began.wait(LIMIT_SECONDS)

        def interrupted() -> None:  # as the signal handler of a cold shutdown does while a warm one waits
            monkeypatch.setattr(state, "should_terminate", True)
            pool.stop()

        before = signal.signal(signal.SIGUSR2, lambda *_: interrupted())
        try:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR2)).start()
            pool.stop()
        finally:
            signal.signal(signal.SIGUSR2, before)
        assert coroutine.was_cancelled.is_set()
        assert pool.trace == ["opened", "closed"]

    def test_what_is_held_is_asked_for_by_its_kind(self) -> None:
        pool = PoolWithTools(1, app=app)
        pool.start()
        _, outcome = body_in(pool, lambda: held(dict))
        assert isinstance(outcome.exception(LIMIT_SECONDS), LookupError)
        pool.stop()

    def test_its_error_is_the_error_of_the_start(self) -> None:
        pool = PoolThatCannotStart(1, app=app)
        with pytest.raises(ConnectionError, match="no store"):
            pool.start()
        assert pool.loop_thread.loop.is_closed()

    def test_a_start_that_takes_too_long_is_an_error(self) -> None:
        with pytest.raises(TimeoutError, match="not ready"):
            PoolThatStartsForEver(1, app=app).start()

    def test_its_early_end_stops_the_worker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(state, "should_stop", None)
        pool = PoolWhoseSweeperDies(1, app=app)
        with structlog.testing.capture_logs() as logs:
            pool.start()
            pool._life.has_ended_by(monotonic() + LIMIT_SECONDS)
            pool.stop()
        assert state.should_stop == 1
        assert [entry["event"] for entry in logs] == ["worker.lifespan_ended"]
