"""Group commit: while one write is under way the next ones gather and leave together.

Theory of operation
1. The first item starts a round at once: alone, nobody waits for company.
2. Items that come while a round trip runs form the next round, up to `max_items` and `max_bytes`.
3. One round at a time, so items of one process reach the server in the order they came.
4. A round that fails fails all its items with the same error; whoever added them decides what follows.
5. A caller that is cancelled while its item still waits takes the item back when `drops_cancelled` says so;
   otherwise, and once the round is under way, the item is written and nobody hears of it.

At low load this costs nothing; at high load one fsync pays for the group.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class GroupCommit(Generic[Item, Result]):
    """Collects items and hands them to `write`, which answers one result for each, in order."""

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        size_of: Callable[[Item], int] = lambda _: 0,
        max_items: int = 50,
        max_bytes: int = 4 * 1024 * 1024,
        drops_cancelled: bool = False,
    ) -> None:
        self._write = write
        self._size_of = size_of
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._drops_cancelled = drops_cancelled
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._round: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> Result:
        """Returns when the item's round is written. Raises what `write` raised."""
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if self._round is None:
            self._round = asyncio.create_task(self._rounds())
        return await result

    async def drain(self) -> None:
        """Returns when nothing waits and no round is under way."""
        while self._round is not None:
            await asyncio.wait([self._round])

    async def _rounds(self) -> None:
        try:
            while group := self._next_group():
                await self._one_round(group)
        except BaseException:  # the loop is being torn down: nobody may wait for ever
            while self._waiting:
                self._waiting.popleft()[1].cancel()
            raise
        finally:
            self._round = None

    def _next_group(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        group: list[tuple[Item, asyncio.Future[Result]]] = []
        size = 0
        while self._waiting and len(group) < self._max_items:
            item, result = self._waiting[0]
            if not (self._drops_cancelled and result.cancelled()):
                size += self._size_of(item)
                if group and size > self._max_bytes:
                    break
                group.append((item, result))
            self._waiting.popleft()
        return group

    async def _one_round(self, group: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._write([item for item, _ in group])
            pairs = list(zip(group, results, strict=True))
        except BaseException as error:
            for _, future in group:
                if not future.done():  # its caller may have been cancelled
                    future.set_exception(error) if isinstance(error, Exception) else future.cancel()
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), result in pairs:
            if not future.done():
                future.set_result(result)
