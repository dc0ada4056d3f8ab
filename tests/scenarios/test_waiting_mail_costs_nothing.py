"""A window, not polling: while mail waits for its turn, Redis is asked as often for many messages as for few."""

import json
import re
import time

import pytest

from tests.line import UNDER_WAY, Line, wait_until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]

SETTINGS = {
    "SLUICE_RELAY_QUOTA_REFRESH_SECONDS": "1",
    "SLUICE_SIMULATOR_MAX_SEND_RATE": "5",
    "SLUICE_WORKER_SWEEP_SECONDS": "0.5",
}
LOOK_SECONDS = 3


def commands_per_second(line):
    """Commands that Redis carried out, those of scripts as well; nobody but the workers asks meanwhile."""
    before, begun_at = commands(line), time.monotonic()
    time.sleep(LOOK_SECONDS)  # what is measured is this stretch of time
    return (commands(line) - before) / (time.monotonic() - begun_at)


def commands(line):
    return int(re.search(rb"total_commands_processed:(\d+)", line.redis.call("INFO", "stats"))[1])


def is_quiet(line, messages):
    """Nearly all of them were sent or wait in their lane, and what could be told of them was told."""
    sent = json.loads(line.http("GET", "/ledger/count"))["calls"]
    on_their_way = messages - sent - line.route().waiting_messages
    return on_their_way <= 5 and len(line.published()) >= messages + sent - 5


def test_ten_times_the_waiting_messages_cost_no_more_commands():
    with Line(**SETTINGS) as line:
        line.worker()
        line.worker()
        few, more = 300, 2700
        line.submit(few)
        wait_until(lambda: is_quiet(line, few), "few messages wait")
        with_few = max(commands_per_second(line) for _ in range(2))
        line.submit(more)
        wait_until(lambda: is_quiet(line, few + more), "many messages wait")
        # What remains is the gate's look and the messages whose turn it is. Polling costs as much in every stretch,
        # what a process makes up for that had stopped, in one.
        assert any(commands_per_second(line) < 1.5 * with_few + 100 for _ in range(4))
        assert line.route().waiting_messages >= few + more - 1000  # they waited while it was measured
        assert line.violations()["rate"] <= 2 * UNDER_WAY
