"""Reads a source for ever: what is away, source or spool, is asked again with growing pauses.

It is logged when that begins and when it ends, not in between.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from config.errors import TryLater

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
# After a read without events: a source that does not wait by itself is not asked in a circle.
IDLE_PAUSE_SECONDS = 0.05


class Reads(Protocol):
    """A reader of one source."""

    @property
    def source(self) -> str:
        """Its name for the log."""
        ...

    @property
    def idle_seconds(self) -> float:
        """How long it rests after a read that brought nothing."""
        ...

    async def read_page(self) -> int:
        """One read and what follows from it; how many events it brought. Raises TryLater."""
        ...


async def read_on(
    reader: Reads, log: FilteringBoundLogger, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """For ever."""
    failures = 0
    while True:
        try:
            if not await reader.read_page():
                await sleep(reader.idle_seconds)
        except TryLater as error:
            if not failures:
                log.warning("feedback.away", source=reader.source, reason=error.reason, detail=error.detail)
            failures += 1
            await sleep(pause_seconds(failures))
        else:
            if failures:
                log.info("feedback.back", source=reader.source, failures=failures)
            failures = 0


def pause_seconds(failures: int) -> float:
    """How long to wait after so many failures in a row."""
    return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 20))
