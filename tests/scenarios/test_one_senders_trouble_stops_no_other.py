"""Calls that fail for one message's sake, whatever SES says of the account, never stop the mail of others."""

import pytest

from spool.states import ACCOUNT_TROUBLE, SES_UNAVAILABLE, Place
from tests.line import UNDER_WAY, Line, wait_until

pytestmark = pytest.mark.processes

SETTINGS = {"SLUICE_RELAY_QUOTA_REFRESH_SECONDS": "1", "SLUICE_SIMULATOR_MAX_SEND_RATE": "40"}
FORBIDDEN = {
    "code": "AccessDenied",
    "status": 403,
    "text": "User `arn:aws:iam::1:user/x' is not authorized to perform `ses:SendRawEmail' on resource "
    "`arn:aws:ses:us-east-1:1:identity/example.com'",
}


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (FORBIDDEN, f"{ACCOUNT_TROUBLE}: AccessDenied"),
        ({"code": "InternalFailure", "status": 500, "text": "x"}, SES_UNAVAILABLE),
        # Even what is always the account's is told by one message only.
        ({"code": "LimitExceeded", "status": 400, "text": "x"}, f"{ACCOUNT_TROUBLE}: LimitExceeded"),
    ],
    ids=["no permission", "its content breaks SES", "of the account"],
)
def test_mail_of_others_goes_on_while_one_sender_is_refused(refusal, reason):
    """Also in the same line: plus addresses share their turns, and the refused ones are the oldest."""
    with Line(**SETTINGS, SLUICE_RELAY_RETRY_MAX_SECONDS="300") as line:
        line.worker()
        line.fault("refuse", match_sender="+bad@", **refusal)
        bad = line.submit(3, sender="app+bad@example.com")
        wait_until(lambda: all(one.attempts for one in line.load_all(bad).values()), "the bad ones were tried")
        for _ in range(3):
            line.wait_for(line.submit(20, sender="app@example.com"), seconds=60)
        assert {one.place for one in line.load_all(bad).values()} <= {Place.PARKED, Place.DUE, Place.LEASED}
        wait_until(lambda: {one.reason for one in line.load_all(bad).values()} == {reason}, "they wait and say why")
        line.no_faults()

        def all_were_released() -> bool:  # not before a call that is under way has ended
            line.run(lambda spool: spool.release(bad))
            return {one.place for one in line.load_all(bad).values()} == {Place.DONE}

        wait_until(all_were_released, "the bad ones are sent")
        assert line.account(bad).by_state == {"sent": 3}


def test_a_permission_that_nobody_has_stops_the_relay_with_few_calls_and_nothing_is_lost():
    messages = 200
    # What waits after the trouble grows older: all of it leaves in a fraction of its longest age.
    with Line(**SETTINGS | {"SLUICE_SIMULATOR_MAX_SEND_RATE": "200"}, SLUICE_RELAY_MAX_AGE_SECONDS="14") as line:
        line.worker()
        line.worker()
        line.fault("refuse", **FORBIDDEN)
        ids = line.submit(messages)
        view = wait_until(lambda: (found := line.route()).trouble and found, "the relay has stopped")
        assert (view.trouble.code, view.trouble.is_account) == ("AccessDenied", True)
        wait_until(lambda: line.route().waiting_messages >= 0.75 * messages, "what made no call waits in its lane")
        assert sum(fault["hits"] for fault in line.faults()) <= messages / 4
        wait_until(lambda: line.route().taken_at_ms - view.trouble.since_ms > 15_000, "all of it is too old")
        line.no_faults()
        line.wait_for(ids, probing="default")
        account = line.account(ids)
        account.assert_clean()
        assert account.by_state == {"sent": messages}
        assert line.violations()["rate"] <= 2 * UNDER_WAY


def test_calls_that_ses_refused_use_none_of_the_daily_quota():
    own = {"SLUICE_RELAY_MAX_24_HOUR_SEND": "40"}
    with Line(**SETTINGS, **own) as line:
        line.change(quota_forbidden=True)
        line.worker()
        line.fault("not_verified", match_sender="bad@")
        bad = line.submit(12, sender="bad@example.com")
        wait_until(lambda: line.faults()[0]["hits"] >= 45, "more calls than the day allows")
        line.wait_for(line.submit(3, sender="good@example.com"))
        assert line.route().sent_last_24_hours <= 3 + len(bad)  # and what is under way
