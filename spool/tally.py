"""Numbers for the operator: counted in the process, added to the cluster's in Redis once a second.

So one scrape of any API process shows the whole cluster, and a process that ends leaves its numbers behind.
Counters lie in the hash `{ms}:counters`, beside those that the Lua scripts write; durations in `{ms}:durations`:
`step:relay|0.1` = how many took at most 0.1 s but more than the bucket before, `step:relay|us` = all microseconds.

A kill loses the numbers of the last second, and an answer lost on the way may add a second twice: these are
figures to look at. What must be exact (accepted, sent …) is counted by the scripts, with the state change.
"""

import asyncio
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from redis import asyncio as aioredis
from redis import exceptions

from config.queues import KEY_PREFIX
from spool import keys

DURATIONS = KEY_PREFIX + "durations"  # hash: name|upper bound of the bucket, or name|us → number

BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_BOUNDS = (*(f"{bound:g}" for bound in BUCKETS_SECONDS), "+Inf")
_SUM = "us"
# Names come from closed lists; should text from outside ever get into one, it ends here.
MAX_NAMES = 1000
_OVERFLOW = "other_names"


@dataclass(frozen=True, slots=True)
class Histogram:
    """How long something took: (upper bound, how many up to it) rising to +Inf, and the sum."""

    buckets: tuple[tuple[str, int], ...]
    sum_seconds: float

    @property
    def count(self) -> int:
        """How many there were."""
        return self.buckets[-1][1]


class Tally:
    """The numbers of one process since the last flush. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._durations: Counter[str] = Counter()

    def count(self, name: str, by: int = 1) -> None:
        """Adds to a counter, for instance `smtp_refused:5.7.1`."""
        with self._lock:
            _add(self._counts, name, by)

    def observe(self, name: str, seconds: float) -> None:
        """Adds a duration, for instance to `step:relay`."""
        bound = _BOUNDS[bisect_left(BUCKETS_SECONDS, seconds)]
        with self._lock:
            _add(self._durations, f"{name}|{bound}", 1)
            _add(self._durations, f"{name}|{_SUM}", round(seconds * 1e6))

    async def flush(self, redis: aioredis.Redis) -> None:
        """Adds everything to the cluster's numbers; without an answer it is kept for the next flush."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            durations, self._durations = self._durations, Counter()
        if not counts and not durations:
            return
        pipeline = redis.pipeline(transaction=True)
        for name, by in counts.items():
            pipeline.hincrby(keys.COUNTERS, name, by)
        for name, by in durations.items():
            pipeline.hincrby(DURATIONS, name, by)
        try:
            await pipeline.execute()
        except (exceptions.RedisError, OSError):
            self._take_back(counts, durations)

    async def run(self, redis: aioredis.Redis, *, every_seconds: float = 1.0) -> None:
        """Flushes until it is cancelled; flush once more after that."""
        while True:
            await asyncio.sleep(every_seconds)
            await self.flush(redis)

    def _take_back(self, counts: Counter[str], durations: Counter[str]) -> None:
        with self._lock:
            self._counts.update(counts)
            self._durations.update(durations)


def _add(numbers: Counter[str], name: str, by: int) -> None:
    if name not in numbers and len(numbers) >= MAX_NAMES:
        name = _OVERFLOW
    numbers[name] += by


def histograms(fields: Mapping[str, int]) -> dict[str, Histogram]:
    """The histograms in the fields of the hash of durations, by name."""
    names = sorted({field.rpartition("|")[0] for field in fields} - {""})
    return {name: _histogram(name, fields) for name in names}


def _histogram(name: str, fields: Mapping[str, int]) -> Histogram:
    total, buckets = 0, []
    for bound in _BOUNDS:
        total += fields.get(f"{name}|{bound}", 0)
        buckets.append((bound, total))
    return Histogram(tuple(buckets), fields.get(f"{name}|{_SUM}", 0) / 1e6)
