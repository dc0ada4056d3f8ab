"""Reads a source for ever: what is away, source or spool, is asked again with growing pauses.

It is logged when that begins, every ten minutes while it lasts, and when it ends. A bug in one source is treated the
same way, so that it never ends the others.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from config.errors import TryLater

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
# After a read without events: a source that does not wait by itself is not asked in a circle.
IDLE_PAUSE_SECONDS = 0.05
#: What lasts is said again so often.
SAID_AGAIN_SECONDS = 600.0


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
    reader: Reads,
    log: FilteringBoundLogger,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """For ever. `clock` in seconds."""
    failures, said_at = 0, float("-inf")
    while True:
        try:
            if not await reader.read_page():
                await sleep(reader.idle_seconds)
        except Exception as error:  # noqa: BLE001 - one broken source must not end the process that reads the others
            failures += 1
            if failures == 1 or clock() - said_at >= SAID_AGAIN_SECONDS:
                said_at = clock()
                _say(error, log, source=reader.source, failures=failures)
            await sleep(pause_seconds(failures))
        else:
            if failures:
                log.info("feedback.back", source=reader.source, failures=failures)
            failures = 0


def _say(error: Exception, log: FilteringBoundLogger, *, source: str, failures: int) -> None:
    if isinstance(error, TryLater):
        about = {"reason": error.reason, "detail": error.detail}
        log.warning("feedback.away", source=source, failures=failures, **about)
    else:
        log.error("feedback.broken", source=source, failures=failures, exc_info=error)


def pause_seconds(failures: int) -> float:
    """How long to wait after so many failures in a row."""
    return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 20))
