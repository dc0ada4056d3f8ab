"""A server that is a replica for a while refuses commands: workers connect anew until it takes them, and go on."""

import time

import pytest

from tests.line import Line, wait_until

pytestmark = pytest.mark.processes


def test_a_worker_outlives_a_server_that_is_a_replica_for_a_while():
    with Line(SLUICE_SIMULATOR_MAX_SEND_RATE="0") as line:
        worker = line.worker()
        line.wait_for(line.submit(3))
        line.redis.call("REPLICAOF", "127.0.0.1", "1")
        begun_at = time.monotonic()
        wait_until(lambda: time.monotonic() > begun_at + 2, "every loop of the worker has met it")
        line.redis.call("REPLICAOF", "NO", "ONE")
        ids = line.submit(10)
        line.wait_for(ids)
        assert worker.is_running()
        line.account(ids).assert_clean()
