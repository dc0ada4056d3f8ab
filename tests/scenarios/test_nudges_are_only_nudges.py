"""Nudges that are doubled, lost or flushed away change nothing but the moment."""

import signal
import time

import pytest

from spool.states import Place
from tests.line import Line, wait_until

pytestmark = pytest.mark.processes


def test_doubled_nudges_send_once():
    with Line() as line:
        ids = line.submit(20, nudge=False)
        line.nudge(ids, times=20)
        line.worker()
        line.worker()
        line.wait_for(ids)
        line.nudge(ids, times=5)
        more = line.submit(1)
        line.wait_for(more)
        account = line.account([*ids, *more])
        account.assert_clean()
        assert account.duplicates == 0


def test_a_lost_nudge_costs_seconds_only():
    with Line(SLUICE_WORKER_SWEEP_SECONDS="1") as line:
        line.worker()
        started = time.monotonic()
        ids = line.submit(10, nudge=False)
        line.wait_for(ids)
        assert time.monotonic() - started < 40  # two seconds on an idle machine; the figure is in bench
        line.account(ids).assert_clean()


def test_a_worker_that_is_told_to_stop_finishes_its_calls_and_leaves_the_rest_to_others():
    # All of them would take it 25 seconds: it has not sent the last when it is told.
    with Line(SLUICE_SIMULATOR_LATENCY_SECONDS="0.5", SLUICE_WORKER_CONCURRENT_CALLS="4") as line:
        busy = line.worker()
        ids = line.submit(200)
        wait_until(line.ledger, "the first mails are sent")
        busy.send(signal.SIGTERM)
        assert busy.process.wait(60) == 0
        places = {message.place for message in line.load_all(ids).values()}
        assert places == {Place.DONE, Place.DUE}
        line.change(latency_seconds=0)
        line.worker()
        line.wait_for(ids)
        account = line.account(ids)
        account.assert_clean()
        assert account.duplicates == 0


def test_redis_restarted_and_killed_under_load_loses_and_doubles_nothing():
    with Line(SLUICE_SIMULATOR_LATENCY_SECONDS="0.05") as line:
        worker = line.worker()
        ids = []
        for round_number in range(4):
            ids += line.submit(60, recipients=2)
            if round_number % 2:
                line.redis.restart()
            else:
                line.redis.kill()
                line.redis.start()
        wait_until(lambda: worker.is_running() or line.worker(), "a worker runs")
        line.wait_for(ids)
        account = line.account(ids)
        account.assert_clean()
        assert account.duplicates == 0
