"""Accept rate: from the first connection of the load to the last 250, with nobody who takes mail out of the queue.

Ours: gateway and Redis (fsync always). Postfix: smtpd and cleanup into its hold queue (fsync a message).
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from bench.figures import Sample
from bench.load import Load, run_load, sized_for
from bench.options import Options
from bench.ours import Ours, total
from bench.postfix import Postfix
from bench.processes import spent

KB, MB = 1024, 1024 * 1024


@dataclass(frozen=True, slots=True)
class Case:
    """One figure: the load, how many gateways take it, and the figure of its CPU time, if there is one."""

    load: Load
    gateways: int = 1
    cpu_figure: str = ""


CASES: dict[str, Case] = {
    "accept 1 KB, 1 session": Case(Load(300, 1, KB)),
    "accept 1 KB, 20 sessions": Case(Load(300, 20, KB), cpu_figure="accept CPU a message, 1 KB"),
    "accept 1 KB, 100 sessions": Case(Load(300, 100, KB)),
    "accept 1 KB, 20 sessions, one a connection": Case(Load(300, 20, KB, is_one_per_connection=True)),
    "accept 20 KB, 1 session": Case(Load(300, 1, 20 * KB)),
    "accept 20 KB, 20 sessions": Case(Load(300, 20, 20 * KB), cpu_figure="accept CPU a message, 20 KB"),
    "accept 20 KB, 100 sessions": Case(Load(300, 100, 20 * KB)),
    "accept 20 KB, 20 sessions, one a connection": Case(Load(300, 20, 20 * KB, is_one_per_connection=True)),
    "accept 1 MB, 1 session": Case(Load(20, 1, MB)),
    "accept 1 KB, 20 sessions, 2 gateways": Case(Load(300, 20, KB), gateways=2),
    "accept 20 KB, 20 sessions, 2 gateways": Case(Load(300, 20, 20 * KB), gateways=2),
}


def measure(options: Options) -> Iterator[Sample]:
    """All cases; ours and Postfix's runs alternate, so that both see the same machine."""
    for gateways in (1, 2):
        cases = {
            name: case
            for name, case in CASES.items()
            if case.gateways == gateways and options.wants([name, case.cpu_figure or name])
        }
        if not cases:
            continue
        with ExitStack() as stack:
            systems: list[Ours | Postfix] = [stack.enter_context(Ours(gateways=gateways))]
            if options.has_postfix:
                systems.append(stack.enter_context(Postfix()))
            for name, case in cases.items():
                yield from _measured(name, case, systems, options)


def _measured(name: str, case: Case, systems: list[Ours | Postfix], options: Options) -> Iterator[Sample]:
    loads = [
        sized_for(case.load, options.seconds, lambda trial, port=system.port: run_load(trial, port))  # type: ignore[misc]
        for system in systems
    ]
    for _ in range(options.runs):
        for system, load in zip(systems, loads, strict=True):
            system.clear()
            before = system.cpu()
            seconds = run_load(load, system.port)
            yield Sample(name, system.name, load.messages / seconds)
            if case.cpu_figure:
                cpu = total(spent(before, system.cpu()))
                yield Sample(case.cpu_figure, system.name, 1000 * cpu / load.messages)
    for system in systems:
        system.clear()
