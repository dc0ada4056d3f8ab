"""How a function may fail its caller."""

from config.errors import TryLater


class InvocationFailed(TryLater):
    """No valid answer: not reached, an error inside, too late, too large, not understood. `reason` is safe to show."""
