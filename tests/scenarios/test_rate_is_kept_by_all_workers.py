"""The account's recipients per second are kept by all workers together, also when SES says less or may not be asked."""

import itertools
import time
from datetime import datetime

import pytest

from spool.states import Place
from tests.line import UNDER_WAY, Line, wait_until

pytestmark = pytest.mark.processes

OFTEN = {"SLUICE_RELAY_QUOTA_REFRESH_SECONDS": "1"}


def seconds_of(ledger, begun_at, rate, largest_call=1):
    """From the beginning to the last call, once it is sure that at no time more was sent than the rate allows.

    Counted from the beginning: whoever stops for a while is late with its calls, but nobody makes more of them.
    """
    sent = 0
    for entry in ledger:
        sent += len(entry["destinations"])
        seconds = datetime.fromisoformat(entry["accepted_at"]).timestamp() - begun_at
        # Half a second's worth goes at once, and a large call ahead of its time.
        assert sent <= rate * seconds + rate / 2 + largest_call + 1
    return seconds


def test_two_workers_keep_the_rate_of_the_account_and_use_it():
    with Line(SLUICE_RELAY_QUOTA_REFRESH_SECONDS="3600", SLUICE_SIMULATOR_MAX_SEND_RATE="40") as line:
        line.worker()
        line.worker()
        wait_until(lambda: line.route().max_send_rate == 40, "SES has told its rate")
        line.change(max_send_rate=0)  # and refuses nothing: what it accepts is what they sent
        begun_at = time.time()
        ids = [line.submit(1, recipients=size)[0] for size in itertools.islice(itertools.cycle((1, 3, 7, 20, 4)), 40)]
        line.wait_for(ids)
        account = line.account(ids)
        account.assert_clean()
        assert account.by_state == {"sent": 280}
        assert account.duplicates == 0
        outcomes = {one.outcome for message in line.load_all(ids).values() for one in message.attempts}
        assert outcomes == {"accepted"}
        workers = {one.worker for message in line.load_all(ids).values() for one in message.attempts}
        assert len(workers) == 2
        # 280 recipients at 40/s take 7 s; a call of 20 may run ahead of its time, a busy machine lags behind.
        assert 5.9 < seconds_of(line.ledger(), begun_at, 40, largest_call=20) < 30


def test_a_throttled_rate_becomes_lower_and_recovers():
    with Line(**OFTEN, SLUICE_SIMULATOR_MAX_SEND_RATE="50") as line:
        line.worker()
        line.fault("throttle", count=2)
        ids = line.submit(60)
        wait_until(lambda: line.route().factor < 1, "the factor is lower")
        assert line.route().rate < 0.9 * 50
        line.wait_for(ids)
        factor = line.route().factor
        assert factor < 1
        wait_until(lambda: line.route().factor > factor + 0.02, "the factor recovers")
        account = line.account(ids)
        account.assert_clean()
        assert account.duplicates == 0


def test_throttled_mail_is_tried_again_with_few_calls_however_much_waits():
    with Line(**OFTEN, SLUICE_SIMULATOR_MAX_SEND_RATE="50") as line:
        line.worker()
        line.worker()
        line.fault("throttle")
        ids = line.submit(300)
        calls = 0

        def rate_is_low():
            nonlocal calls
            calls = line.faults()[0]["hits"]  # before the look: what comes later is not counted
            return line.route().factor < 0.3

        wait_until(rate_is_low, "the factor is lower")
        assert calls <= 100
        wait_until(lambda: line.route().waiting_messages >= 200, "what is not tried waits")
        line.no_faults()
        line.change(max_send_rate=0)
        line.wait_for(ids)
        account = line.account(ids)
        account.assert_clean()
        assert account.duplicates == 0


def test_where_ses_may_not_be_asked_the_cap_is_used_and_shown():
    with Line(SLUICE_RELAY_MAX_SEND_RATE="12") as line:
        line.change(quota_forbidden=True)
        line.worker()
        begun_at = time.time()
        ids = line.submit(45)
        line.wait_for(ids)
        view = line.route()
        assert "ses:GetSendQuota" in view.quota_error
        assert view.max_send_rate is None
        assert not view.is_fallback
        assert view.rate == pytest.approx(12, rel=0.06)
        line.account(ids).assert_clean()
        # At most half a second's worth, 6, goes at once; the others need (45 - 6) / 12 s.
        assert 3 < seconds_of(line.ledger(), begun_at, 12) < 30


def test_without_a_cap_and_without_an_answer_the_rate_is_a_cautious_one():
    with Line() as line:
        line.change(quota_forbidden=True)
        line.worker()
        ids = line.submit(20)
        line.wait_for(ids)
        view = line.route()
        assert view.is_fallback
        assert view.rate == pytest.approx(14, rel=0.06)
        line.account(ids).assert_clean()


def test_the_cap_of_the_operator_is_kept_below_the_rate_of_the_account():
    with Line(SLUICE_RELAY_MAX_SEND_RATE="15", SLUICE_SIMULATOR_MAX_SEND_RATE="1000") as line:
        line.worker()
        line.worker()
        begun_at = time.time()
        ids = line.submit(50)
        line.wait_for(ids)
        line.account(ids).assert_clean()
        assert 2 < seconds_of(line.ledger(), begun_at, 15) < 30


def test_a_new_rate_of_the_account_is_learned_while_mail_flows():
    with Line(**OFTEN, SLUICE_SIMULATOR_MAX_SEND_RATE="5") as line:
        line.worker()
        ids = line.submit(400)
        line.wait_for(ids, Place.PARKED, Place.DONE)
        line.change(max_send_rate=200)
        line.wait_for(ids)
        line.account(ids).assert_clean()
        wait_until(lambda: line.route().max_send_rate == 200, "the new rate is known")
        assert line.violations()["rate"] <= UNDER_WAY
