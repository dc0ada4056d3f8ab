"""The load: Postfix's smtp-source where it is installed (C, cheap), else our own client (bench/smtp_client.py).

Both systems get the same load from the same program, so ratios hold; absolute rates are lower with our own client,
because it takes more of the same cores.
"""

import dataclasses
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[1]
SMTP_SOURCE = shutil.which("smtp-source") or shutil.which("smtp-source", path="/usr/sbin:/usr/lib/postfix/sbin")
_LONGEST_RUN_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Load:
    """So many messages of one size over so many sessions at once."""

    messages: int
    sessions: int
    size_bytes: int
    is_one_per_connection: bool = False


def load_program() -> str:
    """Which program makes the load, for the report."""
    return SMTP_SOURCE or "our own asyncio client (smtp-source is not installed: apt install postfix)"


def command_of(load: Load, port: int, smtp_source: str | None = SMTP_SOURCE) -> list[str]:
    """The command line that makes the load."""
    if smtp_source is None:
        options = {"port": port, "messages": load.messages, "sessions": load.sessions, "size-bytes": load.size_bytes}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        more = ["--one-per-connection"] if load.is_one_per_connection else []
        return [sys.executable, "-m", "bench.smtp_client", *words, *more]
    return [
        smtp_source,
        *([] if load.is_one_per_connection else ["-d"]),
        *("-s", str(min(load.sessions, load.messages)), "-m", str(load.messages), "-l", str(load.size_bytes)),
        *("-N", "-M", "bench.example.com", "-f", "app@example.com", "-t", "list@example.net"),
        f"127.0.0.1:{port}",
    ]


def run_load(load: Load, port: int) -> float:
    """Seconds until every message was answered with 250. Raises CalledProcessError when one was not."""
    started = time.perf_counter()
    subprocess.run(
        command_of(load, port), cwd=HOUSE, check=True, capture_output=True, text=True, timeout=_LONGEST_RUN_SECONDS
    )
    return time.perf_counter() - started


def sized_for(load: Load, seconds: float, try_out: Callable[[Load], float]) -> Load:
    """The same load with as many messages as last that long, by a short trial, which also warms everything up.

    `try_out` runs a load and returns its seconds.
    """
    trial = dataclasses.replace(load, messages=max(20, min(300, load.messages, 20_000_000 // load.size_bytes)))
    try_out(trial)
    rate = trial.messages / try_out(trial)
    return dataclasses.replace(load, messages=max(trial.messages, round(rate * seconds)))
