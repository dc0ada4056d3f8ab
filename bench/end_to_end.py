"""End to end: from the first connection of the load to the last message's arrival in the sink, and what it costs.

Ours: gateway, Redis, worker (with events written and published) to a stand-in for SES. Postfix: to smtp-sink. CPU is
that of all processes of the system, read when they are quiet again, so that nothing of the work is left out.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack

from bench.figures import OURS, Sample
from bench.load import Load, run_load, sized_for
from bench.options import Options
from bench.ours import Ours, total
from bench.postfix import Postfix, SmtpSink
from bench.processes import resident_bytes, spent, wait_until_quiet
from bench.sink import wait_for_arrivals

SIZES = {"1 KB": 1024, "20 KB": 20 * 1024}
MEMORY = {kind: f"end to end, {kind} memory at the end" for kind in ("gateway", "worker")}


class Relayed:
    """One run on one system: its load, what arrives, what it costs."""

    def __init__(self, system: Ours | Postfix, sink: Ours | SmtpSink) -> None:
        self.system = system
        self._sink = sink
        self.cpu_seconds: dict[str, float] = {}

    def clear(self) -> None:
        """Before each run."""
        self.system.clear()
        if isinstance(self._sink, SmtpSink):
            self._sink.reset()

    def run(self, load: Load) -> float:
        """Seconds until the last message arrived."""
        self.clear()
        before, started = self.system.cpu(), time.monotonic()
        run_load(load, self.system.port)
        seconds = wait_for_arrivals(self._sink.arrived, load.messages) - started
        wait_until_quiet(self.system.cpu)
        self.cpu_seconds = spent(before, self.system.cpu())
        return seconds


def measure(options: Options) -> Iterator[Sample]:
    """1 KB and 20 KB over 20 sessions; ours and Postfix's runs alternate."""
    sizes = {size: _names(size) for size in SIZES if options.wants([*_names(size), *MEMORY.values()])}
    if not sizes:
        return
    with ExitStack() as stack:
        ours = stack.enter_context(Ours(workers=1))
        systems = [Relayed(ours, ours)]
        if options.has_postfix:
            sink = stack.enter_context(SmtpSink())
            systems.append(Relayed(stack.enter_context(Postfix(sink.port)), sink))
        for size, names in sizes.items():
            loads = [sized_for(Load(300, 20, SIZES[size]), options.seconds, one.run) for one in systems]
            for _ in range(options.runs):
                for one, load in zip(systems, loads, strict=True):
                    yield from _sampled(one, load, *names)
        for kind, name in MEMORY.items():
            yield Sample(name, OURS, sum(map(resident_bytes, ours.pids(kind))) / 1e6)


def _sampled(one: Relayed, load: Load, rate: str, cpu: str) -> Iterator[Sample]:
    seconds = one.run(load)
    yield Sample(rate, one.system.name, load.messages / seconds)
    yield Sample(cpu, one.system.name, 1000 * total(one.cpu_seconds) / load.messages)
    if one.system.name != OURS:
        return  # its daemons come and go: only their sum is right
    for name, value in one.cpu_seconds.items():
        yield Sample(f"{cpu}: {name}", one.system.name, 1000 * value / load.messages)


def _names(size: str) -> tuple[str, str]:
    return f"end to end {size}, 20 sessions", f"end to end CPU a message, {size}"
