"""SES misbehaves: single calls go wrong, or the whole account is in trouble for a moment and then well again.

One trouble at a time, in the order of a shuffled bag, so that each has its turn before one comes again; those of the
account come first, since a short run has few turns.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.line import Line

#: Faults of a few calls; nothing has to be ended.
FAULTS = ("hang_before", "hang_after", "close_before", "close_after", "cut_answer", "throttle", "error_500")
#: Of the account when it is well: finite, so that both limits are kept all the time.
MAX_SEND_RATE = 1000
MAX_24_HOUR_SEND = 1_000_000_000


def _quota_ends(line: Line) -> None:
    """As if somebody else on the account had sent what was left."""
    sent = json.loads(line.http("GET", "/ledger/count"))["recipients"]
    line.http("PUT", "/settings", {"max_24_hour_send": max(1, sent)})


def _quota_returns(line: Line) -> None:
    line.http("PUT", "/settings", {"max_24_hour_send": MAX_24_HOUR_SEND})


def _account_pauses(line: Line) -> None:
    line.http("PUT", "/pause", {"state": "paused"})


def _account_runs(line: Line) -> None:
    line.http("PUT", "/pause", {"state": "running"})


def _storm_begins(line: Line) -> None:
    line.fault("throttle", probability=0.8)


def _storm_ends(line: Line) -> None:
    line.no_faults()


#: A trouble of the whole account: how it begins, how it ends.
EPISODES: Mapping[str, tuple[Callable[[Line], None], Callable[[Line], None]]] = {
    "throttle storm": (_storm_begins, _storm_ends),
    "quota end": (_quota_ends, _quota_returns),
    "account pause": (_account_pauses, _account_runs),
}


@dataclass(frozen=True, slots=True)
class Tempo:
    """Shortest and longest, in seconds."""

    pause: tuple[float, float] = (1.0, 4.0)
    episode: tuple[float, float] = (1.0, 4.0)


TEMPO = Tempo()


class Troubles:
    """Asked again and again what is to be done now."""

    def __init__(self, line: Line, chance: random.Random, tempo: Tempo) -> None:
        self._line = line
        self._random = chance
        self._tempo = tempo
        self._bag: list[str] = []
        self._end: Callable[[Line], None] | None = None
        self._next_at = 0.0
        self.counts: Counter[str] = Counter()

    def look(self, now: float) -> None:
        """Begins the next trouble or ends the present one, when it is time."""
        if now < self._next_at:
            return
        if self._end:
            self._end_episode()
            self._next_at = now + self._random.uniform(*self._tempo.pause)
            return
        name = self._drawn()
        self.counts[name] += 1
        if episode := EPISODES.get(name):
            begin, self._end = episode
            begin(self._line)
            self._next_at = now + self._random.uniform(*self._tempo.episode)
        else:
            self._line.fault(name, count=self._random.randint(1, 8))
            self._next_at = now + self._random.uniform(*self._tempo.pause)

    def stop(self) -> None:
        """SES is well from now on."""
        self._end_episode()
        self._line.no_faults()
        self._next_at = time.monotonic() + 1e9

    def _end_episode(self) -> None:
        if self._end:
            self._end(self._line)
            self._end = None

    def _drawn(self) -> str:
        if not self._bag:
            episodes, faults = list(EPISODES), list(FAULTS)
            self._random.shuffle(episodes)
            self._random.shuffle(faults)
            self._bag = [*episodes, *faults][::-1]
        return self._bag.pop()
