"""Trouble of the whole account, or no way to SES: the relay stops with few calls, says why, and goes on by itself."""

import pytest

from spool.states import Place
from tests.line import Line, wait_until

pytestmark = pytest.mark.processes

SETTINGS = {"SLUICE_RELAY_QUOTA_REFRESH_SECONDS": "1", "SLUICE_SIMULATOR_MAX_SEND_RATE": "40"}
MESSAGES = 200


def refused_calls(line):
    figures = line.violations()
    return figures["paused"] + figures["other_refusals"]


@pytest.mark.parametrize(
    ("trouble", "well"),
    [
        ({"account_state": "paused"}, {"account_state": "running"}),
        ({"account_state": "suspended"}, {"account_state": "running"}),
        ({"expired_token": True}, {"expired_token": False}),
    ],
    ids=["paused", "suspended", "expired credentials"],
)
def test_an_account_in_trouble_gets_few_calls_and_all_its_mail_when_it_is_well_again(trouble, well):
    with Line(**SETTINGS) as line:
        line.worker()
        line.worker()
        line.change(**trouble)
        ids = line.submit(MESSAGES)
        view = wait_until(lambda: (found := line.route()).trouble and found, "the relay has stopped")
        assert view.trouble.is_account
        assert view.trouble.words
        wait_until(lambda: line.route().waiting_messages >= 0.9 * MESSAGES, "nearly all of it waits")
        # What was under way when SES first said no, and probes: not one for each message.
        assert refused_calls(line) <= MESSAGES / 4
        assert {one.place for one in line.load_all(ids).values()} <= {Place.PARKED, Place.LEASED, Place.DUE}
        line.change(**well)
        line.wait_for(ids)
        wait_until(lambda: line.route().trouble is None, "the trouble is over")
        account = line.account(ids)
        account.assert_clean()
        assert account.by_state == {"sent": MESSAGES}
        assert account.duplicates == 0
        assert line.violations()["rate"] == 0


def test_where_ses_cannot_be_reached_few_calls_are_tried_and_mail_goes_out_when_it_is_back():
    with Line(**SETTINGS) as line:
        line.worker()
        line.worker()
        (first,) = line.submit(1)
        line.wait_for([first])
        line.stop_simulator()
        ids = line.submit(MESSAGES)
        view = wait_until(lambda: (found := line.route()).trouble and found, "the relay has stopped")
        assert not view.trouble.is_account
        wait_until(lambda: line.route().waiting_messages >= 0.9 * MESSAGES, "nearly all of it waits")
        attempts = [one for message in line.load_all(ids).values() for one in message.attempts]
        assert {one.outcome for one in attempts} == {"unavailable"}
        assert len(attempts) <= MESSAGES / 4
        line.start_simulator()
        line.wait_for(ids)
        account = line.account([first, *ids])
        account.assert_clean()
        assert account.duplicates == 0
