"""Functions of this machine: `python:` and `file:` targets, each in processes of its own.

A handler is imported once for each process and then called many times, as in Lambda. What it may use is limited: time,
memory, the size of its answer, the number of its processes. Whatever it does to its process or to itself becomes an
answer or InvocationFailed, and the next call works. No process outlives the worker, also when that is killed.
The handler runs as the worker's user: it is separated from mail and settings by process, not by right.

launch.py says what a process is started with, warm.py who may use which, host.py speaks with one; guard.py and
runner.py or runner.cjs are that process.
"""

import asyncio
import os
import time
import uuid
from collections.abc import Hashable, Mapping

from structlog.typing import FilteringBoundLogger

from config.logs import get_log
from config.settings import Settings
from worker.functions.failures import InvocationFailed
from worker.functions.hiding import hide
from worker.functions.host import FunctionProcess
from worker.functions.launch import launch_of
from worker.functions.raw_answer import one_line
from worker.functions.warm import Pool, WarmProcesses
from worker.rules.records import Function

REASON_CHARACTERS = 500
#: What calls under way get when the worker stops.
MOMENT_SECONDS = 2.0


class LocalFunctions:
    """Calls handlers on this machine; used on one event loop. `close()` ends every process."""

    def __init__(
        self, settings: Settings, *, environ: Mapping[str, str] = os.environ, log: FilteringBoundLogger | None = None
    ) -> None:
        self._settings = settings
        self._environ = environ
        limits = settings.functions
        self._warm = WarmProcesses(limits.max_processes, limits.idle_seconds, log or get_log())

    async def invoke(
        self, function: Function, *, rule: str, payload: bytes, invocation_id: str, seconds: float
    ) -> bytes:
        """The handler's answer as JSON. Waiting for a process and its start count in `seconds`.

        Raises InvocationFailed, whose reason holds the error of the handler and no value of its environment.
        """
        pool = self._pool(function, rule)
        call = _Call(self._warm, pool, _request_id(invocation_id), payload)
        deadline_ms = int((time.time() + seconds) * 1000)
        try:
            async with asyncio.timeout(seconds):
                return await call.run(deadline_ms)
        except TimeoutError as error:
            raise InvocationFailed(f"no answer within {seconds:g} s: {call.phase}") from error
        except InvocationFailed as error:
            reason = one_line(hide(error.reason, pool.launch.hidden), REASON_CHARACTERS)
            raise InvocationFailed(reason) from error

    async def close(self) -> None:
        """Calls under way get a moment, then they fail. Afterwards no process is left."""
        await self._warm.close(MOMENT_SECONDS)

    def _pool(self, function: Function, rule: str) -> Pool:
        key = _key(function, rule)
        pool = self._warm.find(key)
        if pool is None:
            launch = launch_of(function, rule, self._settings, self._environ)
            pool = Pool(key, launch, function.concurrency)
            self._warm.add(pool)
        return pool


class _Call:
    """One call on its way, with how far it came."""

    def __init__(self, warm: WarmProcesses, pool: Pool, request_id: str, payload: bytes) -> None:
        self._warm = warm
        self._pool = pool
        self._request_id = request_id
        self._payload = payload
        self.phase = f"none of its {pool.concurrency} processes was free"

    async def run(self, deadline_ms: int) -> bytes:
        process, is_new = await self._warm.take(self._pool)
        try:
            answer = await self._use(process, deadline_ms, is_new=is_new)
        except InvocationFailed:
            raise
        except BaseException:  # its time is over, or nobody waits for it any more: it may still be at it
            process.end()
            raise
        finally:
            self._warm.give_back(self._pool, process)
        return answer

    async def _use(self, process: FunctionProcess, deadline_ms: int, *, is_new: bool) -> bytes:
        if is_new:
            self.phase = f"{self._pool.launch.name} was still being loaded"
            await process.get_ready(self._request_id)
        self.phase = "the handler was still at work"
        return await process.ask(self._request_id, self._payload, deadline_ms)


def _key(function: Function, rule: str) -> Hashable:
    """What processes must have in common to be used for the same calls."""
    environment = tuple(sorted(function.environment.items()))
    return rule, function.target, function.python, environment, function.memory_megabytes, function.concurrency


def _request_id(invocation_id: str) -> str:
    """In the form that Lambda's have."""
    try:
        return str(uuid.UUID(hex=invocation_id))
    except ValueError:
        return invocation_id
