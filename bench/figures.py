"""What is measured: every figure with its unit and its target, and the table that is printed. Pure.

A target is either a multiple of Postfix measured in the same run, or a number of its own. `ratio` is always ours
divided by Postfix: more is better for rates, less for costs.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

OURS = "ours"
POSTFIX = "Postfix"


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured value of one figure."""

    figure: str
    who: str
    value: float


@dataclass(frozen=True, slots=True)
class Target:
    """What is aimed at; `is_met` takes ours and Postfix's and is None when that cannot be told."""

    text: str
    is_met: Callable[[float, float | None], bool | None]


def times_postfix(times: float) -> Target:
    """At least so many times as much."""
    return Target(f"≥ {times:g} x Postfix", lambda ours, peer: None if peer is None else round(ours / peer, 2) >= times)


def at_most(limit: float) -> Target:
    """A number that must not be exceeded."""
    return Target(f"≤ {limit:g}", lambda ours, _: round(ours, 3) <= limit)


def at_least(limit: float) -> Target:
    """A number that must be reached."""
    return Target(f"≥ {limit:g}", lambda ours, _: round(ours, 3) >= limit)


@dataclass(frozen=True, slots=True)
class Figure:
    """A row of the table."""

    unit: str
    target: Target | None = None


FIGURES: dict[str, Figure] = {
    "accept 1 KB, 1 session": Figure("msgs/s"),
    "accept 1 KB, 20 sessions": Figure("msgs/s", times_postfix(3)),
    "accept 1 KB, 100 sessions": Figure("msgs/s"),
    "accept 1 KB, 20 sessions, one a connection": Figure("msgs/s"),
    "accept 20 KB, 1 session": Figure("msgs/s"),
    "accept 20 KB, 20 sessions": Figure("msgs/s", times_postfix(3)),
    "accept 20 KB, 100 sessions": Figure("msgs/s"),
    "accept 20 KB, 20 sessions, one a connection": Figure("msgs/s"),
    "accept 1 MB, 1 session": Figure("msgs/s", times_postfix(1.2)),
    "accept 1 KB, 20 sessions, 2 gateways": Figure("msgs/s"),
    "accept 20 KB, 20 sessions, 2 gateways": Figure("msgs/s"),
    "accept CPU a message, 1 KB": Figure("ms"),
    "accept CPU a message, 20 KB": Figure("ms"),
    "end to end 1 KB, 20 sessions": Figure("msgs/s", times_postfix(1.5)),
    "end to end 20 KB, 20 sessions": Figure("msgs/s", times_postfix(1.5)),
    "end to end CPU a message, 1 KB": Figure("ms", at_most(1.5)),
    "end to end CPU a message, 20 KB": Figure("ms", at_most(1.8)),
    "end to end, gateway memory at the end": Figure("MB"),
    "end to end, worker memory at the end": Figure("MB"),
    "latency at 50/s, DATA to 250, p50": Figure("ms"),
    "latency at 50/s, DATA to 250, p99": Figure("ms"),
    "latency at 50/s, DATA to SES call, p50": Figure("ms", at_most(6)),
    "latency at 50/s, DATA to SES call, p99": Figure("ms", at_most(40)),
    "idle gateway memory": Figure("MB", at_most(60)),
    "idle worker memory": Figure("MB", at_most(100)),
    "idle CPU of gateway, worker, API and Redis": Figure("%", at_most(1)),
    "memory of 1,000 idle connections": Figure("MB", at_most(20)),
    "gateway memory of 20 x 1 MB in flight, at the peak": Figure("MB", at_most(40)),
    "backlog 1,000, CPU of waiting": Figure("%", at_most(1)),
    "backlog large, CPU of waiting": Figure("%", at_most(1)),
    "backlog 1,000, CPU a message sent meanwhile": Figure("ms"),
    "backlog large, CPU a message sent meanwhile": Figure("ms"),
    "backlog large to 1,000, cost a message": Figure("x", at_most(1.2)),
    "backlog large, Redis memory a message beyond its content": Figure("KB", at_most(1)),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A figure with the medians of its samples."""

    name: str
    figure: Figure
    ours: float
    postfix: float | None
    runs: int

    @property
    def ratio(self) -> float | None:
        """Ours divided by Postfix; None without a peer."""
        return self.ours / self.postfix if self.postfix else None

    @property
    def is_met(self) -> bool | None:
        """None when there is no target, or none that can be told without Postfix."""
        return self.figure.target.is_met(self.ours, self.postfix) if self.figure.target else None


def rows_of(samples: Iterable[Sample], figures: Mapping[str, Figure] = FIGURES) -> list[Row]:
    """Medians, in the order of the table; figures without a sample of ours are left out."""
    values: dict[tuple[str, str], list[float]] = {}
    for sample in samples:
        values.setdefault((sample.figure, sample.who), []).append(sample.value)
    rows = []
    for name, figure in figures.items():
        if ours := values.get((name, OURS)):
            peer = values.get((name, POSTFIX))
            rows.append(
                Row(name, figure, statistics.median(ours), statistics.median(peer) if peer else None, len(ours))
            )
    return rows


def table(rows: Sequence[Row]) -> str:
    """Figure | ours | Postfix | ratio | target | met?"""
    cells = [["figure", "ours", "Postfix", "ratio", "target", "met?"]]
    cells += [
        [
            row.name,
            f"{shown(row.ours)} {row.figure.unit}",
            "-" if row.postfix is None else f"{shown(row.postfix)} {row.figure.unit}",
            "-" if row.ratio is None else f"{row.ratio:.2f}",
            row.figure.target.text if row.figure.target else "",
            {True: "yes", False: "NO", None: ""}[row.is_met],
        ]
        for row in rows
    ]
    return aligned(cells)


def aligned(cells: Sequence[Sequence[str]]) -> str:
    """Lines of equally many texts as a table; the first line is the heading."""
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = [" | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "-|-".join("-" * width for width in widths), *lines[1:]])


def shown(value: float) -> str:
    """Three significant digits, no more than anybody believes."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of at least one value."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)  # ceiling
    return ordered[max(0, int(rank) - 1)]
