"""A server at its memory limit takes no new mail, and what it has is sent all the same."""

import pytest

from config.errors import TryLater
from tests.line import Line

pytestmark = pytest.mark.processes


def _fill(line: Line) -> None:
    used = next(
        int(row.partition(":")[2])
        for row in line.redis.call("INFO", "memory").decode().splitlines()
        if row.startswith("used_memory:")
    )
    line.redis.call("CONFIG", "SET", "maxmemory", used // 2)


def test_workers_that_run_and_workers_that_start_empty_a_full_server():
    with Line() as line:
        line.fault("throttle")
        running = line.worker()
        ids = line.submit(100, size_bytes=4000)
        _fill(line)
        with pytest.raises(TryLater):
            line.submit(1)
        line.no_faults()
        starting = line.worker()
        line.wait_for(ids)
        assert running.is_running()
        assert starting.is_running()
        line.account(ids).assert_clean()


def test_a_worker_that_starts_on_a_full_server_empties_it_alone():
    with Line() as line:
        ids = line.submit(100, size_bytes=4000, nudge=False)
        _fill(line)
        line.worker()
        line.wait_for(ids)
        line.account(ids).assert_clean()
