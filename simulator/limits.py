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
#: the rolling window is kept in steps of this size, so its memory does not grow with the traffic
STEP_SECONDS = 10


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
class DailyQuota:
    """Recipients of the last 24 hours, rolling."""

    #: -1 = unlimited
    max_24_hour_send: float
    _steps: deque[list[int]] = field(default_factory=deque)
    _sent: int = 0

    def sent_last_24_hours(self, now: float) -> int:
        """Recipients accepted within the window; a step leaves it when its end is 24 hours old."""
        while self._steps and (self._steps[0][0] + 1) * STEP_SECONDS + WINDOW_SECONDS <= now:
            self._sent -= self._steps.popleft()[1]
        return self._sent

    def has_allowance(self, now: float) -> bool:
        """Whether a call may pass now."""
        return self.max_24_hour_send < 0 or self.sent_last_24_hours(now) < self.max_24_hour_send

    def take(self, recipients: int, now: float) -> None:
        """Count a call that passed, also while unlimited: GetSendQuota tells it."""
        step = int(now // STEP_SECONDS)
        if self._steps and self._steps[-1][0] >= step:
            self._steps[-1][1] += recipients
        else:
            self._steps.append([step, recipients])
        self._sent += recipients
        self.sent_last_24_hours(now)
