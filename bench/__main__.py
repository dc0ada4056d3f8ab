"""`python -m bench`: measures ours and, where it is installed, Postfix on the same machine, and prints one table."""

import argparse
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from bench import accept, backlog, end_to_end, latency, memory, postfix
from bench.figures import FIGURES, Row, Sample, rows_of, shown, table
from bench.load import load_program
from bench.options import Options

MEASUREMENTS: dict[str, Callable[[Options], Iterator[Sample]]] = {
    "accept": accept.measure,
    "end to end": end_to_end.measure,
    "latency": latency.measure,
    "memory": memory.measure,
    "backlog": backlog.measure,
}


def main() -> int:
    arguments = _arguments()
    reason = "not wanted" if arguments.no_postfix else postfix.missing()
    options = Options(
        runs=1 if arguments.quick else arguments.runs,
        seconds=1.0 if arguments.quick else arguments.seconds,
        only=tuple(arguments.only),
        backlog=10_000 if arguments.quick else arguments.backlog,
        has_postfix=not reason,
    )
    if not options.wants(FIGURES):
        print(f"No figure has {' or '.join(options.only)} in its name. There are:", *FIGURES, sep="\n  ")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started here is ended
    print(_headline(options, reason), flush=True)
    samples, started = [], time.monotonic()
    for part, measure in MEASUREMENTS.items():
        for sample in measure(options):
            samples.append(sample)
            print(f"  [{part}] {sample.who}: {sample.figure}: {shown(sample.value)}", flush=True)
    rows = rows_of(samples)
    print(f"\n{table(rows)}\n\n{_verdict(rows)} {time.monotonic() - started:.0f} s.")
    if arguments.json:
        lines = [{"figure": one.figure, "who": one.who, "value": one.value} for one in samples]
        arguments.json.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs of each figure; medians are shown (3)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one run (4)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="figures with this in their name")
    parser.add_argument("--quick", action="store_true", help="one short run each: does it work, roughly how fast")
    parser.add_argument("--backlog", type=int, default=100_000, help="messages of the large backlog (100000)")
    parser.add_argument("--no-postfix", action="store_true", help="leave the peer out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample as NDJSON")
    return parser.parse_args()


def _headline(options: Options, without_postfix: str) -> str:
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    lines = [
        f"{machine}; load, sinks and both systems on it; medians of {options.runs} runs of {options.seconds:g} s.",
        f"Load: {load_program()}.",
        f"Postfix: {without_postfix or 'a private instance'}.",
    ]
    if (busy := os.getloadavg()[0]) > 1:
        lines.append(f"The machine is busy with other work (load {busy:.1f}): trust ratios and CPU figures only.")
    return "\n".join(lines)


def _verdict(rows: list[Row]) -> str:
    judged = [row.is_met for row in rows if row.is_met is not None]
    return f"{sum(judged)} of {len(judged)} targets met."


if __name__ == "__main__":
    sys.exit(main())
