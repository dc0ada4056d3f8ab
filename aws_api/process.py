"""The HTTP door as a process: listens, tells the supervisor, leaves on SIGTERM or Ctrl-C.

It starts without the spool's server as well: /healthz then says so. Running requests get a moment to end. How many
connections there may be, and for how long without a request, is connections.py's.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator

import uvloop
from redis import asyncio as aioredis

from aws_api.app import make_app
from aws_api.connections import Connections, most_connections, raise_descriptors
from aws_api.tools import Tools
from config.logs import get_log, set_up_logging
from config.readiness import tell_ready
from config.redis_clients import redis_client
from config.settings import Settings
from spool.assembly import open_message_flow, open_spool
from spool.environment import WrongEnvironment, claim_if_it_answers, claim_when_it_answers
from spool.safety import SafetyWatch

# Waiting longer for Redis than the handlers wait makes no sense.
REDIS_SECONDS = 2.0
# After the last request.
LAST_WORDS_SECONDS = 3.0


def run(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT. Returns the exit code: 0, or 1 when it cannot listen or the spool is not ours."""
    set_up_logging(settings.log, "api")
    try:
        return uvloop.run(_serve(settings))
    except WrongEnvironment as error:
        get_log().error("api.stopped", reason=error.reason)
        return 1


async def _serve(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log = get_log()
    most = most_connections(raise_descriptors())
    async with _tools(settings, stop) as tools:
        connections = Connections(make_app(tools), most=most)
        try:
            try:
                await connections.listen(settings.api.host, settings.api.port)
            except OSError as error:
                sys.stderr.write(_cannot_listen(settings, error))
                return 1
            log.info("api.started", host=settings.api.host, port=settings.api.port)
            tell_ready()
            await stop.wait()
        finally:
            await connections.close()
    log.info("api.stopped")
    return 0


@contextlib.asynccontextmanager
async def _tools(settings: Settings, stop: asyncio.Event) -> AsyncIterator[Tools]:
    """The clients and the running watch; all closed at the end. A watch that ends by a bug ends the process."""
    redis = redis_client(settings.redis_url, answer_seconds=REDIS_SECONDS)
    broker = redis_client(settings.broker_url, answer_seconds=REDIS_SECONDS)
    watch = SafetyWatch(redis, settings, answer_seconds=REDIS_SECONDS)
    spool = open_spool(settings, redis=redis)
    flow = open_message_flow(settings, spool)
    tools = Tools.of(settings, spool, broker, watch, flow)
    try:
        is_claimed = await claim_if_it_answers(redis, settings.spool.environment)
        await watch.check()
        work = [watch.run(), tools.tally.run(redis)]
        if not is_claimed:
            work.append(_claim_late(redis, settings, stop))
        tasks = [asyncio.create_task(one) for one in work]
        tasks[0].add_done_callback(lambda _: stop.set())
        yield tools
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await _last_words(tools)
    finally:
        await tools.updates.close()
        await flow.close()
        await redis.aclose()
        await broker.aclose()


async def _last_words(tools: Tools) -> None:
    """Messages to be taken back, nudges and numbers on their way."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2 * LAST_WORDS_SECONDS):
            await tools.committer.drain(LAST_WORDS_SECONDS)
            await tools.nudger.drain()
            await tools.tally.flush(tools.spool.redis)


async def _claim_late(redis: aioredis.Redis, settings: Settings, stop: asyncio.Event) -> None:
    """The spool was away at the start. When it turns out to be another's, the process leaves with its reason."""
    try:
        await claim_when_it_answers(redis, settings.spool.environment)
    except WrongEnvironment:
        stop.set()
        raise


def _cannot_listen(settings: Settings, error: OSError) -> str:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return (
        f"mailsluice api: cannot listen on {settings.api.host} port {settings.api.port}: {reason}. "
        "Stop what listens there, or choose [api] port (SLUICE_API_PORT).\n"
    )
