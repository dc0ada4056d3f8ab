"""One worker process: what it builds at its start, what its tasks do, and how it leaves.

Beside the tasks run, each in a file of its own: the lease keeper, the sweeper, the gate, the keeper of the account's
limits, failover, the tally, the heartbeat, the announcer, the keeper of the rules, the tidier and a watchdog. None of
them touches a spool that belongs to another environment: they begin when the spool's name is known to be ours.
"""

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial

from celery.signals import worker_shutting_down
from redis import exceptions

from config.celery_app import BATCHES_SECONDS, GRACE_SECONDS
from config.errors import Refused, TryLater
from config.logs import get_log
from config.redis_clients import redis_client
from config.settings import Settings
from config.settings_source import load_settings
from sending_events.publisher import Publisher
from spool.environment import claim_if_it_answers, claim_when_it_answers
from spool.store import Claimed
from worker.assembly import open_tools
from worker.chores import Announcer, MemoryWatcher, Tidier
from worker.drain import Intake
from worker.failover import Failover
from worker.function_waker import FunctionWaker
from worker.gate import GateKeeper
from worker.hangup import on_hangup
from worker.heartbeat import Heartbeat, Progress
from worker.pipeline import process_message
from worker.pool import LoopPool
from worker.publishing import Rounds, open_publisher
from worker.relay.account import QuotaKeeper
from worker.room import Room
from worker.rules.keeper import RuleKeeper
from worker.suppression_sync import SuppressionSync
from worker.sweeper import Sweeper
from worker.tools import Tools
from worker.watchdog import Watchdog

Job = Callable[[], Coroutine[None, None, None]]

# Threads that `process` tasks leave to others: a saturated worker still publishes events.
_RESERVED_THREADS = 4
# A task ends with its messages or after this: what waits for tokens, or for a slow SES, needs no thread of Celery's,
# and other mail does. It stays in the process, bounded by its room.
_TASK_SECONDS = 0.5
# Messages in a task from which on there is probably a backlog.
_LARGE_TASK = 10


class WorkerProcess:
    """What the tasks of this process call, and what runs beside them."""

    def __init__(self, tools: Tools, publisher: Publisher) -> None:
        self._tools = tools
        self._publisher = publisher
        self._processing = 0
        self._max_processing = max(1, tools.settings.worker.threads - _RESERVED_THREADS)
        self._room = Room(max(50, 16 * tools.settings.worker.concurrent_calls))
        self._under_way: set[asyncio.Future[None]] = set()
        self._progress = Progress()
        #: Set when the spool is known to be ours.
        self.may_work = asyncio.Event()
        self.intake = Intake()
        self._sweeper = Sweeper(tools, is_saturated=self._is_saturated)
        self._watchdog = Watchdog(tools, self._sweeper, is_resting=self._is_resting)
        self._gate = GateKeeper(tools, is_resting=self._is_resting)
        self._quota = QuotaKeeper(tools)
        self._heartbeat = Heartbeat(tools, self.intake, lambda: self._progress)
        self._announcer = Announcer(tools, publisher)
        self._rounds = Rounds(publisher, tools.log, self._announcer.has_news)

    def _is_resting(self) -> bool:
        return not self.intake.is_open

    def _is_saturated(self) -> bool:
        return self._is_resting() or self._processing >= self._max_processing

    async def process(self, message_ids: Sequence[str]) -> None:
        """Claims those of the messages that are due and takes each through the pipeline.

        A worker with all it can hold drops the nudge: the messages stay due and the sweepers nudge again. A drained
        one gives it back to the queue, for the others.
        """
        if self._is_resting():
            with suppress(TryLater, exceptions.RedisError, OSError):
                await self._tools.nudger.push([message_ids])
            return
        if self._processing >= self._max_processing or not self.may_work.is_set():
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
            self._watchdog.claimed()
            self._progress.claimed += len(claimed)
            self._progress.last_claim_at_ms = tools.now_ms()
            self._room.give(taken - min(taken, len(claimed)))
            taken = min(taken, len(claimed))
            tools.failpoints.reached("worker.after_claim")
            running = [asyncio.ensure_future(self._carry(one, deadline)) for one in claimed]
            for place, message in enumerate(running):  # a slow message keeps its own place only
                message.add_done_callback(partial(self._carried, places=int(place < taken)))
            self._under_way.update(running)
            taken = 0
        finally:
            self._room.give(taken)
        if running:
            await asyncio.wait(running, timeout=_TASK_SECONDS)
        if len(claimed) >= _LARGE_TASK:
            self._sweeper.hurry()
        tools.tally.observe("task:process", time.perf_counter() - started)

    async def _carry(self, claimed: Claimed, deadline: float) -> None:
        """One message through the pipeline. The time limit catches bugs: nothing that is meant takes so long."""
        limit_seconds = BATCHES_SECONDS + GRACE_SECONDS + 2 * self._tools.settings.relay.call_timeout_seconds
        async with asyncio.timeout(limit_seconds):
            await process_message(claimed, self._tools, deadline)

    def _carried(self, message: asyncio.Future[None], *, places: int) -> None:
        self._room.give(places)
        self._under_way.discard(message)
        self._announcer.has_news()
        if not message.cancelled() and (error := message.exception()):
            self._tools.log.error("message.failed", error=type(error).__name__, exc_info=error)

    async def finish(self) -> None:
        """Returns when no message and no round of events is under way; while the worker stops none is begun."""
        while self._under_way:
            await asyncio.wait(self._under_way)
        await self._rounds.finish()

    async def publish(self, destination: str) -> None:
        """Gives waiting events to one destination; returns while it is slow."""
        if not self.may_work.is_set() or self._tools.stopping.is_set():
            return
        started = time.perf_counter()
        await self._rounds.begin(destination)
        self._tools.tally.observe("task:publish", time.perf_counter() - started)

    async def prepare(self) -> None:
        """Before the first task: who is told of events, the operator's orders, the account's limits, the routes.

        A destination of the file that is new is told of all mail that this process sends.
        """
        with suppress(TryLater, exceptions.RedisError, OSError):
            await self._publisher.look()
        self.may_work.set()
        await self._heartbeat.beat()
        await self._quota.first(self._gate.look)

    def jobs(self) -> list[Job]:
        """What runs for ever beside the tasks, once the spool is known to be ours."""
        tools = self._tools
        return [
            tools.leases.run,
            self._sweeper.run,
            self._gate.run,
            self._quota.run,
            Failover(tools, is_resting=self._is_resting).run,
            FunctionWaker(tools).run,
            self._heartbeat.run,
            self._announcer.run,
            tools.rules.run,
            MemoryWatcher(tools).run,
            Tidier(tools, self._publisher, self._heartbeat).run,
            *self._sync_of_suppression(),
            lambda: tools.tally.run(tools.spool.redis),
        ]

    def _sync_of_suppression(self) -> list[Job]:
        suppression = self._tools.suppression
        if suppression is None or self._tools.settings.suppression.sync == "off":
            return []
        return [SuppressionSync(self._tools, suppression).run]

    async def run(self) -> None:
        """All of it, for ever; a job that fails ends the worker, and a new one is started. Raises WrongEnvironment."""
        threading.Thread(target=self._watchdog.watch, name="watchdog", daemon=True).start()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watchdog.tick())
            if not self.may_work.is_set():
                await claim_when_it_answers(self._tools.spool.redis, self._tools.settings.spool.environment)
                await self.prepare()
            for job in self.jobs():
                group.create_task(job())

    def reload_rules(self) -> None:
        """Lets the rules be read again; may be called from any thread."""
        self._tools.rules.reload()

    async def leave(self) -> None:
        """The last words, when no task runs any more."""
        with suppress(exceptions.RedisError, OSError):
            await self._tools.tally.flush(self._tools.spool.redis)
        await self._heartbeat.leave()
        self._tools.log.info("worker.stopped")


@asynccontextmanager
async def worker_process(settings: Settings) -> AsyncIterator[WorkerProcess]:
    """Everything a worker process needs, from before its first task until after its last.

    Raises Refused when it may not work at all with these settings or rules, or on this spool.
    """
    check_settings(settings)
    rules = RuleKeeper(settings)
    rules.load()
    _calm_garbage_collector()
    async with AsyncExitStack() as stack:
        redis = redis_client(settings.redis_url, connections=16)
        stack.push_async_callback(redis.aclose)
        is_ours = await claim_if_it_answers(redis, settings.spool.environment)
        tools = await open_tools(settings, rules, redis, stack)
        process = WorkerProcess(tools, open_publisher(settings, tools.spool, tools.failpoints, stack))
        worker_shutting_down.connect(_stop_of(tools), weak=False, dispatch_uid="mailsluice")
        process.intake.attach()
        if is_ours:
            await process.prepare()
        async with asyncio.TaskGroup() as group:
            beside = group.create_task(process.run())
            if tools.failpoints:
                tools.log.warning("failpoints.active")
            tools.log.info("worker.started", worker=tools.worker, threads=settings.worker.threads)
            try:
                yield process
            finally:
                beside.cancel()
        await process.leave()


def check_settings(settings: Settings) -> None:
    """What only a worker needs to be right. Raises Refused; what is merely unwise is logged."""
    if settings.unknown_policy == "confirm" and not settings.feedback.is_configured:
        raise Refused(
            "[relay] unknown = confirm needs SES's own events, and no source of them is set in [feedback];"
            " set one, or choose resend, hold or auto"
        )
    grace_seconds, call_seconds = settings.worker.shutdown_grace_seconds, settings.relay.call_timeout_seconds
    if grace_seconds < call_seconds:
        get_log().warning("worker.grace_short", shutdown_grace_seconds=grace_seconds, call_timeout_seconds=call_seconds)


def _calm_garbage_collector() -> None:
    """Nothing here makes cycles in number, and walking through all imported modules each time costs 4 % of the CPU."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _stop_of(tools: Tools) -> Callable[..., None]:
    def stop(**_: object) -> None:
        tools.log.info("worker.stopping")
        tools.stopping.set()

    return stop


class MailPool(LoopPool):
    """The pool that Celery builds in a worker process; its lifespan is the worker process."""

    #: SIGHUP came before there was a process that could hear it.
    _is_reload_wanted = False

    def lifespan(self) -> AbstractAsyncContextManager[WorkerProcess]:
        return worker_process(load_settings())

    async def last_work(self) -> None:
        """Messages whose task has ended before them."""
        process: WorkerProcess = self.held
        await process.finish()

    def on_start(self) -> None:
        """A process that may not work says so in one line and ends with 1; starting it again would not help."""
        on_hangup(self._reload_rules)
        try:
            super().on_start()
        except Refused as error:
            get_log().critical("worker.refused", reason=error.reason)
            raise SystemExit(1) from error
        if self._is_reload_wanted:
            self._reload_rules()

    def _reload_rules(self) -> None:
        process: WorkerProcess | None = self.held
        if process is None:
            self._is_reload_wanted = True
        else:
            process.reload_rules()
