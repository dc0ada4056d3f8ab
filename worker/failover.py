"""Gives waiting mail to another route when its own has been closed for longer than two seconds.

Theory of operation
1. A message waits in the queue of one route and is bound to it. While that route is closed (in trouble, at the end of
   its daily quota, paused by an operator), whoever comes first (a lock in the spool) walks through the queue in small
   parts and makes those messages due whose sender another route allows that is not closed at all; their next holder
   chooses anew (relay/choice.py) and finds that route open.
2. Which routes allow a sender is in the settings alone. Trouble never makes a route allowed. Mail does not come back
   just because its first route is well again: what waits elsewhere keeps its place there, unless that route is closed;
   then it leaves it in the same way. So a message moves only when it has stood for two seconds where nothing goes.
3. When all that others allow is in trouble, a probe that is due there and that nobody there could make is made by one
   message from here: mail that waits in a paused spare finds its own route well again without any new mail.
4. A walk ends when the route is open again, when it has seen as many messages as waited, or when a long piece of the
   queue had nothing to move. The next follows after some seconds, after a fruitless one only in a minute, unless the
   set of well routes changes: the lock's name has that set in it.
A crash in the middle leaves messages that are due, and others that wait as before.
"""

import asyncio
import sys
from collections.abc import Callable

from redis import exceptions

from config.errors import TryLater
from spool import keys, scripts
from spool.routes import NUDGE_MS
from worker.relay.choice import IsOpen, has_other_route
from worker.tools import Tools

_LOOK_SECONDS = 1.0
_LOCK_MS = 60_000
_AGAIN_MS = 5_000
# So many in a row that must stay mean that the others must as well.
_FRUITLESS = 2000
# A thousand messages a second at most: mail that comes in meanwhile must not wait behind all that moves.
_PART = 200
_PART_SECONDS = 0.2


class Failover:
    """Looks until it is cancelled. `is_resting` = this worker takes no tasks: it begins no walk either."""

    def __init__(self, tools: Tools, *, is_resting: Callable[[], bool] = lambda: False) -> None:
        self._tools = tools
        self._is_resting = is_resting

    async def run(self) -> None:
        """For ever; nothing to do where there is one route only."""
        routes = self._tools.routes
        while len(routes.names) > 1:
            await asyncio.sleep(_LOOK_SECONDS * (0.75 + self._tools.chance() / 2))
            if self._is_resting():
                continue
            for name in routes.names:
                if not routes.is_open(name) and routes.view(name).waiting_messages:
                    await self._try_move(name)

    async def _try_move(self, route: str) -> None:
        try:
            moved = await self.move(route)
        except (TryLater, exceptions.RedisError, OSError) as error:
            self._tools.log.warning("gate.failed", error=str(error))
            return
        if moved:
            self._tools.log.warning("route.left", route=route, messages=moved)

    async def move(self, route: str) -> int:
        """Walks through what waits for a closed route, unless somebody does; how many messages may go elsewhere."""
        tools, routes = self._tools, self._tools.routes
        is_target, most = routes.is_well, sys.maxsize
        if not any(is_target(name) for name in routes.names if name != route):
            is_target, most = self._needs_probe, 1
        others = [name for name in routes.names if name != route and is_target(name)]
        lock = keys.lock_key(f"failover:{route}:{'+'.join(others)}")
        if not others or not await tools.spool.redis.set(lock, tools.worker, nx=True, px=_LOCK_MS):
            return 0
        moved = await self._walk(route, lock, is_target, most)
        if moved:
            await tools.spool.redis.pexpire(lock, _AGAIN_MS)
        return moved

    def _needs_probe(self, name: str) -> bool:
        routes = self._tools.routes
        return routes.wants_probe(name) and not routes.view(name).waiting_messages

    async def _walk(self, route: str, lock: str, is_target: IsOpen, most: int) -> int:
        tools, routes = self._tools, self._tools.routes
        moved = stayed = 0
        left = routes.view(route).waiting_messages
        while (
            left > 0
            and moved < most
            and stayed < _FRUITLESS
            and not routes.is_open(route)
            and not tools.stopping.is_set()
        ):
            waiting = await tools.spool.rechoose(route, limit=_PART)
            if not waiting:
                break
            left -= len(waiting)
            leaving = [
                message_id
                for message_id, seat in waiting
                if has_other_route(message_id, seat, tools.settings, is_target)
            ][:most]
            stayed = 0 if leaving else stayed + len(waiting)
            if leaving:
                moved += sum(await scripts.UNSEAT(tools.spool.redis, [NUDGE_MS, *leaving]))
            await tools.spool.redis.pexpire(lock, _LOCK_MS)
            await asyncio.sleep(_PART_SECONDS)
        return moved
