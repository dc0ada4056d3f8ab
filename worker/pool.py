"""Celery's thread pool with one shared event loop: tasks wait in threads, their coroutines run together.

1. Celery hands a task to a thread. Its body (a plain function) builds a coroutine and waits in `run_on_loop`.
2. The coroutine runs on the one loop of the process, beside those of all other threads. contextvars cross
   with it; `task.request` is per thread and empty over there, as is `held`: read them first, and pass them on:
   `message_ids, tools = request.id, held(Tools)` and then `run_on_loop(lambda: process(message_ids, tools))`.
3. Soft time limit: the coroutine is cancelled; when it has ended, SoftTimeLimitExceeded is raised in the body.
   Hard time limit: it is left behind, TimeLimitExceeded is raised, even if synchronous code blocks the loop.
   Both count from the start of the task. A terminated task is cancelled too and stays recorded as revoked.
4. What tasks share (clients, tools) lives in `LoopPool.lifespan`: entered on the loop before the first task
   is taken, left after the last one ended. If it fails to start, or ends early, the worker exits with 1.
5. Warm shutdown waits for running tasks and for what they left behind on the loop (`last_work`); cold shutdown
   (SIGQUIT; Celery ignores a second SIGTERM) cancels them. A thread that is stuck in synchronous code cannot be
   ended: then the process is, a few seconds later.
Not guaranteed: work outside `run_on_loop` can be neither limited nor terminated.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from functools import partial
from math import inf
from time import monotonic
from typing import Any, TypeVar

import structlog
from celery import current_task
from celery.concurrency.base import apply_target
from celery.concurrency.thread import TaskPool
from celery.exceptions import Ignore, SoftTimeLimitExceeded, TimeLimitExceeded
from celery.platforms import EX_FAILURE
from celery.worker import state

from worker.loop import Crossing, LoopThread, stack_of

T = TypeVar("T")
_log = structlog.get_logger(__name__)
#: Each thread of the pool finds the task it is running here, as `.run`.
_here = threading.local()


class Run:
    """One task in one thread of the pool; Celery keeps it (weakly) to terminate the task."""

    def __init__(self, pool: "LoopPool", on_timeout: Callable[[bool, float], object] | None) -> None:
        self.pool = pool
        self.future: Future[None]
        self.started_at = inf  # until a thread takes it up
        self.thread: threading.Thread | None = None
        self._on_timeout = on_timeout
        self._crossing: Crossing[Any] | None = None
        self._terminated = threading.Event()
        self._is_soft_limit_spent = False

    def terminate(self, _signal: object = None) -> None:
        """Cancels the coroutine; there is no process to send a signal to."""
        self._terminated.set()
        if self._crossing is not None:
            self._crossing.cancel()

    def cross(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs a coroutine within what is left of the time limits of the task."""
        if self._terminated.is_set():
            raise Ignore("terminated")
        crossing = Crossing(self.pool.loop_thread, make)
        self._crossing = crossing
        if self._terminated.is_set():  # in between
            crossing.cancel()
        soft_seconds, hard_seconds = _limits_seconds(self.pool.options)
        soft_at, hard_at = self.started_at + soft_seconds, self.started_at + hard_seconds
        is_cut_short = False
        if not self._is_soft_limit_spent and soft_at < hard_at and not crossing.has_ended_by(soft_at):
            is_cut_short = self._is_soft_limit_spent = True
            crossing.cancel()
            if self._on_timeout:
                self._on_timeout(True, soft_seconds)
        if not crossing.has_ended_by(hard_at):
            self._leave_behind(crossing)
            raise TimeLimitExceeded(hard_seconds)
        if self._terminated.is_set():
            raise Ignore("terminated")  # an error would overwrite the recorded state, REVOKED
        if is_cut_short:
            raise SoftTimeLimitExceeded(soft_seconds) from crossing.ended.exception()
        return crossing.ended.result()

    def _leave_behind(self, crossing: Crossing[Any]) -> None:
        crossing.cancel()
        if self.pool.loop_thread.is_blocked(within_seconds=1.0):
            _log.error("worker.loop_blocked", task=current_task.name, where=self.pool.loop_thread.where())


class LoopPool(TaskPool):
    """The pool: `worker_pool = "worker.pool:LoopPool"`, or a subclass with a lifespan of its own."""

    executor: ThreadPoolExecutor
    #: Time for the lifespan to start.
    start_seconds = 60.0
    #: Time for cancelled coroutines, the lifespan and the loop to end, all together.
    close_seconds = 5.0
    #: Time for the rest of Celery's shutdown when threads are stuck; then the process is ended.
    last_resort_seconds = 3.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.loop_thread = LoopThread()
        self.held: Any = None
        self._runs: set[Run] = set()
        self._closing = asyncio.Event()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def lifespan(self) -> AbstractAsyncContextManager[Any]:
        """What the tasks of this process share; subclasses override it. What it yields is `held`."""
        return nullcontext()

    async def last_work(self) -> None:
        """What tasks that have ended left behind on the loop; a warm shutdown waits for it. Subclasses override it."""

    def on_start(self) -> None:
        self.loop_thread.start()
        opened: Future[Any] = Future()
        self._life = Crossing(self.loop_thread, partial(self._live, opened))
        wait((opened, self._life.ended), self.start_seconds, FIRST_COMPLETED)
        if not opened.done():
            error = self._life.ended.exception(timeout=0) if self._life.ended.done() else None
            self.loop_thread.stop(self.close_seconds)
            raise error or TimeoutError(f"the worker was not ready after {self.start_seconds} s")
        self.held = opened.result()
        self._life.ended.add_done_callback(self._on_life_ended)

    def on_apply(self, *work: Any, **options: Any) -> Any:
        run = Run(self, options["timeout_callback"])
        run.future = self.executor.submit(self._run, run, work, options)
        self._runs.add(run)
        run.future.add_done_callback(partial(self._on_run_ended, run))
        return run

    def terminate_job(self, pid: Any, signal: Any | None = None) -> None:
        """Does nothing: Celery calls `Run.terminate` as well, and the process of the job is this one."""

    def on_stop(self) -> None:
        # On the loop, because a cold shutdown calls this from a signal handler, which may have interrupted
        # this very thread inside the executor's lock.
        self.loop_thread.soon(partial(self.executor.shutdown, wait=False, cancel_futures=True))
        while self._runs and not state.should_terminate:
            wait([run.future for run in list(self._runs)], timeout=0.1)
        # The signal handler of a cold shutdown may interrupt these lines too, and close the loop: then nothing is left.
        with suppress(RuntimeError):
            rest = Crossing(self.loop_thread, self.last_work) if self.held is not None else None
            while rest and not state.should_terminate and not rest.has_ended_by(monotonic() + 0.1):
                pass
        self.on_terminate()

    def on_terminate(self) -> None:
        until = monotonic() + self.close_seconds
        for run in list(self._runs):
            run.terminate()
        wait([run.future for run in list(self._runs)], self.close_seconds)
        self.loop_thread.soon(self._closing.set)
        self._life.has_ended_by(until)
        if not self.loop_thread.stop(max(1.0, until - monotonic())) or self._runs:
            where = [self.loop_thread.where(), *(stack_of(run.thread) for run in list(self._runs))]
            _log.error("worker.threads_stuck", where="\n".join(where))
            _end_process_after(self.last_resort_seconds)

    def register_with_event_loop(self, loop: Any) -> None:
        # Celery's own loop asks for more tasks only when something wakes it. With prefetch disabled and every
        # thread busy nothing would, for a second and more: so the end of each task does.
        loop.add_reader(self._wake, os.eventfd_read, self._wake)

    def _run(self, run: Run, work: tuple[Any, ...], options: dict[str, Any]) -> None:
        _here.run = run
        run.started_at, run.thread = monotonic(), threading.current_thread()
        try:
            apply_target(*work, **options)
        finally:
            _here.run = None
            os.eventfd_write(self._wake, 1)

    async def _live(self, opened: Future[Any]) -> None:
        async with self.lifespan() as held:
            opened.set_result(held)
            await self._closing.wait()

    def _on_life_ended(self, life: Future[None]) -> None:
        if not self._closing.is_set():
            _log.critical("worker.lifespan_ended", exc_info=life.exception())
            state.should_stop = EX_FAILURE  # type: ignore[assignment]  # None until then, says the stub
            os.eventfd_write(self._wake, 1)

    def _on_run_ended(self, run: Run, ended: Future[None]) -> None:
        self._runs.discard(run)
        if not ended.cancelled() and (error := ended.exception()):
            _log.error("worker.task_not_recorded", exc_info=error)  # Celery failed, not the task

    def _get_info(self) -> dict[str, Any]:
        return {
            "implementation": f"{type(self).__module__}:{type(self).__name__}",
            "max-concurrency": self.limit,
            "threads": len(self.executor._threads),  # noqa: SLF001 as the pool that this one extends
            "running": len(self._runs),
            "loop": type(self.loop_thread.loop).__module__,
        }


_spare = LoopThread()


def run_on_loop(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a coroutine on the shared loop and waits for its result: the only way there for a task's body.

    Applies the time limits of the task (module docstring). Outside a pool (eager tasks, direct calls) it uses
    a loop of its own and has no limits.
    """
    run: Run | None = getattr(_here, "run", None)
    thread = run.pool.loop_thread if run else _spare
    if thread.is_current():
        raise RuntimeError("run_on_loop was called on the loop, which would wait for itself: await instead")
    if run:
        return run.cross(make)
    _spare.start()
    return Crossing(_spare, make).ended.result()


def held(kind: type[T]) -> T:
    """What the lifespan of this thread's pool yielded."""
    run: Run | None = getattr(_here, "run", None)
    if run is None or not isinstance(run.pool.held, kind):
        raise LookupError(f"no pool here holds a {kind.__name__}")
    return run.pool.held


def _limits_seconds(of_the_worker: dict[str, Any]) -> tuple[float, float]:
    """Soft and hard limit of the current task: from the call, else the task (and its app), else the worker."""
    hard, soft = current_task.request.timelimit or (None, None)
    return (
        soft or current_task.soft_time_limit or of_the_worker.get("soft_timeout") or inf,
        hard or current_task.time_limit or of_the_worker.get("timeout") or inf,
    )


def _end_process_after(seconds: float) -> None:
    """Ends the process, unless it has ended: the interpreter would wait for the threads of executors for ever."""
    last_resort = threading.Timer(seconds, os._exit, (EX_FAILURE,))
    last_resort.daemon = True
    last_resort.start()
