"""Whose spool this is: a name that the operator chooses and an id that the spool gets at its first use.

Theory of operation
1. The first process that reaches an empty server writes `{ms}:environment`: the name of its settings and a fresh id.
   Every later process compares the name before it does anything. Staging that was pointed at production's server by
   mistake refuses to start, in both directions: an unnamed process is refused by a named spool, and a named one by
   an unnamed spool, because the mail in it is somebody's.
2. The name changes by `rename_environment` alone; the id never does. A server that came back empty gets another id:
   orphans.py compares it with the one that the content store keeps.
Only the start is guarded. A process whose server is exchanged under it while it runs does not notice.
"""

import asyncio
import time
import uuid
from dataclasses import dataclass

import orjson
from redis import asyncio as aioredis
from redis import exceptions

from config.errors import Refused, TryLater
from config.queues import KEY_PREFIX
from spool import scripts
from spool.scripts import answer_of

ENVIRONMENT = KEY_PREFIX + "environment"  # string: JSON of the class below

_PAUSE_SECONDS = 0.5


class WrongEnvironment(Refused):
    """The spool belongs to another installation. Starting again does not help."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What a spool says about itself."""

    #: [spool] environment of the installation it belongs to; "" = it has no name.
    name: str
    id: str
    since_ms: int


async def read_environment(redis: aioredis.Redis) -> Environment | None:
    """None for a spool that no process has claimed yet. Raises StoreUnavailable."""
    raw = await answer_of(redis.get(ENVIRONMENT))
    return Environment(**orjson.loads(raw)) if raw else None


async def claim_environment(redis: aioredis.Redis, name: str) -> Environment:
    """The spool's own word, when the process may use it; the first to come gives the spool its name.

    Raises WrongEnvironment or StoreUnavailable. A full server is claimed as well: what it has must go on.
    """
    found = await read_environment(redis)
    if found is None:
        fresh = Environment(name, str(uuid.uuid4()), time.time_ns() // 1_000_000)
        found = Environment(**orjson.loads(await scripts.ENVIRONMENT(redis, [orjson.dumps(fresh)])))
    if found.name != name:
        raise WrongEnvironment(refusal(found.name, name))
    return found


async def check_environment(redis: aioredis.Redis, name: str) -> None:
    """For an operator's act: nothing is claimed. Raises WrongEnvironment, StoreUnavailable."""
    found = await read_environment(redis)
    if found is not None and found.name != name:
        raise WrongEnvironment(refusal(found.name, name))


async def claim_if_it_answers(redis: aioredis.Redis, name: str) -> bool:
    """For a door, which starts without the server too; False = it is away, or refuses our user.

    Raises WrongEnvironment.
    """
    try:
        await claim_environment(redis, name)
    except (TryLater, exceptions.RedisError):
        return False
    return True


async def claim_when_it_answers(redis: aioredis.Redis, name: str) -> None:
    """Waits for the server, however long it is away. Raises WrongEnvironment."""
    while True:
        if await claim_if_it_answers(redis, name):
            return
        await asyncio.sleep(_PAUSE_SECONDS)


async def rename_environment(redis: aioredis.Redis, name: str) -> Environment:
    """Gives the spool another name and returns what it was before. Raises StoreUnavailable or StoreFull."""
    before = await read_environment(redis) or await claim_environment(redis, name)
    await answer_of(redis.set(ENVIRONMENT, orjson.dumps(Environment(name, before.id, before.since_ms))))
    return before


def refusal(spools: str, ours: str) -> str:
    """Why a process of the environment `ours` may not use the spool of `spools`, and what to do; "" = no name."""
    theirs = f"The spool belongs to the environment {spools}" if spools else "The spool belongs to no environment"
    setting = "[spool] environment (SLUICE_SPOOL_ENVIRONMENT)"
    says = f"{setting} says {ours}" if ours else f"{setting} is empty"
    name = f"`mailsluice environment --rename {ours}`"
    remedy = f"set it to {spools}" if spools else f"give it the name with {name}"
    return f"{theirs}, but {says}. If the spool is the right one {remedy}; if it is not, correct redis.url."
