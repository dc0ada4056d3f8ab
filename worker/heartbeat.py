"""Who is alive: each worker writes a line about itself, for /healthz and `mailsluice queue`, and reads its orders.

The hash of workers has one field a process, JSON: at_ms, started_at_ms, claimed (messages so far), active (leases held
now), last_claim_at_ms, draining (only while it is), rules_version and rules (how many; only with a file of rules),
rules_trouble (only while the file is not what the worker judges by). A field older than an hour belongs to a dead
process.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

import orjson
from redis import exceptions

from spool import keys
from worker.drain import Intake
from worker.tools import Tools

_HEARTBEAT_SECONDS = 2.0
_DEAD_AFTER_SECONDS = 3600


@dataclass(slots=True)
class Progress:
    """What a process has done so far."""

    claimed: int = 0
    last_claim_at_ms: int = 0


class Heartbeat:
    """Beats until it is cancelled."""

    def __init__(self, tools: Tools, intake: Intake, progress: Callable[[], Progress]) -> None:
        self._tools = tools
        self._intake = intake
        self._progress = progress
        self._started_at_ms = tools.now_ms()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.beat()
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    async def beat(self) -> None:
        """Reads the order to drain and writes the line; a server that is away is passed over."""
        redis, worker = self._tools.spool.redis, self._tools.worker
        with suppress(exceptions.RedisError, OSError):
            self._intake.obey(is_drained=bool(await redis.hexists(keys.DRAINS, worker)))
            await redis.hset(keys.WORKERS, worker, orjson.dumps(self._line()).decode())

    def _line(self) -> dict[str, int | bool | str]:
        rules = self._tools.rules
        return {
            "at_ms": self._tools.now_ms(),
            "started_at_ms": self._started_at_ms,
            "active": len(self._tools.leases),
            **asdict(self._progress()),
            **({} if self._intake.is_open else {"draining": True}),
            **({"rules_version": rules.current.version, "rules": len(rules.current.rules)} if rules.has_file else {}),
            **({"rules_trouble": rules.trouble} if rules.trouble else {}),
        }

    async def leave(self) -> None:
        """The process ends in good order: neither its line nor its order outlives it."""
        with suppress(exceptions.RedisError, OSError):
            await self._forget([self._tools.worker])

    async def forget_dead_workers(self) -> None:
        """Removes the lines of processes that were killed long ago. Raises redis errors."""
        oldest = self._tools.now_ms() - _DEAD_AFTER_SECONDS * 1000
        beats = await self._tools.spool.redis.hgetall(keys.WORKERS)
        if dead := [name for name, beat in beats.items() if orjson.loads(beat)["at_ms"] < oldest]:
            await self._forget(dead)

    async def _forget(self, workers: Sequence[str | bytes]) -> None:
        redis = self._tools.spool.redis
        await redis.hdel(keys.WORKERS, *workers)
        await redis.hdel(keys.DRAINS, *workers)
