"""What the caller of `python -m bench` chose, and how a measurement asks whether it is wanted."""

from collections.abc import Iterable
from dataclasses import dataclass

from bench.figures import FIGURES


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured."""

    #: Runs of each figure; the table shows medians.
    runs: int = 3
    #: Length of one run.
    seconds: float = 4.0
    #: Parts of names of figures; empty = all.
    only: tuple[str, ...] = ()
    #: Messages of the large backlog.
    backlog: int = 100_000
    has_postfix: bool = True

    def wants(self, figures: Iterable[str]) -> bool:
        """Whether any of these figures is asked for."""
        return any(not self.only or any(part.lower() in name.lower() for part in self.only) for name in figures)

    def selected(self, beginning: str) -> list[str]:
        """The figures with this beginning that are asked for."""
        return [name for name in FIGURES if name.startswith(beginning) and self.wants([name])]
