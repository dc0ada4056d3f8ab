"""`python -m bench.outage`: SES refuses connections while mail comes in, then it is back; memory is watched meanwhile.

1. Some mail is sent, so that every process has loaded what it needs; then SES goes away (its port is closed).
2. `--messages` are accepted and wait, tried again with growing pauses; SES stays away for `--outage-seconds` more.
3. SES is back: everything must be sent, the books must balance, and neither gateway nor worker may have grown with
   the backlog. Exit code 1 otherwise.
"""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.chaos_kills import shown
from bench.load import HOUSE, Load, command_of
from bench.processes import resident_bytes
from bench.spooled import all_messages, places
from tests.forking import executed
from tests.line import FAST, Account, Line, Program

WARM_UP_MESSAGES = 200
# A process that kept the backlog in memory would need 1.6 KB a message and more.
MAY_GROW_BYTES = 24_000_000
PATIENCE_SECONDS = 300.0
SETTINGS = {
    **{name: value for name, value in FAST.items() if name == "SLUICE_LOG_FORMAT"},
    "SLUICE_WORKER_LEASE_SECONDS": "30",
    "SLUICE_WORKER_SWEEP_SECONDS": "1",
    "SLUICE_RELAY_RETRY_FIRST_SECONDS": "2",
    "SLUICE_RELAY_CALL_TIMEOUT_SECONDS": "20",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much waits, and for how long."""

    messages: int = 10_000
    outage_seconds: float = 30.0
    #: Longest pause between two tries: the drain begins within it.
    retry_max_seconds: float = 20.0
    every_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Moment:
    """What was seen at one instant."""

    at_seconds: float
    phase: str
    waiting: int
    gateway_bytes: int
    worker_bytes: int
    redis_bytes: int

    def text(self) -> str:
        """One line."""
        memory = {"gateway": self.gateway_bytes, "worker": self.worker_bytes, "Redis": self.redis_bytes}
        shown_memory = "   ".join(f"{name} {size / 1e6:6.1f} MB" for name, size in memory.items())
        return f"{self.at_seconds:6.1f} s  {self.phase:<8} waiting {self.waiting:>7}   {shown_memory}"


@dataclass(slots=True)
class Report:
    """How it went."""

    plan: Plan
    moments: list[Moment] = field(default_factory=list)
    drain_seconds: float = 0.0
    account: Account | None = None
    problems: list[str] = field(default_factory=list)

    def growth_bytes(self, of: Callable[[Moment], int]) -> int:
        """The most above the first moment."""
        return max(map(of, self.moments)) - of(self.moments[0])

    def text(self) -> str:
        """For people."""
        assert self.account
        gateway_mb = self.growth_bytes(lambda one: one.gateway_bytes) / 1e6
        worker_mb = self.growth_bytes(lambda one: one.worker_bytes) / 1e6
        lines = [
            f"drained in {self.drain_seconds:.1f} s; recipients: {shown(self.account.by_state)}",
            f"duplicates: {self.account.duplicates}",
            f"gateway grew by {gateway_mb:.1f} MB, worker by {worker_mb:.1f} MB",
            *(f"BROKEN: {problem}" for problem in self.problems[:50]),
            "verdict: " + ("BROKEN" if self.problems else "all sent, memory flat"),
        ]
        return "\n".join(lines)


class _Watch:
    """Looks at the line every now and then."""

    def __init__(
        self, line: Line, report: Report, gateway: Program, worker: Program, say: Callable[[str], None]
    ) -> None:
        self._line = line
        self._report = report
        self._pids = (gateway.pid, worker.pid)
        self._say = say
        self._started_at = time.monotonic()
        self._look_at = 0.0

    def look(self, phase: str, *, is_due: bool = True) -> int:
        """Notes a moment, unless it is too soon for one; how many messages wait."""
        waiting: int = self._line.run(places).total()
        now = time.monotonic()
        if is_due or now >= self._look_at:
            gateway_bytes, worker_bytes = map(resident_bytes, self._pids)
            told = self._line.redis.call("INFO", "memory").decode()
            redis_bytes = int(told.partition("used_memory:")[2].split()[0])
            moment = Moment(now - self._started_at, phase, waiting, gateway_bytes, worker_bytes, redis_bytes)
            self._report.moments.append(moment)
            self._say(moment.text())
            self._look_at = now + self._report.plan.every_seconds
        return waiting

    def until(self, is_over: Callable[[int], bool], phase: str) -> None:
        """Looks until it is over. Fails when it never is."""
        limit = time.monotonic() + PATIENCE_SECONDS
        while not is_over(self.look(phase, is_due=False)):
            assert time.monotonic() < limit, f"{phase}: not over after {PATIENCE_SECONDS:g} s"
            time.sleep(0.1)
        self.look(phase)


class _OutageLine(Line):
    start_process = staticmethod(executed)  # memory is measured


def run_outage(plan: Plan, say: Callable[[str], None] = lambda _: None) -> Report:
    """The whole of it; ends everything that it started."""
    report = Report(plan)
    retry_max = {"SLUICE_RELAY_RETRY_MAX_SECONDS": str(plan.retry_max_seconds)}
    with _OutageLine(**SETTINGS, **retry_max) as line:
        gateway, worker = line.gateway(), line.worker()
        watch = _Watch(line, report, gateway, worker, say)
        port = int(line.environment["SLUICE_SMTP_PORT"])
        with _load(WARM_UP_MESSAGES, port) as load:
            assert load.wait() == 0, "the first mail was not accepted"
        _wait_until_empty(line)
        watch.look("before")
        line.stop_simulator()
        with _load(plan.messages, port) as load:
            watch.until(lambda _: load.poll() is not None, "filling")
            assert load.returncode == 0, "mail was not accepted while SES was away"
        ends_at = time.monotonic() + plan.outage_seconds
        watch.until(lambda _: time.monotonic() >= ends_at, "waiting")
        line.start_simulator()
        started = time.monotonic()
        watch.until(lambda waiting: waiting == 0, "draining")
        report.drain_seconds = time.monotonic() - started
        _judge(line, report)
    return report


def _load(messages: int, port: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command_of(Load(messages, 20, 1024), port), cwd=HOUSE)


def _wait_until_empty(line: Line) -> None:
    limit = time.monotonic() + PATIENCE_SECONDS
    while line.run(places).total():
        assert time.monotonic() < limit, "the first mail is not sent"
        time.sleep(0.1)


def _judge(line: Line, report: Report) -> None:
    messages = line.run(all_messages)
    ids = [message.message_id for message in messages]
    line.wait_for_events(ids)
    report.account = line.account(ids)
    report.problems += report.account.problems
    wanted = WARM_UP_MESSAGES + report.plan.messages
    if report.account.by_state != {"sent": wanted}:
        report.problems.append(f"{wanted} were to be sent: {shown(report.account.by_state)}")
    if report.account.duplicates:
        report.problems.append(f"{report.account.duplicates} duplicates, though no answer was lost")
    growths = {
        "gateway": report.growth_bytes(lambda one: one.gateway_bytes),
        "worker": report.growth_bytes(lambda one: one.worker_bytes),
    }
    for name, growth in growths.items():
        if growth > MAY_GROW_BYTES:
            report.problems.append(f"the {name} grew by {growth / 1e6:.1f} MB")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.outage", description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000, help="messages that wait (10000)")
    parser.add_argument("--outage-seconds", type=float, default=30.0, help="outage after the last was accepted (30)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started here is ended
    plan = Plan(messages=arguments.messages, outage_seconds=arguments.outage_seconds)
    report = run_outage(plan, lambda text: print(text, flush=True))
    print(report.text())
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
