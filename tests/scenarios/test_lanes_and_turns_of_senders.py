"""Express before bulk, senders in turns, and the order of a sender's mail: seen by the order of SES's calls."""

import pytest

from spool.states import Place
from tests.line import UNDER_WAY, Line, wait_until

pytestmark = pytest.mark.processes

SETTINGS = {"SLUICE_RELAY_QUOTA_REFRESH_SECONDS": "1", "SLUICE_LANES_SHARES": "express=100,bulk=80"}


def finish_quickly(line, ids):
    """What is left goes out without a limit; then the books."""
    line.change(max_send_rate=0)
    line.wait_for(ids)
    account = line.account(ids)
    account.assert_clean()
    assert account.duplicates == 0


def sent_after(line, first, others):
    """How many of the others SES took after the first."""
    order = line.sent_messages()
    wanted = set(others)
    return sum(1 for one in order[order.index(first) + 1 :] if one in wanted)


def test_express_overtakes_the_bulk_that_waits():
    with Line(**SETTINGS, SLUICE_SIMULATOR_MAX_SEND_RATE="5") as line:
        line.worker()
        line.worker()
        bulk = line.submit(400, lane="bulk", sender="news@example.com")
        wait_until(lambda: line.route().lanes["bulk"].messages >= 300, "bulk waits")
        (express,) = line.submit(1, lane="express")
        line.wait_for([express])
        assert line.violations()["rate"] <= 2 * UNDER_WAY
        finish_quickly(line, [*bulk, express])
        assert sent_after(line, express, bulk) >= 200


def test_large_messages_go_into_the_last_lane_by_setting():
    with Line(**SETTINGS, SLUICE_SIMULATOR_MAX_SEND_RATE="10", SLUICE_LANES_LARGE_RECIPIENTS="10") as line:
        line.worker()
        large = line.submit(20, recipients=30)
        wait_until(lambda: line.route().lanes["bulk"].messages >= 15, "large messages wait in the last lane")
        (small,) = line.submit(1)
        line.wait_for([small])
        finish_quickly(line, [*large, small])
        assert sent_after(line, small, large) >= 10


def test_a_sender_of_much_mail_does_not_delay_the_one_mail_of_another():
    with Line(**SETTINGS, SLUICE_SIMULATOR_MAX_SEND_RATE="5") as line:
        line.worker()
        line.worker()
        much = line.submit(300, sender="news@example.com")
        wait_until(lambda: line.route().lanes["express"].messages >= 200, "most of it waits")
        (one,) = line.submit(1, sender="person@example.com")
        line.wait_for([one])
        finish_quickly(line, [*much, one])
        assert sent_after(line, one, much) >= 120


def test_the_order_of_a_senders_mail_is_kept_within_a_second():
    with Line(**SETTINGS, SLUICE_SIMULATOR_MAX_SEND_RATE="20") as line:
        line.worker()
        line.worker()
        before = line.submit(100, sender="app@example.com")
        wait_until(lambda: line.route().lanes["express"].messages >= 10, "the lane is not empty")
        ids = [line.submit(1, sender="app@example.com")[0] for _ in range(60)]
        line.wait_for([*before, *ids])
        line.account([*before, *ids]).assert_clean()
        order = [one for one in line.sent_messages() if one in set(ids)]
        # Messages that are released together race each other: never more than a second's worth of them, but for what a
        # worker had taken that then stood still for a while. Without any order it would be about half of all.
        places = {one: order.index(one) for one in ids}
        assert sum(abs(places[one] - number) > 20 for number, one in enumerate(ids)) <= len(ids) / 6


def test_mail_that_waits_is_parked_and_says_what_it_waits_for():
    with Line(**SETTINGS, SLUICE_SIMULATOR_MAX_SEND_RATE="2") as line:
        line.worker()
        ids = line.submit(40)
        line.wait_for(ids, Place.PARKED, Place.DONE)
        parked = [one for one in line.load_all(ids).values() if one.place is Place.PARKED]
        assert len(parked) >= 20
        assert {one.reason for one in parked} == {"waits for its turn"}
        finish_quickly(line, ids)
