"""The recipients of a day end: mail waits, says so, costs no calls, and goes out by itself when there is room again.

The simulator's day has a few seconds here, and SES is asked for its figures every second.
"""

import pytest

from spool.states import RecipientState
from tests.line import Line, wait_until

pytestmark = pytest.mark.processes

SETTINGS = {"SLUICE_RELAY_QUOTA_REFRESH_SECONDS": "1", "SLUICE_SIMULATOR_MAX_SEND_RATE": "40"}


def sent(line, ids):
    return sum(len(message.indexes(RecipientState.SENT)) for message in line.load_all(ids).values())


def test_mail_beyond_the_quota_waits_without_calls_and_goes_out_when_the_window_moves_on():
    with Line(**SETTINGS, SLUICE_SIMULATOR_MAX_24_HOUR_SEND="40") as line:
        line.change(window_seconds=5)
        line.worker()
        line.worker()
        ids = line.submit(90)
        view = wait_until(
            lambda: (found := line.route()).daily_ended and found.waiting_recipients > 0 and found,
            "the quota of the day ends",
        )
        assert view.max_24_hour_send == 40
        assert view.trouble is None
        line.wait_for(ids)
        account = line.account(ids)
        account.assert_clean()
        assert account.by_state == {"sent": 90}
        assert account.duplicates == 0
        # Who asks SES again and again makes hundreds; a busy machine takes in late what SES said of a day of 5 seconds.
        assert line.violations()["daily_quota"] <= 60


def test_what_ses_says_about_the_quota_is_believed_at_once_whatever_its_figures_are():
    # SES's figures, which say that there is room, are asked for once: a later answer would end the belief, and a few
    # calls would try it out.
    with Line(**SETTINGS | {"SLUICE_RELAY_QUOTA_REFRESH_SECONDS": "3600"}) as line:
        line.worker()
        line.worker()
        wait_until(lambda: line.route().fetched_at_ms, "SES has told its figures")
        line.fault("daily_quota")
        ids = line.submit(150)
        wait_until(lambda: line.route().daily_until_ms, "the quota of the day has ended")
        wait_until(lambda: line.route().waiting_messages >= 100, "most of it waits for its turn")
        (fault,) = line.faults()
        view = line.route()
        assert view.sent_last_24_hours < view.daily_limit
        assert fault["hits"] < 50, "calls that were under way when SES said so"
        assert view.daily_until_ms - view.taken_at_ms > 40_000
        line.no_faults()
        line.run(_told_that_there_is_room)
        line.wait_for(ids)
        account = line.account(ids)
        account.assert_clean()
        assert account.duplicates == 0


async def _told_that_there_is_room(spool):
    """What the next answer of GetSendQuota does."""
    seconds, micros = await spool.redis.time()
    await spool.note_quota(
        "default",
        max_send_rate=40,
        max_24_hour_send=50_000,
        sent_last_24_hours=0,
        asked_at_ms=seconds * 1000 + micros // 1000,
    )


def test_mail_of_others_on_the_account_counts():
    with Line(**SETTINGS, SLUICE_SIMULATOR_MAX_24_HOUR_SEND="50") as line:
        line.change(others_sent=40)
        line.worker()
        wait_until(lambda: line.route().fetched_at_ms, "SES has told its figures")
        ids = line.submit(60)
        wait_until(lambda: line.route().daily_ended, "the quota of the day ends")
        assert sent(line, ids) <= 10
        line.change(others_sent=0, max_24_hour_send=1000)
        line.wait_for(ids)
        line.account(ids).assert_clean()
        assert line.violations()["daily_quota"] == 0, "its figures were enough: it had to refuse nothing"


def test_bulk_leaves_the_reserve_of_the_quota_to_express():
    with Line(**SETTINGS, SLUICE_SIMULATOR_MAX_24_HOUR_SEND="40", SLUICE_LANES_SHARES="express=100,bulk=50") as line:
        line.worker()
        line.worker()
        wait_until(lambda: line.route().fetched_at_ms, "SES has told its figures")
        bulk = line.submit(60, lane="bulk", sender="news@example.com")
        wait_until(lambda: sent(line, bulk) >= 20, "bulk has used its share")
        express = line.submit(10, lane="express")
        line.wait_for(express)
        assert sent(line, bulk) == 20
        wait_until(lambda: line.route().lanes["bulk"].recipients == 40, "the rest waits in its lane")
        line.change(max_24_hour_send=1000)
        line.wait_for(bulk)
        account = line.account([*bulk, *express])
        account.assert_clean()
        assert account.duplicates == 0
        assert line.violations()["daily_quota"] == 0
