"""The tools of the HTTP door for tests that run its application in their own process."""

from redis import asyncio as aioredis

from aws_api.tools import Tools
from config.settings import Settings
from spool.assembly import open_message_flow, open_spool
from spool.safety import SafetyWatch
from spool.store import Spool


def tools_of(settings: Settings, redis: aioredis.Redis, spool: Spool | None = None) -> Tools:
    """As the process makes them, with one server for everything."""
    spool = spool or open_spool(settings, redis=redis)
    return Tools.of(settings, spool, redis, SafetyWatch(redis, settings), open_message_flow(settings, spool))
