"""When to try again. Pure: the randomness is a parameter."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential distances between tries, with jitter so that a backlog does not come back as one wave."""

    first_seconds: float
    max_seconds: float

    def ceiling_seconds(self, tries: int) -> float:
        """Longest distance after this many tries (1 = the first failed); never shrinks, never above the maximum."""
        return min(self.max_seconds, self.first_seconds * 2.0 ** min(tries - 1, 60))

    def delay_seconds(self, tries: int, chance: float) -> float:
        """Half the ceiling plus a random share of the other half; `chance` in [0, 1)."""
        ceiling = self.ceiling_seconds(max(tries, 1))
        return ceiling / 2 + chance * ceiling / 2
