"""The one simulated account: its limits, and how its callers kept them, as figures.

`rate` and `daily_quota` count calls that came while no allowance was left, the `…_recipients` beside them what those
calls held. `paused`, `unverified`, `malformed` and `other_refusals` are calls refused for another reason (faults that
a test switched on are not counted), `quota_questions` how often somebody asked for the limits.
`largest_burst` is the most recipients that were accepted within one second, `largest_debt` how far the bucket of the
rate went below zero: a call of 50 at 14/s does that and breaks nothing.
"""

from collections import Counter
from collections.abc import Callable

from simulator.limits import DailyQuota, RollingCount, SendingRate
from simulator.refusals import COUNTED_AS, QUOTA_EXCEEDED, RATE_EXCEEDED, THROTTLED, Refusal, Refused
from simulator.settings import SimulatorSettings

COUNTED = (
    "rate", "rate_recipients", "daily_quota", "daily_quota_recipients",
    "paused", "unverified", "malformed", "other_refusals", "quota_questions",
)  # fmt: skip
#: what the bucket refills by while others use more than all of it
LEAST_RATE = 0.001


class Account:
    """Takes sends while allowance is left; a call that comes without any is a breach, counted by kind."""

    def __init__(self, settings: SimulatorSettings, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._max_send_rate = settings.sending_rate
        self._rate = SendingRate(_left_of_rate(settings))
        self._quota = DailyQuota(settings.daily_quota, settings.window_seconds, settings.others_sent)
        self.forget_figures()

    @property
    def max_send_rate(self) -> float:
        """Recipients per second; 0 = unlimited."""
        return self._max_send_rate

    @property
    def max_24_hour_send(self) -> float:
        """Recipients per window; -1 = unlimited."""
        return self._quota.max_24_hour_send

    @property
    def over_limit(self) -> int:
        """Calls that came while no allowance was left."""
        return self._counts["rate"] + self._counts["daily_quota"]

    def count_question(self) -> None:
        """Somebody asked for the limits."""
        self._counts["quota_questions"] += 1

    def count_refusal(self, refusal: Refusal) -> None:
        """A call was refused; breaches of a limit are counted where they are found."""
        if refusal is not THROTTLED:
            self._counts[COUNTED_AS.get(refusal, "other_refusals")] += 1

    def figures(self) -> dict[str, float]:
        """Everything counted, for GET /violations."""
        return {
            **{name: self._counts[name] for name in COUNTED},
            "largest_burst": self._largest_burst,
            "largest_debt": round(self._largest_debt, 3),
        }

    def forget_figures(self) -> None:
        """Count from zero; limits and debts stay."""
        self._counts: Counter[str] = Counter()
        self._second = RollingCount(1.0)
        self._largest_burst = 0
        self._largest_debt = 0.0

    def take(self, recipients: int, free_of_quota: int = 0) -> None:
        """Charge one call, or raise the throttling answer that SES gives.

        `free_of_quota` of the recipients belong to the mailbox simulator: they count against the rate alone.
        """
        now = self._clock()
        counted = recipients - free_of_quota
        if counted and not self._quota.has_allowance(now):
            self._breach("daily_quota", recipients)
            raise Refused(THROTTLED, QUOTA_EXCEEDED)
        if not self._rate.has_allowance(now):
            self._breach("rate", recipients)
            raise Refused(THROTTLED, RATE_EXCEEDED)
        if counted:
            self._quota.take(counted, now)
        self._rate.take(recipients, now)
        self._largest_debt = max(self._largest_debt, self._rate.debt)
        self._largest_burst = max(self._largest_burst, self._second.add(recipients, now))

    def _breach(self, limit: str, recipients: int) -> None:
        self._counts[limit] += 1
        self._counts[f"{limit}_recipients"] += recipients

    def change(self, settings: SimulatorSettings) -> None:
        """Set other limits; what was sent and any debt stay."""
        now = self._clock()
        self._max_send_rate = settings.sending_rate
        self._rate.change(_left_of_rate(settings), now)
        self._quota.change(settings.daily_quota, settings.window_seconds, settings.others_sent, now)

    def send_quota(self) -> tuple[float, float, float]:
        """Max24HourSend, MaxSendRate, SentLast24Hours as SES tells them: -1 = unlimited."""
        rate = self.max_send_rate if self.max_send_rate > 0 else -1.0
        return float(self.max_24_hour_send), float(rate), float(self._quota.sent_last_24_hours(self._clock()))


def _left_of_rate(settings: SimulatorSettings) -> float:
    if settings.sending_rate == 0 or settings.others_per_second == 0:
        return settings.sending_rate
    return max(settings.sending_rate - settings.others_per_second, LEAST_RATE)
