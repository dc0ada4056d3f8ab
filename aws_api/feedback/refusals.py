"""What is said about refused notifications: whoever reaches the port can send junk, and must not fill the log.

The first of a reason is logged at once, then one line in ten seconds at most, with the number of those since the last.
What came after the last line is told with the next one, however late that is.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from aws_api.feedback.envelope import OutOfTime
from config.errors import SluiceError
from config.logs import get_log

_QUIET_SECONDS = 10.0
_MOST_REASONS = 100
#: As long as SNS needs to come again a few times.
_NOTED_SECONDS = 300.0


@dataclass(slots=True)
class _Told:
    at: float
    since: int = 0


class Refusals:
    """One door's."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, _Told] = {}
        self._out_of_time: tuple[float, str] | None = None

    def note(self, status: int, error: SluiceError) -> None:
        """One more."""
        now = self._clock()
        if isinstance(error, OutOfTime):
            self._out_of_time = now, error.reason
        told = self._told.get(error.reason)
        if told is not None and now - told.at < _QUIET_SECONDS:
            told.since += 1
            return
        times = told.since + 1 if told else 1
        if len(self._told) >= _MOST_REASONS:
            self._told.clear()
        self._told[error.reason] = _Told(now)
        get_log().warning("feedback.refused", status=status, reason=error.reason, detail=error.detail, times=times)

    def notes(self) -> tuple[str, ...]:
        """For /healthz: messages that SNS signed were not taken because of the time, in the last minutes."""
        if self._out_of_time is None or self._clock() - self._out_of_time[0] > _NOTED_SECONDS:
            return ()
        return (f"POST /feedback/sns: {self._out_of_time[1]}.",)
