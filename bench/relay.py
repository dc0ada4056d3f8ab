"""`python -m bench.relay`: how well the relay keeps to an account's limits, what waiting costs, what kills do.

Each part prints its table as soon as it is measured. Exit code 1 when a target is missed.
"""

import argparse
import dataclasses
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from bench import relay_kills, relay_lanes, relay_rate, relay_waiting
from bench.relay_rows import QUICK, Measured, RelayOptions, rows_table

#: name → heading, measurement
PARTS: dict[str, tuple[str, Callable[[RelayOptions], Iterator[Measured]]]] = {
    "rate": (relay_rate.TITLE, relay_rate.measure),
    "lanes": (relay_lanes.TITLE, relay_lanes.measure),
    "waiting": (relay_waiting.TITLE, relay_waiting.measure),
    "kills": (relay_kills.TITLE, relay_kills.measure),
}


def main() -> int:
    arguments = read_arguments()
    options = options_of(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started here is ended
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}; all processes share them.")
    if (busy := os.getloadavg()[0]) > 1:
        print(f"The machine is busy with other work (load {busy:.1f}): figures are worse than they could be.")
    started, missed, lines = time.monotonic(), 0, []
    for name in arguments.only or PARTS:
        title, measure = PARTS[name]
        rows: list[Measured] = []
        for row in measure(options):
            rows.append(row)
            lines.append({"part": name, **row.columns, "misses": row.misses})
            print(f"  [{name}] " + "; ".join(row.cells), flush=True)
        missed += sum(bool(row.misses) for row in rows)
        print(f"\n{title}\n{rows_table(rows)}\n", flush=True)
    if arguments.json:
        arguments.json.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    print(f"{missed or 'no'} runs missed a target. {time.monotonic() - started:.0f} s.")
    return 1 if missed else 0


def options_of(arguments: argparse.Namespace) -> RelayOptions:
    """What was asked for, on top of the full or the quick plan."""
    fields = {field.name for field in dataclasses.fields(RelayOptions)}
    asked: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(arguments).items()
        if name in fields and value is not None
    }
    return dataclasses.replace(QUICK if arguments.quick else RelayOptions(), **asked)


def read_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.relay", description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; may be repeated")
    parser.add_argument("--quick", action="store_true", help="small and short: does it work")
    parser.add_argument("--seconds", type=float, help="length of a measured window (60)")
    parser.add_argument("--runs", type=int, help="runs of each row (1)")
    parser.add_argument("--workers", type=int, help="worker processes (4)")
    parser.add_argument("--rate", dest="rates", type=float, action="append", help="recipients a second (14, 100, 1000)")
    parser.add_argument("--waiting", type=int, action="append", help="recipients parked (1000, 100000, 1000000)")
    parser.add_argument("--recipients-a-message", type=int, help="of the parked messages (10)")
    parser.add_argument("--sends", type=int, help="messages sent under kills (10000)")
    parser.add_argument("--seed", type=int, help="of sizes and kills (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every row as NDJSON")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
