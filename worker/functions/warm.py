"""Who may use which process: warm ones first, new ones within the limits, the idle make room for others.

1. Processes that are alike are a pool: of one rule, with one function, interpreter, environment and limits. A changed
   rule has another pool beside that of its former calls, whose processes end when nobody asks for them any more. A
   process whose file changed ends when it would be used again.
2. A call asks its pool and waits in its line. It gets an idle process, or the right to start one: at most the
   function's `concurrency` of them and `max_processes` in all, counted until the last of a process is gone.
3. When all places are taken, the pool whose first call waits longest gets the next one, and for that the process
   that was idle longest is ended. So a busy rule cannot keep the others out.
4. A process that was idle for `idle_seconds` is ended. A pool without processes and calls is forgotten.
5. A start keeps the event loop busy for milliseconds: there is one at a time, and the others get their turn between.

Invariant: whenever something becomes free (`_serve` is called), no call waits that could go on.
"""

import asyncio
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from worker.functions.failures import InvocationFailed
from worker.functions.host import FunctionProcess
from worker.functions.launch import Launch

STOPPING = "the worker stops"


@dataclass(eq=False, slots=True)
class Pool:
    """The processes of one function."""

    key: Hashable = field(repr=False)
    launch: Launch
    concurrency: int
    #: With the timer that ends each; the one used last stands last.
    idle: dict[FunctionProcess, asyncio.TimerHandle] = field(default_factory=dict)
    #: Since when, and what they get: None = the right to start a process.
    waiting: deque[tuple[float, asyncio.Future[FunctionProcess | None]]] = field(default_factory=deque)
    #: Alive, starting or ending.
    processes: int = 0


class WarmProcesses:
    """All processes of a worker process."""

    def __init__(self, max_processes: int, idle_seconds: float, log: FilteringBoundLogger) -> None:
        self._max_processes = max_processes
        self._idle_seconds = idle_seconds
        self._log = log
        self._pools: dict[Hashable, Pool] = {}
        #: Every process that is not gone.
        self._living: set[FunctionProcess] = set()
        self._places_taken = 0
        #: Processes that end to make room.
        self._leaving: set[FunctionProcess] = set()
        self._starting = asyncio.Lock()
        self._is_closed = False

    def find(self, key: Hashable) -> Pool | None:
        """The pool with this key, if processes or calls are in it."""
        return self._pools.get(key)

    def add(self, pool: Pool) -> None:
        """A pool of which nothing was asked yet."""
        self._pools[pool.key] = pool

    async def take(self, pool: Pool) -> tuple[FunctionProcess, bool]:
        """A process, and whether it is a new one, which has still to get ready.

        Whoever takes one gives it back, whatever happened to it. Raises InvocationFailed, also after `close()`.
        """
        self._check_open()
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[FunctionProcess | None] = loop.create_future()
        pool.waiting.append((loop.time(), turn))
        self._serve()
        try:
            process = await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and not turn.exception():
                self._undo(pool, turn.result())
            self._serve()
            self._forget_if_empty(pool)
            raise
        return (await self._started(pool), True) if process is None else (process, False)

    async def _started(self, pool: Pool) -> FunctionProcess:
        """A new process in the place that was given to the call."""
        try:
            async with self._starting:
                await asyncio.sleep(0)
                self._check_open()
                process = FunctionProcess(pool.launch, self._log)
        except BaseException:
            self._free(pool)
            raise
        self._living.add(process)
        process.gone.add_done_callback(lambda _: self._gone(pool, process))
        return process

    def give_back(self, pool: Pool, process: FunctionProcess) -> None:
        """After use. A process that has ended, or ends, is no use to anybody."""
        if self._is_closed:
            process.end()
        elif process.is_usable:
            timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._end_idle, pool, process)
            pool.idle[process] = timer
        self._serve()

    async def close(self, moment_seconds: float) -> None:
        """Calls under way get a moment; then all processes are ended. Returns when nothing is left of them."""
        self._is_closed = True
        for pool in list(self._pools.values()):
            for _, turn in pool.waiting:
                if not turn.done():
                    turn.set_exception(InvocationFailed(STOPPING))
            pool.waiting.clear()
            for process in list(pool.idle):
                self._end_idle(pool, process)
        if self._living:
            await asyncio.wait([process.gone for process in self._living], timeout=moment_seconds)
        for process in self._living:
            process.end()
        while self._living:
            await asyncio.wait([process.gone for process in self._living])

    def _check_open(self) -> None:
        if self._is_closed:
            raise InvocationFailed(STOPPING)

    def _serve(self) -> None:
        """Who waits longest comes first, also when room is made: a busy pool that took its own back would keep it."""
        wanted = 0
        for pool in sorted((one for one in self._pools.values() if one.waiting), key=lambda one: one.waiting[0][0]):
            if self._lacks_place(pool):
                wanted += 1
                if len(self._leaving) < wanted:
                    self._make_room()

    def _lacks_place(self, pool: Pool) -> bool:
        """Gives the calls of a pool what there is; whether the next one could start a process if there were room."""
        while pool.waiting:
            turn = pool.waiting[0][1]
            process = None if turn.done() else self._pop_idle(pool)
            if process is None and not turn.done():
                if pool.processes >= pool.concurrency:
                    return False
                if self._places_taken >= self._max_processes:
                    return True
                self._places_taken += 1
                pool.processes += 1
            pool.waiting.popleft()
            if not turn.done():
                turn.set_result(process)
        return False

    def _pop_idle(self, pool: Pool) -> FunctionProcess | None:
        while pool.idle:
            process, timer = pool.idle.popitem()
            timer.cancel()
            if process.is_fit:
                return process
            process.end()
        return None

    def _make_room(self) -> None:
        """Ends the process that was idle longest; calls that wait for it in its own pool came later."""
        idle = [(timer.when(), pool, process) for pool in self._pools.values() for process, timer in pool.idle.items()]
        if idle:
            _, pool, process = min(idle, key=lambda one: one[0])
            self._leaving.add(process)
            self._end_idle(pool, process)

    def _end_idle(self, pool: Pool, process: FunctionProcess) -> None:
        pool.idle.pop(process).cancel()
        process.end()

    def _undo(self, pool: Pool, process: FunctionProcess | None) -> None:
        """What was given to a call that is not there any more."""
        if process is not None:
            self.give_back(pool, process)
        else:
            self._free(pool)

    def _free(self, pool: Pool) -> None:
        pool.processes -= 1
        self._places_taken -= 1
        self._serve()
        self._forget_if_empty(pool)

    def _gone(self, pool: Pool, process: FunctionProcess) -> None:
        self._living.discard(process)
        self._leaving.discard(process)
        if timer := pool.idle.pop(process, None):
            timer.cancel()
        self._free(pool)

    def _forget_if_empty(self, pool: Pool) -> None:
        if not pool.processes and not pool.waiting:
            self._pools.pop(pool.key, None)
