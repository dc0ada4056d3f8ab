"""Calls of functions that decide nothing: they run beside the relay of their message and never keep it waiting.

Theory of operation
1. A call is started as a task; its try is written down with the next write of the message.
2. When everybody has a final state the message waits for its calls; when somebody still waits the message is moved
   after a moment, and calls that take longer are left to the process.
3. How such a call ended is remembered here, for the next time when this process has the message. Another process knows
   only that the call was begun, and tries again when it should have ended long ago: at least once, rarely twice.
4. A call whose worker died with its message is due at once for whoever takes over.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine, Mapping

_REMEMBERED = 10_000


class Left:
    """Calls whose message went on without them, and how those ended. One for each process."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[str]] = {}
        self._ended: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._running)

    def take(self, invocation_id: str, task: "asyncio.Task[str]") -> None:
        """Keeps the task until its end."""
        self._running[invocation_id] = task
        task.add_done_callback(lambda done: self._note(invocation_id, done))

    def is_running(self, invocation_id: str) -> bool:
        """Whether it is called at this moment."""
        return invocation_id in self._running

    def how_it_ended(self, invocation_id: str) -> str | None:
        """Why the call failed, "" when it was made; None when nothing is known. Told once."""
        return self._ended.pop(invocation_id, None)

    def _note(self, invocation_id: str, done: "asyncio.Task[str]") -> None:
        self._running.pop(invocation_id, None)
        self._ended[invocation_id] = _error_of(done)
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)


class Beside:
    """The calls of one message while a worker has it."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._running)

    def __contains__(self, invocation_id: str) -> bool:
        return invocation_id in self._running

    def start(self, invocation_id: str, call: Coroutine[None, None, str]) -> None:
        """`call` answers why it failed, "" = it was made."""
        self._running[invocation_id] = asyncio.ensure_future(call)

    async def ended(self, *, at_most_seconds: float | None = None) -> Mapping[str, str]:
        """Invocation id → why it failed; those that take longer stay."""
        if not self._running:
            return {}
        await asyncio.wait(self._running.values(), timeout=at_most_seconds)
        done = {name: task for name, task in self._running.items() if task.done()}
        for name in done:
            del self._running[name]
        return {name: _error_of(task) for name, task in done.items()}

    def leave(self, left: Left) -> None:
        """The message goes on without them."""
        for invocation_id, task in self._running.items():
            left.take(invocation_id, task)
        self._running.clear()


def _error_of(done: "asyncio.Task[str]") -> str:
    if done.cancelled():
        return "the worker stopped"
    error = done.exception()
    return type(error).__name__ if error else done.result()
