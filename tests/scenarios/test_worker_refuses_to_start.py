"""A worker that could do harm says why in one line and ends with 1; one whose server is away waits for it."""

import pytest

from tests.line import Line, wait_until

pytestmark = pytest.mark.processes


def refusal(line: Line, **settings: str) -> str:
    worker = line.start("worker", wait=False, **settings)
    assert worker.process.wait(60) == 1
    (reason,) = [event["reason"] for event in worker.events() if event["event"] == "worker.refused"]
    assert "Traceback" not in worker.log()
    return str(reason)


def test_confirm_without_a_source_of_events_is_refused():
    with Line() as line:
        assert "unknown = confirm needs SES's own events" in refusal(line, SLUICE_RELAY_UNKNOWN="confirm")


def test_the_spool_of_another_environment_is_refused_and_its_mail_is_not_touched():
    with Line(SLUICE_SPOOL_ENVIRONMENT="production") as line:
        line.worker().stop()
        ids = line.submit(3)
        assert "belongs to the environment production" in refusal(line, SLUICE_SPOOL_ENVIRONMENT="staging")
        assert line.ledger() == []
        line.worker()
        line.wait_for(ids)
        line.account(ids).assert_clean()


def test_a_worker_whose_server_is_away_at_its_start_works_as_soon_as_it_answers():
    with Line() as line:
        line.redis.stop()
        worker = line.start("worker", wait=False)
        wait_until(lambda: any(event["event"] == "worker.started" for event in worker.events()), "the worker is up")
        line.redis.start()
        ids = line.submit(3)
        line.wait_for(ids)
        line.account(ids).assert_clean()


def test_a_grace_that_is_shorter_than_a_call_is_told():
    with Line() as line:
        worker = line.worker(SLUICE_WORKER_SHUTDOWN_GRACE_SECONDS="2", SLUICE_RELAY_CALL_TIMEOUT_SECONDS="5")
        wait_until(lambda: any(event["event"] == "worker.grace_short" for event in worker.events()), "it is told")
