"""An asyncio event loop in a thread of its own, and coroutines that other threads send there and wait for.

Whatever a coroutine raises, SystemExit too, reaches the thread that waits for it and leaves the loop running.
The caller's contextvars (the bound log fields) go with the coroutine. Knows nothing of Celery.
"""

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, wait
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any, Generic, TypeVar

import structlog

try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop  # type: ignore[assignment]

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class Crossing(Generic[T]):
    """One coroutine on the loop, as the thread that waits for it sees it."""

    def __init__(self, thread: "LoopThread", make: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self.ended: Future[T] = Future()
        self._thread = thread
        self._task: asyncio.Task[T] | None = None
        thread.loop.call_soon_threadsafe(self._begin, make)  # takes the caller's contextvars along

    def cancel(self) -> None:
        self._thread.soon(lambda: self._task and self._task.cancel())

    def has_ended_by(self, instant: float) -> bool:
        """Waits until the coroutine has ended, to `instant` (monotonic) at the latest."""
        return bool(wait((self.ended,), None if instant == inf else max(0.0, instant - monotonic())).done)

    def _begin(self, make: Callable[[], Coroutine[Any, Any, T]]) -> None:
        async def carry() -> T:  # so that an error of make() itself arrives as well
            return await make()

        self._task = self._thread.loop.create_task(carry())
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[T]) -> None:
        error = CancelledError() if task.cancelled() else task.exception()
        if error is None:
            self.ended.set_result(task.result())
        elif isinstance(error, Exception):
            self.ended.set_exception(error)
        else:  # SystemExit and the like would end the thread that waits, or what the thread belongs to
            refused = RuntimeError(f"the coroutine raised {error!r}")
            refused.__cause__ = error
            self.ended.set_exception(refused)


class LoopThread:
    """An event loop (uvloop where it can be imported) in a daemon thread of its own."""

    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_stopping = False

    def start(self) -> None:
        """Starts the loop unless it runs already."""
        with self._starting:
            if self._thread is None:
                self.loop = new_event_loop()
                self._thread = threading.Thread(target=self._run, name="event-loop", daemon=True)
                self._thread.start()

    def stop(self, timeout_seconds: float) -> bool:
        """Cancels what still runs, closes generators, executor and loop; says whether all that was done in time."""
        if self._thread is None or not self._thread.is_alive():
            return True
        until = monotonic() + timeout_seconds
        is_wound_up = Crossing(self, self._wind_up).has_ended_by(until)
        self._is_stopping = True
        self.soon(self.loop.stop)
        self._thread.join(max(0.1, until - monotonic()))
        return is_wound_up and not self._thread.is_alive()

    def soon(self, callback: Callable[..., object], *args: object) -> None:
        """Calls something on the loop; nothing happens if the loop is closed."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(callback, *args)

    def is_blocked(self, within_seconds: float) -> bool:
        """Whether the loop does not come round to anything for that long."""
        beat = threading.Event()
        self.soon(beat.set)
        return not beat.wait(within_seconds)

    def is_current(self) -> bool:
        return threading.current_thread() is self._thread

    def where(self) -> str:
        """What the loop's thread is doing now."""
        return stack_of(self._thread)

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:  # asyncio lets them through and stops the loop
                _log.error("worker.exit_refused", error=repr(error))
        self.loop.close()

    async def _wind_up(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self.loop.shutdown_asyncgens()
        await self.loop.shutdown_default_executor()


def stack_of(thread: threading.Thread | None) -> str:
    """What a thread is doing now; empty if it has ended."""
    frame = sys._current_frames().get(thread.ident or 0) if thread else None  # noqa: SLF001 the documented way
    return "".join(traceback.format_stack(frame)) if frame else ""
