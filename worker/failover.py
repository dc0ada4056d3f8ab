"""Gives waiting mail to another route when its own has been in trouble for longer than two seconds.

Theory of operation
1. A message waits in the queue of one route and is bound to it. While that route's breaker is open, whoever comes first
   (a lock in the spool) walks through the queue in small parts and makes those messages due whose sender another open
   route allows; their next holder chooses anew (relay/choice.py) and finds the other route open.
2. Which routes allow a sender is in the settings alone. Trouble never makes a route allowed, and mail does not come
   back when the first route is well again: what waits elsewhere keeps its place there.
3. A walk ends when the route is open again, when it has seen as many messages as waited, or when a long piece of the
   queue had nothing to move. The next follows after some seconds, after a fruitless one only in a minute, unless the
   set of open routes changes: the lock's name has that set in it.
A crash in the middle leaves messages that are due, and others that wait as before.
"""

import asyncio

from redis import exceptions

from config.errors import TryLater
from spool import keys, scripts
from spool.routes import NUDGE_MS
from worker.relay.choice import has_other_route
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
    """Looks until it is cancelled."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def run(self) -> None:
        """For ever; nothing to do where there is one route only."""
        routes = self._tools.routes
        while len(routes.names) > 1:
            await asyncio.sleep(_LOOK_SECONDS * (0.75 + self._tools.chance() / 2))
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
        others = [name for name in routes.names if name != route and routes.is_open(name)]
        lock = keys.lock_key(f"failover:{route}:{'+'.join(others)}")
        if not others or not await tools.spool.redis.set(lock, tools.worker, nx=True, px=_LOCK_MS):
            return 0
        moved = await self._walk(route, lock)
        if moved:
            await tools.spool.redis.pexpire(lock, _AGAIN_MS)
        return moved

    async def _walk(self, route: str, lock: str) -> int:
        tools, routes = self._tools, self._tools.routes
        moved = stayed = 0
        left = routes.view(route).waiting_messages
        while left > 0 and stayed < _FRUITLESS and not routes.is_open(route) and not tools.stopping.is_set():
            waiting = await tools.spool.rechoose(route, limit=_PART)
            if not waiting:
                break
            left -= len(waiting)
            leaving = [
                message_id
                for message_id, seat in waiting
                if has_other_route(message_id, seat, tools.settings, routes.is_open)
            ]
            stayed = 0 if leaving else stayed + len(waiting)
            if leaving:
                moved += sum(await scripts.UNSEAT(tools.spool.redis, [NUDGE_MS, *leaving]))
            await tools.spool.redis.pexpire(lock, _LOCK_MS)
            await asyncio.sleep(_PART_SECONDS)
        return moved
