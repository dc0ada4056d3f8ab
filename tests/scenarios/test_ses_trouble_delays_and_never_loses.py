"""SES throttles, fails, hangs or is away: mail waits and is sent, once, unless a call ended without an answer."""

import time

import pytest

from spool import keys
from spool.states import Place
from tests.line import Line, wait_until

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("fault", ["throttle", "daily_quota", "error_500", "error_503", "paused"])
def test_a_refusal_that_may_pass_delays_mail_and_sends_it_once(fault):
    with Line(SLUICE_RELAY_QUOTA_REFRESH_SECONDS="1") as line:
        line.worker()
        line.fault(fault)
        ids = line.submit(20, recipients=3)
        line.wait_for(ids, Place.PARKED)
        line.no_faults()
        line.wait_for(ids, probing="default" if fault == "paused" else "")
        account = line.account(ids)
        account.assert_clean()
        assert account.by_state["sent"] == 60
        assert account.duplicates == 0
        assert any(event["eventType"] == "sluice:Deferred" for event in line.published())


def test_a_throttled_batch_delays_only_what_is_left_of_its_message():
    with Line() as line:
        line.worker()
        line.fault("throttle", after_calls=1, count=1)
        (message_id,) = line.submit(1, recipients=120)
        line.wait_for([message_id])
        message = line.load(message_id)
        assert [(one.outcome, len(one.recipients)) for one in message.attempts] == [
            ("accepted", 50),
            ("throttled", 50),
            ("accepted", 50),
            ("accepted", 20),
        ]
        account = line.account([message_id])
        account.assert_clean()
        assert account.duplicates == 0


def test_refused_connections_delay_mail_until_ses_is_back():
    with Line() as line:
        line.worker()
        line.stop_simulator()
        ids = line.submit(50)
        line.wait_for(ids, Place.PARKED)
        made = [one.outcome for message in line.load_all(ids).values() for one in message.attempts]
        assert set(made) == {"unavailable"}
        assert len(made) < 50, "after five in a row only probes are made"
        line.start_simulator()
        line.wait_for(ids)
        account = line.account(ids)
        account.assert_clean()
        assert account.duplicates == 0


def test_a_call_that_ends_without_an_answer_is_repeated_and_doubles_its_batch_only():
    with Line() as line:
        line.worker()
        for fault in ("close_after", "cut_answer", "html_200"):
            line.no_faults()
            line.fault(fault, count=1)
            ids = line.submit(3, recipients=4)
            line.wait_for(ids)
            account = line.account(ids)
            account.assert_clean()
            assert account.duplicates == 4, fault
            outcomes = sorted(one.outcome for message in line.load_all(ids).values() for one in message.attempts)
            assert outcomes == ["accepted", "accepted", "accepted", "unknown"], fault


# One call and no more: every other one may take its time.
IMPATIENT = {
    "SLUICE_RELAY_CALL_TIMEOUT_SECONDS": "1",
    "SLUICE_RELAY_RETRY_FIRST_SECONDS": "600",
    "SLUICE_RELAY_RETRY_MAX_SECONDS": "600",
}


def test_a_call_whose_answer_never_comes_is_repeated_and_doubles_its_batch_only():
    with Line() as line:
        impatient = line.worker(**IMPATIENT)
        line.fault("hang_after", count=1)
        ids = line.submit(1, recipients=4)
        line.wait_for(ids, Place.PARKED)
        impatient.stop()
        copies = len(line.ledger())  # none, where SES was slower than the worker is patient
        line.no_faults()
        ids += line.submit(2, recipients=4)
        line.worker()
        line.run(lambda spool: spool.release(ids))
        line.wait_for(ids)
        account = line.account(ids)
        account.assert_clean()
        assert account.duplicates == 4 * copies
        outcomes = sorted(one.outcome for message in line.load_all(ids).values() for one in message.attempts)
        assert outcomes == ["accepted", "accepted", "accepted", "unknown"]


def test_calls_whose_answers_are_lost_stop_after_a_few_and_go_on_when_they_come_again():
    under_way = 4
    with Line(SLUICE_WORKER_CONCURRENT_CALLS=str(under_way), SLUICE_RELAY_RETRY_FIRST_SECONDS="0.1") as line:
        line.worker()
        line.fault("close_after")
        ids = line.submit(40)
        wait_until(lambda: line.route().trouble, "the route stops")
        begun_at = time.monotonic()
        wait_until(lambda: time.monotonic() > begun_at + 5, "probes were made")
        trouble = line.route().trouble
        assert not trouble.is_account
        assert "end without an answer" in trouble.words
        copies = len(line.ledger())
        assert copies <= 5 + 2 * under_way + 4, "probes after 1, 2 and 4 seconds, and perhaps one more"
        line.no_faults()
        line.wait_for(ids)
        account = line.account(ids)
        account.assert_clean()
        assert account.duplicates <= copies + 4


def test_with_policy_hold_a_call_without_an_answer_is_held_and_sent_again_only_by_the_operator():
    with Line(SLUICE_RELAY_UNKNOWN="hold") as line:
        impatient = line.worker(**IMPATIENT)
        line.fault("hang_before", count=1)
        (message_id,) = line.submit(1, recipients=2)
        line.wait_for([message_id], Place.HELD)
        assert line.load(message_id).reason == "in doubt: sent or not"
        impatient.stop()
        line.no_faults()
        assert line.ledger() == []
        line.worker()
        line.run(lambda spool: spool.release([message_id]))
        line.wait_for([message_id])
        line.account([message_id]).assert_clean()
        assert len(line.ledger()) == 1


def test_a_refused_message_is_bounced_to_its_sender_once_and_the_rest_is_sent():
    with Line() as line:
        line.worker()
        line.fault("reject", match_recipient="r55.")
        (message_id,) = line.submit(1, recipients=60)
        line.wait_for([message_id])
        wait_until(lambda: _bounces(line), "the bounce is sent")
        account = line.account([message_id])
        account.assert_clean()
        assert account.by_state == {"sent": 59, "rejected": 1}
        (bounce,) = _bounces(line)
        raw = line.http("GET", f"/messages/{bounce['ses_message_id']}").decode()
        assert "Content-Type: multipart/report; report-type=delivery-status" in raw
        assert raw.count("Final-Recipient:") == raw.count("Final-Recipient: rfc822; r55.") == 1
        assert "Auto-Submitted: auto-replied" in raw


def _bounces(line):
    return [entry for entry in line.ledger() if entry["destinations"] == ["app@example.com"]]


def test_a_refused_bounce_makes_no_bounce_of_its_own():
    with Line() as line:
        line.worker()
        line.fault("reject")
        (message_id,) = line.submit(1)
        line.wait_for([message_id])
        wait_until(lambda: line.run(_counter(b"rejected_recipients")) == 2, "the bounce is refused as well")
        line.no_faults()
        (other,) = line.submit(1)
        line.wait_for([other])
        assert len(line.ledger()) == 1
        assert line.run(_counter(b"bounces_made")) == 1


def test_a_message_that_is_too_old_expires_and_is_bounced():
    with Line(SLUICE_RELAY_MAX_AGE_SECONDS="600") as line:
        line.worker()
        line.fault("throttle", match_recipient="r0.")
        (message_id,) = line.submit(1)
        wait_until(lambda: line.load(message_id).attempts, "it was tried")
        line.run(lambda spool: spool.redis.hincrby(keys.message_key(message_id), "at", -3_600_000))  # an hour ago
        line.wait_for([message_id])
        account = line.account([message_id])
        assert account.by_state == {"expired": 1}
        wait_until(line.ledger, "the bounce is sent")
        (bounce,) = line.ledger()
        assert bounce["destinations"] == ["app@example.com"]
        report = line.http("GET", f"/messages/{bounce['ses_message_id']}")
        assert b"Subject:" in report.partition(b"text/rfc822-headers")[2], "the original's"
        wait_until(
            lambda: any(event["eventType"] == "sluice:Expired" for event in line.published()), "the event is published"
        )


def _counter(name):
    async def read(spool):
        return int(await spool.redis.hget("{ms}:counters", name) or 0)

    return read
