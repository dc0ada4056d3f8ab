"""Builds the tools of a worker process from the settings; called once at its edge."""

import os
import socket
from contextlib import AsyncExitStack

from redis import asyncio as aioredis

from config.failpoints import Failpoints
from config.logs import get_log
from config.redis_clients import redis_client
from config.settings import Settings
from spool.assembly import open_message_flow, open_spool
from spool.nudge import Nudger
from spool.suppression import Suppression
from spool.tally import Tally
from worker.functions.calling import Functions
from worker.leases import LeaseKeeper
from worker.relay.retry import Backoff
from worker.relay.routes import Routes
from worker.room import Room
from worker.rules.keeper import RuleKeeper
from worker.steps.function_places import FunctionPlaces
from worker.tools import Tools

# Bytes of contents out of the content store that the messages of one process hold at once.
_CONTENT_BYTES = 256 * 1024 * 1024


async def open_tools(settings: Settings, rules: RuleKeeper, redis: aioredis.Redis, stack: AsyncExitStack) -> Tools:
    """The tools; what they opened is closed with the stack."""
    broker = redis if settings.broker_url == settings.redis_url else redis_client(settings.broker_url)
    if broker is not redis:
        stack.push_async_callback(broker.aclose)
    routes = Routes(settings)
    stack.push_async_callback(routes.close)
    await routes.open()
    functions = Functions(settings)
    stack.push_async_callback(functions.close)
    spool = open_spool(settings, redis=redis)
    flow = open_message_flow(settings, spool)
    stack.push_async_callback(flow.close)
    return Tools(
        settings=settings,
        spool=spool,
        routes=routes,
        leases=LeaseKeeper(spool),
        nudger=Nudger(broker, settings),
        tally=Tally(),
        failpoints=Failpoints.from_environment(),
        log=get_log(),
        worker=f"{socket.gethostname()}-{os.getpid()}",
        content_room=Room(_CONTENT_BYTES),
        rules=rules,
        functions=functions,
        flow=flow,
        suppression=Suppression(redis) if settings.suppression.mode != "off" else None,
        # Half of what the process may hold at least (process.py): the rest is for mail without functions.
        places=FunctionPlaces(max(25, 8 * settings.worker.concurrent_calls)),
        backoff=Backoff(settings.relay.retry_first_seconds, settings.relay.retry_max_seconds),
    )
