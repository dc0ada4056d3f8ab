"""The one simulated account: its limits, and how often a caller ran into them."""

from collections import Counter
from collections.abc import Callable, Mapping

from simulator.limits import DailyQuota, SendingRate
from simulator.refusals import QUOTA_EXCEEDED, RATE_EXCEEDED, THROTTLED, Refused


class Account:
    """Takes sends while allowance is left; a call that comes without any is a breach, counted by kind."""

    def __init__(self, max_send_rate: float, max_24_hour_send: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rate = SendingRate(max_send_rate)
        self._quota = DailyQuota(max_24_hour_send)
        self._violations: Counter[str] = Counter(rate=0, daily_quota=0)

    @property
    def max_send_rate(self) -> float:
        return self._rate.recipients_per_second

    @property
    def max_24_hour_send(self) -> float:
        return self._quota.max_24_hour_send

    @property
    def violations(self) -> Mapping[str, int]:
        return self._violations

    def take(self, recipients: int) -> None:
        """Charge one call, or raise the throttling answer that SES gives."""
        now = self._clock()
        if not self._quota.has_allowance(now):
            self._violations["daily_quota"] += 1
            raise Refused(THROTTLED, QUOTA_EXCEEDED)
        if not self._rate.has_allowance(now):
            self._violations["rate"] += 1
            raise Refused(THROTTLED, RATE_EXCEEDED)
        self._quota.take(recipients, now)
        self._rate.take(recipients, now)

    def change(self, max_send_rate: float, max_24_hour_send: float) -> None:
        """Set other limits; what was sent and any debt stay."""
        self._rate.change(max_send_rate, self._clock())
        self._quota.max_24_hour_send = max_24_hour_send

    def send_quota(self) -> tuple[float, float, float]:
        """Max24HourSend, MaxSendRate, SentLast24Hours as SES tells them: -1 = unlimited."""
        rate = self.max_send_rate if self.max_send_rate > 0 else -1.0
        return float(self.max_24_hour_send), float(rate), float(self._quota.sent_last_24_hours(self._clock()))
