"""Calls of functions that decide nothing: they run beside the relay of their message and never keep it waiting.

Theory of operation
1. The try is written down, then the call is started as a task (aside.py).
2. When everybody has a final state the message waits for its calls; when somebody still waits the message is moved
   after a moment, and calls that take longer are left to the process.
3. How such a call ended is remembered here, for the next time when this process has the message. Another process knows
   only that the call was begun, and tries again when it should have ended long ago: at least once, rarely twice.
4. A call whose worker died with its message is due at once for whoever takes over.
5. When what a call needs of ours is away, the function was not asked: that was no try, and is repeated until it is.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass

_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended."""

    #: Why it failed; "" = it was made.
    error: str = ""
    #: False = it failed before the function could hear of it.
    is_try: bool = True


class Left:
    """Calls whose message went on without them, and how those ended. One for each process."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[Ending]] = {}
        self._ended: OrderedDict[str, Ending] = OrderedDict()

    def __len__(self) -> int:
        return len(self._running)

    def take(self, invocation_id: str, task: "asyncio.Task[Ending]") -> None:
        """Keeps the task until its end."""
        self._running[invocation_id] = task
        task.add_done_callback(lambda done: self._note(invocation_id, done))

    def is_running(self, invocation_id: str) -> bool:
        """Whether it is called at this moment."""
        return invocation_id in self._running

    def how_it_ended(self, invocation_id: str) -> Ending | None:
        """None when nothing is known. Told once."""
        return self._ended.pop(invocation_id, None)

    def _note(self, invocation_id: str, done: "asyncio.Task[Ending]") -> None:
        self._running.pop(invocation_id, None)
        self._ended[invocation_id] = _ending_of(done)
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)


class Beside:
    """The calls of one message while a worker has it."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[Ending]] = {}

    def __bool__(self) -> bool:
        return bool(self._running)

    def __contains__(self, invocation_id: str) -> bool:
        return invocation_id in self._running

    def start(self, invocation_id: str, call: Coroutine[None, None, Ending]) -> None:
        """Runs it until it ends, whatever becomes of the message."""
        self._running[invocation_id] = asyncio.ensure_future(call)

    async def ended(self, *, at_most_seconds: float | None = None) -> Mapping[str, Ending]:
        """By invocation id; those that take longer stay."""
        if not self._running:
            return {}
        await asyncio.wait(self._running.values(), timeout=at_most_seconds)
        done = {name: task for name, task in self._running.items() if task.done()}
        for name in done:
            del self._running[name]
        return {name: _ending_of(task) for name, task in done.items()}

    def leave(self, left: Left) -> None:
        """The message goes on without them."""
        for invocation_id, task in self._running.items():
            left.take(invocation_id, task)
        self._running.clear()


def _ending_of(done: "asyncio.Task[Ending]") -> Ending:
    if done.cancelled():
        return Ending("the worker stopped")
    error = done.exception()
    return Ending(type(error).__name__) if error else done.result()
