"""What the supervisor is told about a child, and the pure decisions about it."""

import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: A child that was ready for this long has recovered: its next failure counts as the first.
HEALTHY_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 15.0

#: Whether the child does its work now; called again and again until it says yes.
Probe = Callable[[], Awaitable[bool]]
#: What has to be true once it does; raises Refused for what no restart repairs.
Check = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Child:
    """One process to be kept running."""

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)
    #: Waves are stopped one after the other, the lowest first; within a wave all at once.
    stop_wave: int = 0
    #: Names of children that must have been ready once before this one is started.
    needs: tuple[str, ...] = ()
    #: None = the child tells it itself (config/readiness.py).
    probe: Probe | None = field(default=None, repr=False)
    #: Called once, when the child is ready for the first time and before anything that needs it is started.
    check: Check | None = field(default=None, repr=False)
    ready_seconds: float = 60.0
    #: Time between SIGTERM and SIGKILL.
    stop_seconds: float = 10.0
    #: Whether it reads files again on SIGHUP; others would end.
    hears_hangup: bool = False
    #: Descriptors the child inherits beside its output.
    kept_descriptors: tuple[int, ...] = ()
    #: Where it explains itself when it does not write to its stderr.
    log_file: Path | None = None
    #: What this machine knows of why it may have ended, for instance that its disk is full; "" = nothing.
    suspect: Callable[[], str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ChildState:
    """How a child is now, for those who look."""

    #: waiting (for what it needs, or before a restart), starting, ready, stopped
    state: str
    pid: int | None = None
    restarts: int = 0


def pause_seconds(failures: int) -> float:
    """Pause before the next start after so many failures in a row (1 = the first)."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 20), LONGEST_PAUSE_SECONDS)


def failures_after(failures: int, healthy_seconds: float) -> int:
    """Failures in a row, now that a life ended that was ready for `healthy_seconds` (0 = never)."""
    return 1 if healthy_seconds >= HEALTHY_SECONDS else failures + 1


def how_it_ended(returncode: int) -> str:
    """`exit code 3` or `signal SIGKILL`."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"signal {signal.Signals(-returncode).name}"
    except ValueError:
        return f"signal {-returncode}"
