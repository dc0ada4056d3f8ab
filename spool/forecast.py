"""When waiting mail will be gone, told from a route's figures. Pure.

What SES counted beyond our own ledger is mail of other senders of the account; it is taken to stay as much as it is.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from spool.sending_quota import RouteView

MINUTE_MS = 60_000
DAY_MINUTES = 1440
# Beyond this nothing is foretold.
_HORIZON_MINUTES = 14 * DAY_MINUTES
# Distance of two questions to SES, as the settings have it by default.
_REFRESH_MS = 60_000


@dataclass(frozen=True, slots=True)
class Ledger:
    """Recipients that were taken, by minute since the epoch; rising."""

    minutes: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of_row(cls, flat: Sequence[bytes]) -> "Ledger":
        """From the fields of the route's hash of minutes."""
        numbers = [int(one) for one in flat]
        return cls(tuple(sorted(zip(numbers[::2], numbers[1::2], strict=True))))


def frees_at_ms(minute: int) -> int:
    """When the recipients of a minute leave the rolling 24 hours."""
    return (minute + 1 + DAY_MINUTES) * MINUTE_MS


def next_slot_at_ms(view: RouteView, ledger: Ledger, *, share: int = 100) -> int | None:
    """When the next recipients of the daily quota become free; None while it is not used up.

    SES's own word wins until its time is over; other senders' mail is seen to leave at the next question only.
    """
    excess = view.sent_last_24_hours - view.daily_limit * share / 100
    if excess < 0:
        return view.daily_until_ms or None
    for minute, recipients in ledger.minutes:
        excess -= recipients
        if excess < 0:
            return max(frees_at_ms(minute), view.daily_until_ms)
    return max(view.fetched_at_ms + _REFRESH_MS, view.taken_at_ms, view.daily_until_ms)


def drained_at_ms(view: RouteView, ledger: Ledger, recipients: int, *, share: int = 100) -> int | None:
    """When so many waiting recipients will be gone; None when that is not to be foreseen."""
    if view.trouble is not None:
        return None
    if math.isinf(view.daily_limit):
        seconds = recipients / (view.rate * share / 100)
        return max(view.taken_at_ms, view.daily_until_ms) + math.ceil(seconds * 1000)
    return _drained_by_quota(view, ledger, recipients, share / 100)


def _drained_by_quota(view: RouteView, ledger: Ledger, recipients: int, share: float) -> int | None:
    """Minute by minute: what leaves the 24 hours may be taken anew, and leaves them again a day later."""
    begin_ms, rate, limit = max(view.taken_at_ms, view.daily_until_ms), view.rate * share, view.daily_limit * share
    leaving: Counter[int] = Counter()
    for minute, taken in ledger.minutes:
        leaving[max(frees_at_ms(minute), begin_ms) // MINUTE_MS] += taken
    used = view.sent_last_24_hours
    for minute in range(begin_ms // MINUTE_MS, begin_ms // MINUTE_MS + _HORIZON_MINUTES):
        used -= leaving[minute]
        taken = max(0, math.ceil(min(rate * MINUTE_MS / 1000, limit - used, recipients)))
        recipients -= taken
        if recipients <= 0:
            return max(begin_ms, minute * MINUTE_MS) + math.ceil(taken / rate * 1000)
        used += taken
        leaving[minute + DAY_MINUTES + 1] += taken
    return None
