"""Whether a recipient is refused because it is on the suppression list; asked at RCPT.

While the list is empty nothing is asked for a recipient. A store that does not answer soon refuses nobody: who is on
the list is found again before the message is relayed (worker/steps/suppress.py). It is then not asked for a second.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from config.errors import TryLater
from spool.suppression import Suppression

#: So long a client waits for the list at most.
ANSWER_SECONDS: Final = 0.5
#: So long nothing is asked after a try without an answer.
SILENT_SECONDS: Final = 1.0


class SuppressedRecipients:
    """Built once a process; `suppression` None = nobody is refused here."""

    def __init__(
        self,
        suppression: Suppression | None = None,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._suppression = suppression
        self._answer_seconds = answer_seconds
        self._clock = clock
        self._silent_until = float("-inf")

    async def has(self, address: str) -> bool:
        """Never raises but for cancellation."""
        suppression = self._suppression
        if suppression is None or suppression.is_known_empty or self._clock() < self._silent_until:
            return False
        try:
            async with asyncio.timeout(self._answer_seconds):
                return not await suppression.is_empty() and address in await suppression.among((address,))
        except (TryLater, TimeoutError):
            self._silent_until = self._clock() + SILENT_SECONDS
            return False
