"""An event loop whose time passes only where nothing is left to do: what would be waited for is due at once.

So distances between timers can be asked for exactly, however slow the machine is. Not for threads, processes or
sockets: time would skip over what they do meanwhile.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _SkippingSelector(selectors.DefaultSelector):
    """Waits for nothing that a timer would end."""

    skipped_seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(None if timeout is None else 0)
        if not ready and timeout:
            self.skipped_seconds += timeout
        return ready


class _SkippingLoop(asyncio.SelectorEventLoop):
    """Its clock begins at 0."""

    def __init__(self) -> None:
        self._skipping = _SkippingSelector()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.skipped_seconds


def run_skipping(what: Coroutine[Any, Any, None]) -> None:
    """As asyncio.run; what is left of it is cancelled."""
    with asyncio.Runner(loop_factory=_SkippingLoop) as runner:
        runner.run(what)
