"""Trouble of the whole account, or no way to SES: the relay stops with few calls, says why, and goes on by itself."""

import json
import urllib.error
import urllib.request

import pytest

from spool.states import Place
from tests.line import UNDER_WAY, Line, wait_until
from tests.servers import free_port

pytestmark = pytest.mark.processes

SETTINGS = {
    "SLUICE_RELAY_QUOTA_REFRESH_SECONDS": "1",
    "SLUICE_SIMULATOR_MAX_SEND_RATE": "40",
    "SLUICE_WORKER_CONCURRENT_CALLS": "8",
}
MESSAGES = 120


def refused_calls(line):
    figures = line.violations()
    return figures["paused"] + figures["other_refusals"]


def health(port):
    """Status and problems of GET /healthz."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=20) as answer:
            return answer.status, json.load(answer)["problems"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["problems"]


TROUBLES = (
    (
        {"account_state": "paused"},
        {"account_state": "running"},
        "AccountSendingPausedException",
        "the account's owner paused sending",
    ),
    (
        {"account_state": "paused_by_aws"},
        {"account_state": "running"},
        "MessageRejected",
        "AWS paused sending of this account",
    ),
    ({"account_state": "suspended"}, {"account_state": "running"}, "MessageRejected", "AWS suspended this account"),
    (
        {"configuration_sets": ["other"]},
        {"configuration_sets": []},
        "ConfigurationSetDoesNotExist",
        "check ses_configuration_set",
    ),
    ({"expired_token": True}, {"expired_token": False}, "ExpiredToken", "the temporary credentials have expired"),
)


def test_an_account_in_trouble_gets_few_calls_and_all_its_mail_when_it_is_well_again():
    api_port = free_port()
    with Line(**SETTINGS, SLUICE_RELAY_SES_CONFIGURATION_SET="news", SLUICE_API_PORT=str(api_port)) as line:
        line.worker()
        line.worker()
        line.start("api")
        everything = []
        for trouble, well, code, words in TROUBLES:
            is_first = not everything
            refused_before = refused_calls(line)
            line.change(**trouble)
            ids = line.submit(MESSAGES)
            everything += ids
            view = wait_until(lambda: (found := line.route()).trouble and found, f"the relay has stopped: {code}")
            assert view.trouble.is_account
            # Those whose own calls were refused wait each by itself, the others in the line.
            wait_until(lambda: line.route().waiting_messages >= 0.75 * MESSAGES, "nearly all of it waits")
            # What was under way when SES first said no, and probes: not one for each message.
            assert refused_calls(line) - refused_before <= MESSAGES / 4
            assert {one.place for one in line.load_all(ids).values()} <= {Place.PARKED, Place.LEASED, Place.DUE}
            status, (problem,) = health(api_port)
            assert status == 503
            assert problem.startswith(f"Route default: SES refuses the account, {code}: ")
            assert words in problem
            line.change(**well)
            line.wait_for(ids, probing="" if is_first else "default")  # once by itself
            wait_until(lambda: health(api_port) == (200, []), "the trouble is over, also for /healthz")
        account = line.account(everything)
        account.assert_clean()
        assert account.by_state == {"sent": len(everything)}
        assert account.duplicates == 0
        assert line.violations()["rate"] <= 2 * UNDER_WAY


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
        assert view.trouble.words.startswith("SES cannot be reached: ")
        # Those whose own calls were refused wait each by itself, the others in the line.
        wait_until(lambda: line.route().waiting_messages >= 0.75 * MESSAGES, "nearly all of it waits")
        attempts = [one for message in line.load_all(ids).values() for one in message.attempts]
        assert {one.outcome for one in attempts} == {"unavailable"}
        assert len(attempts) <= MESSAGES / 4
        line.start_simulator()
        line.wait_for(ids)
        account = line.account([first, *ids])
        account.assert_clean()
        assert account.duplicates == 0
