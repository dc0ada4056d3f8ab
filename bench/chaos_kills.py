"""The breaking: gateways, workers, feedback and Redis get SIGKILL at random moments and are started again.

Whatever ends is started again after a moment, also what ended by itself (a worker may, when Redis is away).
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping

from bench.chaos_troubles import Tempo, Troubles
from tests.line import Line, Program

# kind → share of the kills
TARGETS = {"gateway": 0.3, "worker": 0.4, "redis": 0.2, "feedback": 0.1}
LONGEST_REVIVAL_SECONDS = 1.0


class Slot:
    """The place of one process: it runs, or it is about to be started again."""

    def __init__(self, kind: str, line: Line) -> None:
        self.kind = kind
        self._line = line
        self._program: Program | None = None
        self.start_at = 0.0

    def start(self, *, wait: bool = False) -> None:
        """Starts it; `wait` until it says that it is ready."""
        self._program = self._line.start(self.kind, wait=wait)

    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._program is not None and self._program.is_running()

    def kill(self) -> None:
        """SIGKILL; nothing when it has just ended by itself."""
        if self._program:
            self._program.kill()
            self._program = None

    def ended_by_itself(self) -> str:
        """Once for each end that was not a kill: what ended and its exit code; else empty."""
        if self._program is None or self._program.is_running():
            return ""
        code, self._program = self._program.process.returncode, None
        return f"{self.kind} (exit code {code})"


class RedisSlot(Slot):
    """The same for the server, which keeps its folder."""

    def start(self, *, wait: bool = False) -> None:
        del wait  # it always waits: the server loads its data before it answers
        self._line.redis.start()

    def is_running(self) -> bool:
        return self._line.redis.process is not None

    def kill(self) -> None:
        self._line.redis.kill()

    def ended_by_itself(self) -> str:
        return ""


class Killer:
    """Kills and revives until it is told to stop."""

    def __init__(
        self, line: Line, *, processes: Mapping[str, int], seed: int, pause_seconds: tuple[float, float], tempo: Tempo
    ) -> None:
        self._line = line
        self._random = random.Random(seed)
        self._pause_seconds = pause_seconds
        self._slots = [Slot(kind, line) for kind, number in processes.items() for _ in range(number)]
        self._redis = RedisSlot("redis", line)
        self.kills: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.troubles = Troubles(line, self._random, tempo)

    def start_all(self) -> None:
        """Before the chaos: Redis runs already."""
        for slot in self._slots:
            slot.start(wait=True)

    def run(self, seconds: float, say: Callable[[str], None]) -> None:
        """Chaos for so long."""
        now = time.monotonic()
        end, kill_at, say_at = now + seconds, now + self._pause(), now + 10
        while (now := time.monotonic()) < end:
            self.revive()
            if now >= kill_at:
                self._kill_one(now)
                kill_at = now + self._pause()
            self.troubles.look(now)
            if now >= say_at:
                say(f"{end - now:4.0f} s left; kills {shown(self.kills)}")
                say_at = now + 10
            time.sleep(0.02)
        self.troubles.stop()

    def revive(self, *, now: float | None = None) -> None:
        """Starts what should run again by now."""
        now = time.monotonic() if now is None else now
        for slot in (self._redis, *self._slots):
            if end := slot.ended_by_itself():
                self.ends[end] += 1
                slot.start_at = now + LONGEST_REVIVAL_SECONDS * self._random.random()
            if not slot.is_running() and now >= slot.start_at:
                slot.start()

    def _pause(self) -> float:
        return self._random.uniform(*self._pause_seconds)

    def _kill_one(self, now: float) -> None:
        (kind,) = self._random.choices(list(TARGETS), list(TARGETS.values()))
        running = [slot for slot in (self._redis, *self._slots) if slot.kind == kind and slot.is_running()]
        if running:
            slot = self._random.choice(running)
            slot.kill()
            slot.start_at = now + LONGEST_REVIVAL_SECONDS * self._random.random()
            self.kills[kind] += 1


def shown(counts: Counter[str]) -> str:
    """`gateway 3, worker 5`."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
