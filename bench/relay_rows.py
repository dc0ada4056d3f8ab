"""What `python -m bench.relay` is asked for, and a row of its tables. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.figures import aligned, percentile


@dataclass(frozen=True, slots=True)
class RelayOptions:
    """How much is measured."""

    #: Length of the measured window of one run.
    seconds: float = 60.0
    runs: int = 1
    workers: int = 4
    #: Recipients a second that the simulated account allows, where the rate is what is measured.
    rates: tuple[float, ...] = (14.0, 100.0, 1000.0)
    #: Recipients that wait behind the express mail and behind the single mails of another sender.
    bulk_recipients: int = 20_000
    noisy_recipients: int = 100_000
    #: Recipients that wait while nothing but 14/s moves, and how many a message has.
    waiting: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    recipients_a_message: int = 10
    #: Messages that are sent while workers are killed.
    sends: int = 10_000
    seed: int = 1


QUICK = RelayOptions(
    seconds=6.0,
    workers=2,
    rates=(100.0,),
    bulk_recipients=500,
    noisy_recipients=2_000,
    waiting=(500, 5_000),
    sends=400,
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: what was measured (column → value), and what it misses of the targets."""

    columns: Mapping[str, str | float]
    misses: Sequence[str] = field(default=())

    @property
    def cells(self) -> list[str]:
        """As shown, with the verdict at the end."""
        values = [value if isinstance(value, str) else f"{value:,}" for value in self.columns.values()]
        return [*values, f"NO: {', '.join(self.misses)}" if self.misses else "yes"]


def rows_table(rows: Sequence[Measured]) -> str:
    """The runs of one measurement, one below the other; all have the same columns."""
    return aligned([[*rows[0].columns, "targets met?"], *(row.cells for row in rows)])


def latency_columns(seconds: Sequence[float]) -> dict[str, str | float]:
    """p50, p99 and the longest of at least one latency."""
    figures = {"p50": percentile(seconds, 50), "p99": percentile(seconds, 99), "max": max(seconds)}
    return {name: f"{value:.2f} s" for name, value in figures.items()}
