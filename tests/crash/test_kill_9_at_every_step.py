"""A process dies at each named step of a message's way; another goes on and the books agree."""

import signal
import smtplib
import time
from pathlib import Path

import pytest

from config.failpoints import FAILPOINTS
from spool import operator
from spool.states import Place
from tests.line import Line, wait_until

# Those of judge need rules: test_kill_9_between_fates.py.
WORKER_STEPS = [name for name in FAILPOINTS if not name.startswith(("commit.", "gateway.", "feedback.", "judge."))]
# Only where SES had answered and nobody had written it down may a recipient get two copies.
MAY_DOUBLE = {"relay.after_call", "relay.after_outcome"}

pytestmark = pytest.mark.processes

# A worker that only stands still for a while keeps what it has, and its calls: either end would be a copy more, or one
# crash. A worker that dies gives its leases back at once (wait_for_death).
PATIENT = {"SLUICE_WORKER_LEASE_SECONDS": "90", "SLUICE_RELAY_CALL_TIMEOUT_SECONDS": "60"}


@pytest.mark.parametrize("step", [name for name in WORKER_STEPS if name != "tell.before_bounce"])
def test_a_worker_killed_at_a_step_loses_nothing(step):
    with Line(**PATIENT) as line:
        ids = line.submit(1, recipients=60)  # one message: others could be in a call at that moment
        doomed = line.worker(failpoints=f"{step}=kill")
        line.wait_for_death(doomed, step)
        assert doomed.process.returncode == -signal.SIGKILL
        line.worker()
        line.wait_for(ids)
        account = line.account(ids)
        account.assert_clean()
        assert account.by_state["sent"] == 60
        if step not in MAY_DOUBLE:
            assert account.duplicates == 0
        assert account.duplicates <= 50


def test_a_worker_killed_before_the_bounce_makes_exactly_one_bounce():
    with Line(**PATIENT) as line:
        line.fault("reject", match_recipient="r0.")
        (message_id,) = line.submit(1)
        doomed = line.worker(failpoints="tell.before_bounce=kill")
        line.wait_for_death(doomed, "tell.before_bounce")
        line.worker()
        line.wait_for([message_id])
        wait_until(line.ledger, "the bounce is sent")
        line.submit(1)  # refused and bounced as well: when that is done, a second bounce of the first would be there
        wait_until(lambda: len(line.ledger()) > 1, "the second message's bounce is sent")
        assert [entry["destinations"] for entry in line.ledger()] == [["app@example.com"]] * 2


def test_repeated_kills_of_every_worker_end_with_everything_sent():
    with Line(**PATIENT, SLUICE_WORKER_MAX_CRASHES="100") as line:
        ids = line.submit(120, recipients=2)
        for step in ("worker.after_claim", "relay.after_intent", "relay.after_call"):
            doomed = line.worker(failpoints=f"{step}=kill")
            line.wait_for_death(doomed, step)
        line.worker()
        line.wait_for(ids)
        account = line.account(ids)
        account.assert_clean()
        assert account.by_state["sent"] == 240


@pytest.mark.parametrize(
    ("step", "is_answered"),
    [("commit.before", False), ("commit.after", False), ("gateway.after_reply", True)],
)
def test_a_gateway_killed_at_a_step_never_loses_an_answered_mail(step, is_answered):
    with Line(**PATIENT) as line:
        doomed = line.gateway(failpoints=f"{step}=kill")
        answered = []
        try:
            answered.append(line.send_mail(["one@example.net"]))
        except (smtplib.SMTPException, OSError, AssertionError):
            assert not is_answered
        wait_until(lambda: not doomed.is_running(), f"the gateway dies at {step}")
        line.worker()
        line.gateway()
        answered.append(line.send_mail(["two@example.net"]))
        line.wait_for(answered)
        account = line.account(answered)
        account.assert_clean()
        assert account.duplicates == 0
        addresses = [address for entry in line.ledger() for address in entry["destinations"]]
        assert addresses.count("two@example.net") == 1
        if step == "commit.before":
            assert "one@example.net" not in addresses
        else:  # safe before the answer: sent, whether or not the client heard so
            wait_until(
                lambda: any("one@example.net" in entry["destinations"] for entry in line.ledger()), "the mail is sent"
            )


def test_a_mail_with_a_key_that_comes_again_after_a_kill_is_sent_once():
    content = b"X-Sluice-Idempotency-Key: order-1\r\nSubject: hello\r\n\r\nHello.\r\n"
    with Line(**PATIENT) as line:
        doomed = line.gateway(failpoints="commit.after=kill")
        with pytest.raises((smtplib.SMTPException, OSError, AssertionError)):
            line.send_mail(["one@example.net"], content)
        wait_until(lambda: not doomed.is_running(), "the gateway dies before it could answer")
        line.worker()
        line.gateway()
        first = line.send_mail(["one@example.net"], content)
        line.wait_for([first])
        assert line.send_mail(["one@example.net"], content) == first
        other = line.send_mail(["two@example.net"], content)
        line.wait_for([other])
        assert [entry["destinations"] for entry in line.ledger()] == [["one@example.net"], ["two@example.net"]]
        account = line.account([first, other])
        account.assert_clean()
        assert account.duplicates == 0


@pytest.mark.parametrize("step", ["worker.after_claim", "relay.before_intent", "relay.after_intent"])
def test_a_frozen_worker_that_comes_back_after_its_lease_sends_nothing(step):
    with Line(**PATIENT) as line:
        ids = line.submit(3)
        frozen = line.worker(failpoints=f"{step}=stop*1", SLUICE_WORKER_LEASE_SECONDS="3")
        wait_until(lambda: _is_stopped(frozen.pid), f"the worker stops at {step}")
        line.worker()
        line.wait_for(ids)
        frozen.send(signal.SIGCONT)
        wait_until(
            lambda: any(one["event"] == "message.lease_lost" for one in frozen.events()), "it notices that it came late"
        )
        more = line.submit(5)
        line.wait_for(more)
        line.account([*ids, *more]).assert_clean()
        assert line.account(ids).duplicates == 0


def test_a_message_that_makes_a_step_raise_is_held_and_others_are_unharmed():
    with Line(**PATIENT, SLUICE_WORKER_MAX_FAILURES="3") as line:
        worker = line.worker(failpoints="relay.before_intent=raise*3")
        (poison,) = line.submit(1)
        line.wait_for([poison], Place.HELD)
        others = line.submit(20)
        line.wait_for(others)
        message = line.load(poison)
        assert message.failures == 3
        assert message.reason == "step relay failed: Failpoint"
        assert worker.is_running()
        line.account([poison, *others]).assert_clean()


def test_a_message_that_kills_its_workers_is_held_after_max_crashes():
    with Line(**PATIENT, SLUICE_WORKER_MAX_CRASHES="2") as line:
        (poison,) = line.submit(1)
        for _ in range(2):
            doomed = line.worker(failpoints="worker.after_claim=kill")
            line.wait_for_death(doomed, "worker.after_claim")
        line.worker()
        line.wait_for([poison], Place.HELD)
        assert line.load(poison).reason == "workers lost"
        others = line.submit(5)
        line.wait_for(others)
        line.account([poison, *others]).assert_clean()


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize("step", [name for name in WORKER_STEPS if name.startswith(("relay.", "tell."))])
def test_a_step_that_raises_forgets_no_answer_of_ses(step):
    with Line(**PATIENT) as line:
        line.worker(failpoints=f"{step}=raise*2")
        line.fault("reject", match_recipient="r55.")
        (message_id,) = line.submit(1, recipients=60)
        line.wait_for([message_id])
        account = line.account([message_id])
        account.assert_clean()
        assert account.by_state == {"sent": 59, "rejected": 1}
        if step != "relay.after_intent":  # there the call had not been made, which nobody can know
            assert account.duplicates == 0
        assert account.duplicates <= 50


def test_a_paused_account_delays_mail_beyond_its_age_and_bounces_nothing():
    with Line(**PATIENT) as line:
        patient = line.worker()
        line.fault("paused")
        began_at = time.monotonic()
        ids = line.submit(3)
        line.wait_for(ids, Place.PARKED)
        patient.stop()
        line.worker(SLUICE_RELAY_MAX_AGE_SECONDS="2")  # so that none is too old before the account is known as paused
        wait_until(lambda: line.route().taken_at_ms > line.load(ids[-1]).accepted_at_ms + 2500, "all are too old")
        line.run(lambda spool: operator.probe_now(spool.redis, "default"))
        wait_until(lambda: _calls(line, ids) >= 4, "the first probe")
        calls, seconds = _calls(line, ids), time.monotonic() - began_at
        line.no_faults()
        line.wait_for(ids, probing="default")
        account = line.account(ids)
        account.assert_clean()
        assert account.by_state == {"sent": 3}
        assert len(line.ledger()) == 3
        assert calls <= 5 + seconds / 5, "only probes are made"


def _calls(line, ids):
    return sum(len(one.attempts) for one in line.load_all(ids).values())
