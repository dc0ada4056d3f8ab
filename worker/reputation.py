"""The reputation of senders with the event of its pauses, as processes that apply SES's events open it."""

from redis import asyncio as aioredis

from config.settings import Settings
from sending_events.operator_acts import OperatorAct
from spool.reputation import Reputation
from spool.sending_quota import Pause


def open_reputation(settings: Settings, redis: aioredis.Redis) -> Reputation:
    """One object a process."""
    return Reputation(redis, settings.reputation, _act_of)


def _act_of(pause: Pause) -> bytes:
    act = OperatorAct("pause", pause.since_ms, pause.by, scope=(pause.scope,), why=pause.why, until_ms=pause.until_ms)
    return act.encode()
