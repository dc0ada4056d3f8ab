import time
from collections.abc import Callable

import pytest


@pytest.fixture
def milliseconds() -> Callable[[Callable[[], object]], float]:
    """CPU time of the quickest of three runs: what the machine does beside is not counted."""

    def measure(run: Callable[[], object]) -> float:
        taken = []
        for _ in range(3):
            started = time.process_time()
            run()
            taken.append(time.process_time() - started)
        return min(taken) * 1000

    return measure
