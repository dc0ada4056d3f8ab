"""What every message would tell alike is told once, or once in a while, by a process.

Names may come from outside, so only so many are remembered; after those nothing new is told.
"""

import math

_MOST_NAMES = 1000


class Repeats:
    """Which things were told when."""

    def __init__(self) -> None:
        self._told_at_ms: dict[str, int] = {}

    def is_due(self, name: str, now_ms: int, *, every_seconds: float = math.inf) -> bool:
        """Whether to tell this now; who asks tells it."""
        told_at_ms = self._told_at_ms.get(name)
        if told_at_ms is None:
            if len(self._told_at_ms) >= _MOST_NAMES:
                return False
        elif now_ms - told_at_ms < every_seconds * 1000:
            return False
        self._told_at_ms[name] = now_ms
        return True
