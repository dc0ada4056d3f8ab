import pytest

from spool.sending_quota import Seat
from spool.states import AWAITS_FUNCTION, IN_LANE, NO_ROUTE, PAUSED_DOMAIN
from worker.relay.delays import Wait, merged
from worker.work import Delay

EXPRESS, BULK = Seat("a", "express", "s"), Seat("a", "bulk", "s")
OTHER = Seat("b", "express", "s")
LANE = Delay("lane", IN_LANE)
FUNCTION = Delay("parked", AWAITS_FUNCTION, after_seconds=7.0)
TROUBLE = Delay("parked", "SES unavailable", "SES unavailable", longest_seconds=300.0)


def merge(*waits, closed=()):
    def rank(seat):
        return seat.route != "a", seat.lane in closed, ["express", "bulk"].index(seat.lane)

    return merged(waits, lambda delay: 30.0 if delay.after_seconds is None else delay.after_seconds, rank)


@pytest.mark.parametrize("delay", [LANE, FUNCTION, TROUBLE, Delay("held", NO_ROUTE), Delay("due", "stop")])
def test_one_wait_stays_as_it_is(delay):
    assert merge(Wait(delay, EXPRESS, 3)) == Wait(delay, EXPRESS, 3)


def test_a_lane_and_a_function_wake_at_the_earlier():
    found = merge(Wait(LANE, BULK, 3), Wait(FUNCTION))
    assert found == Wait(Delay("lane", IN_LANE, after_seconds=7.0), BULK, 3)


def test_of_two_lanes_of_a_route_the_message_stands_in_the_one_served_first():
    assert merge(Wait(LANE, BULK, 3), Wait(LANE, EXPRESS, 2)) == Wait(LANE, EXPRESS, 2)


def test_of_two_lanes_of_a_route_a_closed_one_keeps_no_mail_of_the_other_and_is_looked_at_again():
    found = merge(Wait(LANE, BULK, 3), Wait(LANE, EXPRESS, 2), closed=["express"])
    assert found == Wait(Delay("lane", IN_LANE, after_seconds=600.0), BULK, 3)
    both = merge(Wait(LANE, BULK, 3), Wait(LANE, EXPRESS, 2), closed=["express", "bulk"])
    assert both == Wait(LANE, EXPRESS, 2)


def test_recipients_of_parts_in_the_same_lane_want_their_turn_together():
    assert merge(Wait(LANE, BULK, 3), Wait(LANE, BULK, 2)) == Wait(LANE, BULK, 5)


def test_lanes_of_two_routes_are_looked_at_again_soon():
    found = merge(Wait(LANE, OTHER, 3), Wait(LANE, BULK, 2))
    assert found == Wait(Delay("lane", IN_LANE, after_seconds=60.0), BULK, 2)


def test_trouble_of_one_route_and_a_turn_of_another_say_why_and_wait_for_the_turn():
    found = merge(Wait(TROUBLE, OTHER, 3), Wait(LANE, BULK, 2))
    assert found == Wait(Delay("lane", IN_LANE, told="SES unavailable", after_seconds=30.0), BULK, 2)


def test_of_two_that_are_parked_the_earlier_counts_and_keeps_its_own_distance():
    assert merge(Wait(TROUBLE, OTHER, 3), Wait(FUNCTION)).delay == Delay(
        "parked", AWAITS_FUNCTION, "SES unavailable", after_seconds=7.0
    )
    late = Delay("parked", AWAITS_FUNCTION, after_seconds=90.0)
    assert merge(Wait(TROUBLE, OTHER, 3), Wait(late)).delay == TROUBLE


def test_a_paused_domain_keeps_its_reason_so_that_who_resumes_it_finds_its_messages():
    paused = Delay("parked", PAUSED_DOMAIN, after_seconds=3600.0)
    assert merge(Wait(paused, EXPRESS, 1), Wait(FUNCTION)).delay == Delay("parked", PAUSED_DOMAIN, after_seconds=7.0)


def test_nobody_is_held_while_something_else_can_be_waited_for():
    assert merge(Wait(Delay("held", NO_ROUTE), None, 1), Wait(FUNCTION)).delay == FUNCTION


def test_a_worker_that_stops_gives_everything_back_at_once():
    stopping = Wait(Delay("due", "worker stopping"), EXPRESS, 1)
    assert merge(Wait(LANE, BULK, 3), stopping) == stopping
