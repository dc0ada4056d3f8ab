"""What the handlers of the HTTP door work with; built once by process.py and passed on."""

from dataclasses import dataclass

from aiohttp import web
from redis import asyncio as aioredis

from config.settings import Settings
from spool.safety import SafetyWatch
from spool.store import Spool


@dataclass(frozen=True, slots=True)
class Tools:
    """The spool, the server with Celery's queues, and the watch over the spool's server."""

    settings: Settings
    spool: Spool
    broker: aioredis.Redis
    watch: SafetyWatch


TOOLS = web.AppKey("tools", Tools)
