"""The Lua scripts as callables: loaded from spool/lua/, run by EVALSHA, sent whole once after a SCRIPT FLUSH.

Every foreign error of a script call is translated here: connection trouble, a read-only replica, a server that is
loading or full become TryLater; anything else is a bug and passes.
"""

import hashlib
import re
from collections.abc import Awaitable, Sequence
from importlib.resources import files
from typing import Any

from redis import asyncio as aioredis
from redis import exceptions

from config.errors import TryLater
from spool import keys

Argument = bytes | str | int | float


class StoreUnavailable(TryLater):
    """The server did not answer or cannot write now. What was sent may or may not have been done."""


class StoreFull(TryLater):
    """The server has no memory left for new mail; nothing was written."""


# Redis 6.2 wraps the error of a command inside a script: "ERR Error running script (…): -OOM command not allowed …".
_FULL = re.compile(r"(?:^|-)OOM\b")
_NOT_NOW = re.compile(
    r"(?:^|-)(?:READONLY|LOADING|MISCONF|BUSY|NOREPLICAS|MASTERDOWN|CLUSTERDOWN|UNBLOCKED|TRYAGAIN|UNKILLABLE)\b"
)


def translated(error: Exception) -> TryLater | None:
    """What a Redis error means to us; None for a bug."""
    text = str(error)
    if isinstance(error, exceptions.OutOfMemoryError) or _FULL.search(text):
        return StoreFull("the spool is full", detail=text)
    if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | OSError):
        return StoreUnavailable("the spool does not answer", detail=f"{type(error).__name__}: {text}")
    if isinstance(error, exceptions.ReadOnlyError) or _NOT_NOW.search(text):
        return StoreUnavailable("the spool cannot be written now", detail=text)
    return None


async def answer_of(call: Awaitable[Any]) -> Any:
    """The answer of a plain command, with its errors translated."""
    try:
        return await call
    except (exceptions.RedisError, OSError) as error:
        if meaning := translated(error):
            raise meaning from error
        raise


async def run_together(redis: aioredis.Redis, script: "Script", calls: Sequence[Sequence[Argument]]) -> list[Any]:
    """The answers of several runs of one script, sent at once. One that fails fails all of them, written or not."""
    if len(calls) == 1:
        return [await script(redis, calls[0])]
    pipeline = redis.pipeline(transaction=False)
    for arguments in calls:
        pipeline.evalsha(script.digest, 1, keys.DUE, *arguments)
    answers = await answer_of(pipeline.execute(raise_on_error=False))
    for number, answer in enumerate(answers):
        if isinstance(answer, Exception):  # not known to the server yet, or its own trouble, which comes again
            answers[number] = await script(redis, calls[number])
    return list(answers)


# Put before every script, before those that look at the limits of routes, and before those of message_flow.py.
PLACES = ("prelude", "lanes", "places")
FLOW = ("prelude", "flow")
LIMITS = (*PLACES, "quota")


class Script:
    """One Lua file with those in front of it that it builds on."""

    def __init__(self, name: str, *, before: Sequence[str] = PLACES) -> None:
        folder = files("spool") / "lua"
        self.name = name
        self.source = "".join((folder / f"{part}.lua").read_text("utf-8") for part in (*before, name))
        self.digest = hashlib.sha1(self.source.encode()).hexdigest()  # noqa: S324 - EVALSHA's own hash

    async def __call__(self, redis: aioredis.Redis, arguments: Sequence[Argument]) -> Any:
        """Runs the script; the one key names the hash tag for servers in cluster mode."""
        return await answer_of(self._run(redis, arguments))

    async def _run(self, redis: aioredis.Redis, arguments: Sequence[Argument]) -> Any:
        try:
            return await redis.evalsha(self.digest, 1, keys.DUE, *arguments)
        except exceptions.NoScriptError:
            return await redis.eval(self.source, 1, keys.DUE, *arguments)


ACCEPT = Script("accept")
WITHDRAW = Script("withdraw")
FOR_EVENTS = Script("for_events")
CLAIM = Script("claim")
RENEW = Script("renew")
SETTLE = Script("settle", before=(*LIMITS, "facts"))
SWEEP = Script("sweep")
RELEASE = Script("release")
DROP = Script("drop")
FIND = Script("find")
PUSH = Script("push")
SUMMARIES = Script("summaries")
GATE = Script("gate", before=LIMITS)
ROUTES = Script("routes", before=LIMITS)
ASK_QUOTA = Script("ask_quota", before=LIMITS)
NOTE_QUOTA = Script("note_quota", before=LIMITS)
QUEUED = Script("queued")
CONFIRM = Script("confirm")
FEEDBACK = Script("feedback")
HOLD = Script("hold")
PAUSES = Script("pauses")
SCAN = Script("scan")
TELL = Script("tell")
PROBE = Script("probe")
UNSEAT = Script("unseat")
ENVIRONMENT = Script("environment")
FLOW_BEGIN = Script("flow_begin", before=FLOW)
FLOW_END = Script("flow_end", before=FLOW)
FLOW_PUT = Script("flow_put", before=FLOW)
FLOW_TIDY = Script("flow_tidy", before=FLOW)
