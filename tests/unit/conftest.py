import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest


@pytest.fixture
def milliseconds() -> Callable[[Callable[[], object]], float]:
    """CPU time of the quickest of three runs: what the machine, or another thread, does beside is not counted."""

    def measure(run: Callable[[], object]) -> float:
        taken = []
        for _ in range(3):
            with _no_garbage_of_others():
                started = time.thread_time()
                run()
                taken.append(time.thread_time() - started)
        return min(taken) * 1000

    return measure


@contextlib.contextmanager
def _no_garbage_of_others() -> Iterator[None]:
    """What earlier tests left is not collected in here, at the cost of whoever comes by."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@pytest.fixture
def no_garbage_of_others() -> Iterator[None]:
    """For tests that count what is logged: a task that an earlier test left is not told of in here."""
    with _no_garbage_of_others():
        yield


@pytest.fixture
def time_flies(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractAsyncContextManager[None]]:
    """Inside `async with time_flies():` the event loop's clock runs ahead, a second in about ten milliseconds.

    So a time limit of a minute, which a slow machine does not reach by itself, ends within a second when it is to end.
    """

    @asynccontextmanager
    async def flying() -> AsyncIterator[None]:
        loop, ahead = asyncio.get_running_loop(), 0.0
        earlier = loop.time
        monkeypatch.setattr(loop, "time", lambda: earlier() + ahead)

        async def fly() -> None:
            nonlocal ahead
            while True:
                await asyncio.sleep(0.01)
                ahead += 1.0

        flight = asyncio.create_task(fly())
        try:
            yield
        finally:
            flight.cancel()

    return flying
