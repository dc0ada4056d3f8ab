"""What every reader of events works with beside its source; built once by process.py."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from config.failpoints import Failpoints
from spool.tally import Tally


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`clock_ms` is the server's clock, in epoch milliseconds."""

    tally: Tally
    failpoints: Failpoints
    log: FilteringBoundLogger
    clock_ms: Callable[[], Awaitable[int]]
