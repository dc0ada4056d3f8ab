"""One worker process: what it builds at its start, what it does beside its tasks, and how it leaves.

Beside the tasks run: the lease keeper, the sweeper, the tally, the heartbeat (who is alive, for /healthz and
`mailsluice queue`), the announcer (a `publish` task when events wait), and a watchdog in a thread of its own, which
ends a process that is alive but does nothing: Celery workers are known to do that after a lost connection.
"""

import asyncio
import gc
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress

import orjson
from celery.signals import worker_shutting_down
from redis import exceptions

from config.celery_app import BATCHES_SECONDS
from config.errors import TryLater
from config.failpoints import Failpoints
from config.logs import get_log
from config.redis_clients import redis_client
from config.settings import Settings
from config.settings_source import load_settings
from sending_events.destinations import open_destinations
from sending_events.publisher import Publisher
from spool import keys
from spool.assembly import open_spool
from spool.nudge import Nudger
from spool.orphans import collect_orphans
from spool.tally import Tally
from worker.leases import LeaseKeeper
from worker.pipeline import process_message
from worker.pool import LoopPool
from worker.relay.retry import Backoff
from worker.relay.ses import SesClient
from worker.room import Room
from worker.sweeper import Sweeper
from worker.tools import Tools

_HEARTBEAT_SECONDS = 2.0
# Threads that `process` tasks leave to others: a saturated worker still publishes events.
_RESERVED_THREADS = 4
# Bytes of contents out of the content store that the messages of one process hold at once.
_CONTENT_BYTES = 256 * 1024 * 1024
_ANNOUNCE_SECONDS = 0.2
_TIDY_SECONDS = 60.0
# Messages in a task from which on there is probably a backlog.
_LARGE_TASK = 10
_DEAD_AFTER_SECONDS = 3600
_EXIT_STALLED = 70  # EX_SOFTWARE: the supervisor starts a new one


class WorkerProcess:
    """What the tasks of this process call."""

    def __init__(self, tools: Tools, publisher: Publisher) -> None:
        self._tools = tools
        self._publisher = publisher
        self._processing = 0
        self._max_processing = max(1, tools.settings.worker.threads - _RESERVED_THREADS)
        self._sweeper = Sweeper(
            tools,
            is_saturated=lambda: self._processing >= self._max_processing,
        )
        self._room = Room(max(50, 8 * tools.settings.worker.concurrent_calls))
        self._started_at_ms = tools.now_ms()
        self._last_claim_at = time.monotonic()
        self._last_claim_at_ms = 0
        self._claimed = 0
        self._last_tick = time.monotonic()
        self._has_news = True

    async def process(self, message_ids: Sequence[str]) -> None:
        """Claims those of the messages that are due and takes each through the pipeline.

        A worker with all it can hold drops the nudge: the messages stay due and the sweepers nudge again.
        """
        if self._processing >= self._max_processing:
            return
        deadline = time.monotonic() + BATCHES_SECONDS
        self._processing += 1
        try:
            await self._process(message_ids, deadline)
        finally:
            self._processing -= 1

    async def _process(self, message_ids: Sequence[str], deadline: float) -> None:
        tools = self._tools
        started = time.perf_counter()
        taken = await self._room.take(len(message_ids))
        try:
            if tools.stopping.is_set() or time.monotonic() > deadline:
                return
            claimed = await tools.spool.claim(message_ids, tools.worker)
            for one in claimed:
                tools.leases.take(one.lease)
            self._last_claim_at, self._last_claim_at_ms = time.monotonic(), tools.now_ms()
            self._claimed += len(claimed)
            self._room.give(taken - min(taken, len(claimed)))
            taken = min(taken, len(claimed))
            tools.failpoints.reached("worker.after_claim")
            running = [asyncio.ensure_future(process_message(one, tools, deadline)) for one in claimed]
            for message in running[:taken]:  # a slow message keeps its own place only
                message.add_done_callback(lambda _: self._room.give(1))
            taken = 0
            await asyncio.gather(*running)
        finally:
            self._room.give(taken)
        self._has_news = True
        if len(claimed) >= _LARGE_TASK:
            self._sweeper.hurry()
        tools.tally.observe("task:process", time.perf_counter() - started)

    async def publish(self, destination: str) -> None:
        """Gives waiting events to one destination."""
        started = time.perf_counter()
        await self._publisher.publish(destination)
        self._tools.tally.observe("task:publish", time.perf_counter() - started)

    def jobs(self) -> list[Callable[[], Coroutine[None, None, None]]]:
        """What runs for ever beside the tasks, as coroutine functions."""
        redis = self._tools.spool.redis
        return [
            self._tools.leases.run,
            self._sweeper.run,
            self._tick,
            self._beat,
            self._announce,
            self._tidy,
            lambda: self._tools.tally.run(redis),
        ]

    def watch(self) -> None:
        """The watchdog's thread: never returns."""
        stall_seconds = self._tools.settings.worker.stall_seconds
        while True:
            time.sleep(min(5.0, stall_seconds / 4))
            if problem := self._stalled(stall_seconds):
                self._tools.log.critical("worker.stalled", problem=problem)
                os._exit(_EXIT_STALLED)

    def _stalled(self, limit_seconds: float) -> str:
        now = time.monotonic()
        if now - self._last_tick > limit_seconds:
            return "the event loop stands still"
        overdue_since = self._sweeper.overdue_since
        is_overdue = overdue_since is not None and now - overdue_since > limit_seconds
        if is_overdue and now - self._last_claim_at > limit_seconds and not len(self._tools.leases):
            return "messages are due and this worker is given none"
        return ""

    async def _tick(self) -> None:
        """For the watchdog: the loop goes round. Waits for nothing else."""
        while True:
            self._last_tick = time.monotonic()
            await asyncio.sleep(1)

    async def _beat(self) -> None:
        redis = self._tools.spool.redis
        while True:
            beat = {
                "at_ms": self._tools.now_ms(),
                "started_at_ms": self._started_at_ms,
                "claimed": self._claimed,
                "active": len(self._tools.leases),
                "last_claim_at_ms": self._last_claim_at_ms,
            }
            with suppress(exceptions.RedisError, OSError):
                await redis.hset(keys.WORKERS, self._tools.worker, orjson.dumps(beat).decode())
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    async def _announce(self) -> None:
        """Nudges the publisher soon after this process wrote events, and now and then for those of the doors."""
        rounds = 0
        while True:
            await asyncio.sleep(_ANNOUNCE_SECONDS)
            rounds += 1
            if not self._has_news and rounds % 10:
                continue
            self._has_news = False
            with suppress(TryLater, exceptions.RedisError, OSError):
                for name in self._publisher.names:
                    if await self._publisher.has_work(name):
                        await self._tools.nudger.push_publish(name)

    async def _tidy(self) -> None:
        """Now and then, each on its own: a failure of one does not keep the others from their turn."""
        while True:
            await asyncio.sleep(_TIDY_SECONDS * (0.5 + self._tools.chance()))
            for chore in (self._publisher.trim, self._forget_dead_workers, self._collect_orphans):
                try:
                    await chore()
                except (TryLater, exceptions.RedisError, OSError) as error:
                    self._tools.log.warning("sweep.failed", error=str(error))

    async def _forget_dead_workers(self) -> None:
        redis = self._tools.spool.redis
        oldest = self._tools.now_ms() - _DEAD_AFTER_SECONDS * 1000
        beats = await redis.hgetall(keys.WORKERS)
        if dead := [name for name, beat in beats.items() if orjson.loads(beat)["at_ms"] < oldest]:
            await redis.hdel(keys.WORKERS, *dead)

    async def _collect_orphans(self) -> None:
        if removed := await collect_orphans(self._tools.spool, older_than_seconds=3600, now=time.time()):
            self._tools.log.info("spool.orphans_removed", contents=removed)


@asynccontextmanager
async def worker_process(settings: Settings) -> AsyncIterator[WorkerProcess]:
    """Everything a worker process needs, from before its first task until after its last."""
    _calm_garbage_collector()
    async with AsyncExitStack() as stack:
        redis = redis_client(settings.redis_url, connections=16)
        stack.push_async_callback(redis.aclose)
        broker = redis if settings.broker_url == settings.redis_url else redis_client(settings.broker_url)
        if broker is not redis:
            stack.push_async_callback(broker.aclose)
        ses = SesClient(settings.relay, concurrent_calls=settings.worker.concurrent_calls)
        await ses.open()
        stack.push_async_callback(ses.close)
        spool = open_spool(settings, redis=redis)
        tools = Tools(
            settings=settings,
            spool=spool,
            ses=ses,
            leases=LeaseKeeper(spool),
            nudger=Nudger(broker, settings),
            tally=Tally(),
            failpoints=Failpoints.from_environment(),
            log=get_log(),
            worker=f"{socket.gethostname()}-{os.getpid()}",
            content_room=Room(_CONTENT_BYTES),
            backoff=Backoff(settings.relay.retry_first_seconds, settings.relay.retry_max_seconds),
        )
        destinations = open_destinations(settings)
        process = WorkerProcess(
            tools, Publisher(spool, destinations, tools.failpoints, max_backlog=settings.events.max_backlog)
        )
        worker_shutting_down.connect(_stop_of(tools), weak=False, dispatch_uid="mailsluice")
        threading.Thread(target=process.watch, name="watchdog", daemon=True).start()
        async with asyncio.TaskGroup() as group:  # a job that fails ends the worker, and a new one is started
            jobs = [group.create_task(job()) for job in process.jobs()]
            if tools.failpoints:
                tools.log.warning("failpoints.active")
            tools.log.info("worker.started", worker=tools.worker, threads=settings.worker.threads)
            try:
                yield process
            finally:
                for job in jobs:
                    job.cancel()
        await _leave(tools)


def _calm_garbage_collector() -> None:
    """Nothing here makes cycles in number, and walking through all imported modules each time costs 4 % of the CPU."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _stop_of(tools: Tools) -> Callable[..., None]:
    def stop(**_: object) -> None:
        tools.log.info("worker.stopping")
        tools.stopping.set()

    return stop


async def _leave(tools: Tools) -> None:
    with suppress(exceptions.RedisError, OSError):
        await tools.tally.flush(tools.spool.redis)
        await tools.spool.redis.hdel(keys.WORKERS, tools.worker)
    tools.log.info("worker.stopped")


class MailPool(LoopPool):
    """The pool that Celery builds in a worker process; its lifespan is the worker process."""

    def lifespan(self) -> AbstractAsyncContextManager[WorkerProcess]:
        return worker_process(load_settings())
