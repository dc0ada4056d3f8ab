"""Our side of a bench: Redis (append log, fsync always), gateways, workers and, when asked for, the API.

The processes and settings are those of production: what the tests shorten is put back to the defaults. Mail ends in
a sink of bench/sink.py. Built on the tests' `Line`.
"""

import shutil
import signal
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from bench.figures import OURS
from bench.processes import cpu_seconds, wait_until_quiet
from bench.sink import Sink
from bench.spooled import rewrite_append_log
from spool import keys
from tests.forking import executed
from tests.line import FAST, Line, Program

# One machine is one address: the limit per address is for the outside.
MANY_CONNECTIONS = {"SLUICE_SMTP_MAX_CONNECTIONS": "3000", "SLUICE_SMTP_MAX_CONNECTIONS_PER_ADDRESS": "3000"}


class _LineWithoutSimulator(Line):
    """A line whose SES is somebody else's matter."""

    start_process = staticmethod(executed)

    def start_simulator(self, **_: str) -> None:
        """Nothing: calls go to the sink."""


class Ours:
    """A running line. `clear` forgets all mail between two runs."""

    name = OURS

    def __init__(self, *, gateways: int = 1, workers: int = 0, has_api: bool = False, **settings: str) -> None:
        self._counts = {"gateway": gateways, "worker": workers, "api": int(has_api)}
        self.sink = Sink("ses")
        self.line = _LineWithoutSimulator(**MANY_CONNECTIONS, **settings)
        for name in set(FAST) - {"SLUICE_LOG_FORMAT"} - set(settings):
            del self.line.environment[name]
        self.programs: dict[str, list[Program]] = {}

    def __enter__(self) -> Self:
        self.sink.__enter__()
        try:
            url = f"http://127.0.0.1:{self.sink.port}"
            self.line.environment |= {"AWS_ENDPOINT_URL_SES": url, "AWS_ENDPOINT_URL_SESV2": url}
            self.line.__enter__()
            for kind, count in self._counts.items():
                self.start(kind, count)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.line.__exit__(kind, error, trace)
        self.sink.__exit__(kind, error, trace)

    def start(self, kind: str, count: int = 1) -> None:
        """More processes of a kind: gateway, worker, api."""
        for _ in range(count):
            program = self.line.gateway() if kind == "gateway" else self.line.start(kind)
            self.programs.setdefault(kind, []).append(program)

    @property
    def port(self) -> int:
        """Where mail is accepted."""
        return int(self.line.environment["SLUICE_SMTP_PORT"])

    def pids(self, kind: str) -> list[int]:
        """gateway, worker or api."""
        return [program.pid for program in self.programs.get(kind, [])]

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far, by kind of process; load and sink are not in it."""
        seconds = {kind: sum(map(cpu_seconds, self.pids(kind))) for kind in self.programs}
        assert self.line.redis.process
        return {**seconds, "redis": cpu_seconds(self.line.redis.process.pid)}

    def arrived(self) -> tuple[int, float]:
        """What the sink has: how many, and when the last came."""
        return self.sink.arrived()

    def clear(self) -> None:
        """Forgets all mail and starts the append log anew; processes stay. Nothing may be under way."""
        for kind in ("gateway", "worker"):
            assert all(program.is_running() for program in self.programs.get(kind, [])), f"a {kind} ended"
        self.line.redis.call("FLUSHALL", "SYNC")
        self.rewrite_append_log()
        shutil.rmtree(self.line.folder / "content", ignore_errors=True)
        (self.line.folder / "events.ndjson").unlink(missing_ok=True)
        for program in self.line.programs:
            program.log_path.write_bytes(b"")
        self.sink.reset()
        wait_until_quiet(self.cpu)

    def rewrite_append_log(self) -> None:
        """So that no rewrite of an earlier run's log falls into the next run."""
        rewrite_append_log(self.line.redis)

    def redis_bytes(self) -> int:
        """Memory that Redis uses, without the stream of events: that is trimmed when they are published."""
        used = self.line.redis.call("INFO", "memory").decode().partition("used_memory:")[2].split()[0]
        stream = self.line.redis.call("MEMORY", "USAGE", keys.EVENTS, "SAMPLES", 0).strip()
        return int(used) - (int(stream[1:]) if stream.startswith(b":") else 0)

    def stop_kind(self, kind: str) -> None:
        """SIGTERM to all processes of a kind."""
        for program in self.programs.pop(kind, []):
            program.send(signal.SIGTERM)
            program.process.wait(60)


def total(seconds: Mapping[str, float]) -> float:
    """Of all kinds together."""
    return sum(seconds.values())
