"""What a process knows of its routes between two looks of the gate."""

import pytest

from config.settings import Settings
from spool.sending_quota import Gate, LaneView, Pause, RouteView, Seat, Trouble
from tests.unit.worker.stand import AnsweringSes
from worker.relay.routes import Routes

TWO = {"first": {"max_send_rate": 5, "ses_configuration_set": "own"}, "second": {}}


def routes(**sections):
    settings = Settings.model_validate({"routes": TWO, **sections})
    return Routes(settings, new_client=lambda _: AnsweringSes())


def troubled(name, *, since_ms=0, taken_at_ms, probe_at_ms=1_000_000):
    trouble = Trouble("AccountSendingPaused", "paused", since_ms, probe_at_ms, is_account=True)
    return RouteView(name, trouble=trouble, taken_at_ms=taken_at_ms)


def saw(ways, *views, pauses=()):
    ways.saw(Gate((), 1000, {view.name: view for view in views}, pauses))


def test_without_routes_in_the_settings_there_is_one_made_of_relay():
    ways = Routes(Settings.model_validate({"relay": {"max_send_rate": 9}}), new_client=lambda _: AnsweringSes())
    assert ways.names == ("default",)
    assert ways.limits("default").max_send_rate == 9


def test_a_route_takes_over_what_it_does_not_say_itself():
    ways = routes(relay={"max_send_rate": 9, "ses_configuration_set": "common"}, lanes={"shares": {"express": 100}})
    assert [ways.limits(name).max_send_rate for name in ways.names] == [5, 9]
    assert [ways.settings(name).ses_configuration_set for name in ways.names] == ["own", "common"]
    assert [limits.lanes for limits in ways.all_limits] == [(("express", 100),)] * 2


def test_each_route_has_a_client_of_its_own():
    ways = routes()
    assert ways.ses("first") is not ways.ses("second")


def test_a_route_that_nobody_has_looked_at_is_open():
    assert routes().is_open("first")
    assert routes().takes_mail("first")


def test_a_lane_is_closed_while_it_or_its_sender_is_paused_and_at_the_end_of_its_part_of_the_day():
    ways = routes()
    express, bulk = (Seat("first", lane, "app@example.com") for lane in ("express", "bulk"))
    share = dict(ways.limits("first").lanes)["bulk"]
    saw(ways, RouteView("first", daily_limit=1000, sent_last_24_hours=10 * share))
    assert (ways.is_lane_open(express), ways.is_lane_open(bulk)) == (True, False)
    saw(ways, RouteView("first"), pauses=(Pause("lane:express"), Pause("user:other")))
    assert (ways.is_lane_open(express), ways.is_lane_open(bulk)) == (False, True)
    saw(ways, RouteView("first"), pauses=(Pause("user:app@example.com"),))
    assert not ways.is_lane_open(bulk)


def test_a_breaker_counts_after_two_seconds():
    ways = routes()
    saw(ways, troubled("first", taken_at_ms=2000))
    assert ways.is_open("first")
    saw(ways, troubled("first", taken_at_ms=2001))
    assert not ways.is_open("first")
    assert ways.is_open("second")
    saw(ways, RouteView("first"))
    assert ways.is_open("first")


def test_one_message_is_chosen_for_each_probe():
    ways = routes()
    saw(ways, troubled("first", taken_at_ms=9000, probe_at_ms=10_000))
    assert not ways.takes_mail("first")
    saw(ways, troubled("first", taken_at_ms=10_000, probe_at_ms=10_000))
    assert [ways.takes_mail("first") for _ in range(3)] == [True, False, False]
    saw(ways, troubled("first", taken_at_ms=10_900, probe_at_ms=10_000))
    assert not ways.takes_mail("first")
    saw(ways, troubled("first", taken_at_ms=20_000, probe_at_ms=20_000))
    assert ways.takes_mail("first")
    assert not ways.is_open("first")


def test_the_end_of_the_daily_quota_closes_a_route_that_stays_so_for_two_seconds():
    ways = routes()
    saw(ways, RouteView("first", daily_ended=True, taken_at_ms=99_000))
    assert ways.is_open("first")
    saw(ways, RouteView("first", daily_ended=True, taken_at_ms=101_001))
    assert not ways.is_open("first")
    saw(ways, RouteView("first", taken_at_ms=102_000))
    saw(ways, RouteView("first", daily_ended=True, taken_at_ms=103_000))
    assert ways.is_open("first")


@pytest.mark.parametrize("scope", ["all", "route:first"])
def test_an_operators_pause_closes_a_route(scope):
    ways = routes()
    saw(ways, RouteView("first", taken_at_ms=2000), pauses=(Pause(scope, since_ms=0),))
    assert ways.is_open("first")
    saw(ways, RouteView("first", taken_at_ms=2001), pauses=(Pause(scope, since_ms=0),))
    assert not ways.is_open("first")
    saw(ways, RouteView("first", taken_at_ms=2002), pauses=(Pause("route:second"), Pause("lane:express")))
    assert ways.is_open("first")


def test_two_reasons_in_a_row_are_one_time():
    ways = routes()
    saw(ways, RouteView("first", daily_ended=True, taken_at_ms=1000))
    saw(ways, troubled("first", since_ms=2500, taken_at_ms=3001))
    assert not ways.is_open("first")


def test_a_route_gets_the_mail_of_others_only_while_nothing_keeps_its_own():
    ways = routes()
    assert ways.is_well("first")
    saw(ways, troubled("first", taken_at_ms=1))
    assert not ways.is_well("first")
    saw(ways, RouteView("first", daily_ended=True, taken_at_ms=2))
    assert not ways.is_well("first")
    saw(ways, RouteView("first", taken_at_ms=3), pauses=(Pause("route:first", since_ms=3),))
    assert not ways.is_well("first")
    saw(ways, RouteView("first", taken_at_ms=4))
    assert ways.is_well("first")


def test_a_route_whose_daily_quota_is_needed_for_who_waits_there_gets_no_mail_of_others():
    ways = routes()
    lanes = {"express": LaneView(100, messages=2, recipients=5)}
    saw(ways, RouteView("first", lanes=lanes, sent_last_24_hours=95, daily_limit=100))
    assert not ways.is_well("first")
    saw(ways, RouteView("first", lanes=lanes, sent_last_24_hours=94, daily_limit=100))
    assert ways.is_well("first")


def test_no_message_is_chosen_for_a_probe_that_a_pause_does_not_let_go():
    ways = routes()
    view = troubled("first", taken_at_ms=10_000, probe_at_ms=10_000)
    saw(ways, view, pauses=(Pause("route:first"),))
    assert not ways.takes_mail("first")
    saw(ways, view)
    assert ways.takes_mail("first")


def test_a_view_of_a_route_that_the_settings_do_not_have_is_passed_over():
    ways = routes()
    saw(ways, RouteView("third", rate=3.0))
    assert ways.names == ("first", "second")


def test_paused_domains_are_those_of_the_last_look():
    ways = routes()
    saw(ways, pauses=(Pause("domain:Example.org", 5000), Pause("lane:bulk"), Pause("domain:b.example")))
    assert ways.paused_domains == {"example.org", "b.example"}
    assert ways.domain_pauses == {"example.org": 5000, "b.example": 0}
    saw(ways)
    assert ways.paused_domains == frozenset()
