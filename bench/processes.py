"""CPU time and memory of processes, read from /proc. Linux only, nothing to install.

A process tree costs: its root's own time, what the root's ended children cost (the kernel adds it when they are
waited for), and the same for every living descendant. So no child is lost, however short it lived.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Stat:
    """One line of /proc/PID/stat; times in ticks."""

    pid: int
    name: str
    parent: int
    own_ticks: int
    #: Of children that ended and were waited for.
    waited_ticks: int


def parse_stat(text: str) -> Stat:
    """The name stands in parentheses and may hold anything, parentheses too."""
    before, _, after = text.rpartition(")")
    pid, _, name = before.partition(" (")
    fields = after.split()  # fields[0] is field 3 of proc(5)
    return Stat(
        pid=int(pid),
        name=name,
        parent=int(fields[1]),
        own_ticks=int(fields[11]) + int(fields[12]),
        waited_ticks=int(fields[13]) + int(fields[14]),
    )


def tree(root: int, stats: Iterable[Stat]) -> list[Stat]:
    """A process and all its descendants; empty when there is no such process."""
    known = {one.pid: one for one in stats}
    children: dict[int, list[Stat]] = {}
    for one in known.values():
        children.setdefault(one.parent, []).append(one)
    found, waiting = [], [known[root]] if root in known else []
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += children.get(one.pid, [])
    return found


def all_stats() -> list[Stat]:
    """Every process that lives now."""
    found = []
    for path in _PROC.glob("[0-9]*/stat"):
        try:
            found.append(parse_stat(path.read_text("utf-8", "replace")))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def cpu_seconds(root: int) -> float:
    """CPU time of a process tree since it began."""
    return sum(cpu_seconds_by_name(root).values())


def cpu_seconds_by_name(root: int) -> dict[str, float]:
    """The same by program name; what ended is counted with the program that waited for it."""
    seconds: Counter[str] = Counter()
    for one in tree(root, all_stats()):
        seconds[one.name] += (one.own_ticks + one.waited_ticks) / TICKS_PER_SECOND  # type: ignore[assignment]
    return dict(seconds)


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What was used between two readings, by name."""
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


def resident_bytes(pid: int) -> int:
    """Memory in use now."""
    return _status_bytes(pid, "VmRSS")


def peak_resident_bytes(pid: int) -> int:
    """The most memory in use since the start or `forget_peak`."""
    return _status_bytes(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """The peak begins anew with what is in use now."""
    (_PROC / str(pid) / "clear_refs").write_text("5")


def _status_bytes(pid: int, name: str) -> int:
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"{name} of process {pid}")


def wait_until_quiet(cpu: Callable[[], Mapping[str, float]], *, seconds: float = 15.0) -> None:
    """Returns when these processes use nearly no CPU: what they still had to do is done. Gives up in the end."""
    limit = time.monotonic() + seconds
    before = sum(cpu().values())
    while time.monotonic() < limit:
        time.sleep(0.4)
        now = sum(cpu().values())
        if now - before <= 0.02:
            return
        before = now
