"""What an SES account may send: recipients per second, and recipients in any 24 hours.

Theory of operation, the same for both limits:
1. Recipients are counted, not calls.
2. A call passes whole if any allowance is left when it comes (at least one recipient), however many recipients it
   has; the allowance then goes below zero (into debt) and the following calls are refused until time has paid the
   debt back. (AWS: at 1/s, a call with five recipients is taken and calls fail for the next five seconds.)
3. A refused call costs nothing and is not queued.
The clock is a parameter: `now` in seconds, from any start, never going back.
"""

from collections import deque
from dataclasses import dataclass, field

WINDOW_SECONDS = 24 * 60 * 60
#: the rolling window is kept in so many steps, so its memory does not grow with the traffic; 24 h: 10 s each
STEPS_PER_WINDOW = 8640


@dataclass(slots=True)
class SendingRate:
    """A bucket that holds one second's worth (at least one recipient) and may go into debt."""

    #: 0 = unlimited
    recipients_per_second: float
    _allowance: float = field(init=False)
    _at_seconds: float = float("-inf")

    def __post_init__(self) -> None:
        self._allowance = self._capacity

    @property
    def _capacity(self) -> float:
        return max(self.recipients_per_second, 1.0)

    @property
    def debt(self) -> float:
        """Recipients that are owed as of the last call."""
        return max(0.0, -self._allowance)

    def has_allowance(self, now: float) -> bool:
        """Whether a call may pass now."""
        if self.recipients_per_second == 0:
            return True
        self._refill(now)
        return self._allowance >= 1

    def take(self, recipients: int, now: float) -> None:
        """Charge a call that passed."""
        if self.recipients_per_second > 0:
            self._refill(now)
            self._allowance -= recipients

    def change(self, recipients_per_second: float, now: float) -> None:
        """Set another rate; a debt is kept, what was saved is cut to the new size."""
        if self.recipients_per_second > 0:
            self._refill(now)
        self.recipients_per_second = recipients_per_second
        self._allowance = min(self._allowance, self._capacity)
        self._at_seconds = now

    def _refill(self, now: float) -> None:
        if now > self._at_seconds:
            grown = self._allowance + (now - self._at_seconds) * self.recipients_per_second
            self._allowance = min(self._capacity, grown)
            self._at_seconds = now


@dataclass(slots=True)
class RollingCount:
    """Recipients of the last `window_seconds`; each step of it is remembered as [its end, recipients]."""

    window_seconds: float
    _steps: deque[tuple[float, int]] = field(default_factory=deque)
    _sent: int = 0

    def sent(self, now: float) -> int:
        """Recipients within the window; a step leaves it when its end is a whole window old."""
        while self._steps and self._steps[0][0] + self.window_seconds <= now:
            self._sent -= self._steps.popleft()[1]
        return self._sent

    def add(self, recipients: int, now: float) -> int:
        """Count some, and answer what the window holds now."""
        step_seconds = self.window_seconds / STEPS_PER_WINDOW
        end = (now // step_seconds + 1) * step_seconds
        if self._steps and self._steps[-1][0] >= end:
            end, before = self._steps.pop()
            self._steps.append((end, before + recipients))
        else:
            self._steps.append((end, recipients))
        self._sent += recipients
        return self.sent(now)

    def change(self, window_seconds: float, now: float) -> None:
        """Look at a longer or shorter time from now on; what has left the window does not come back."""
        self.sent(now)
        if window_seconds != self.window_seconds:
            self._steps = deque((min(end, now), recipients) for end, recipients in self._steps)
            self.window_seconds = window_seconds


@dataclass(slots=True)
class DailyQuota:
    """Recipients of the last 24 hours, rolling, and those that others sent."""

    #: -1 = unlimited
    max_24_hour_send: float
    window_seconds: float = WINDOW_SECONDS
    others_sent: int = 0
    _own: RollingCount = field(init=False)

    def __post_init__(self) -> None:
        self._own = RollingCount(self.window_seconds)

    def sent_last_24_hours(self, now: float) -> int:
        """Recipients accepted within the window, with those of others."""
        return self._own.sent(now) + self.others_sent

    def has_allowance(self, now: float) -> bool:
        """Whether a call may pass now."""
        return self.max_24_hour_send < 0 or self.sent_last_24_hours(now) < self.max_24_hour_send

    def take(self, recipients: int, now: float) -> None:
        """Count a call that passed, also while unlimited: GetSendQuota tells it."""
        self._own.add(recipients, now)

    def change(self, max_24_hour_send: float, window_seconds: float, others_sent: int, now: float) -> None:
        """Set another quota; what was sent stays."""
        self.max_24_hour_send, self.others_sent = max_24_hour_send, others_sent
        self.window_seconds = window_seconds
        self._own.change(window_seconds, now)
