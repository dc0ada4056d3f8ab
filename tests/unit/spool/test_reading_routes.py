import math

import orjson
import pytest

from spool.records import Lease, Settlement
from spool.routes import pauses_of, seat_of, seat_row, take_row, view_of
from spool.rows import settlement_row
from spool.sending_quota import LaneView, Pause, RouteLimits, RouteView, Seat, Take, Trouble

LIMITS = RouteLimits("main", 0, -1, (("express", 100), ("bulk", 80)))
SEAT = Seat("main", "bulk", "grüße", 2.5, "example.com")
ROW = {
    "name": "main", "rate": -1, "factor": 1, "is_fallback": False, "taken_at_ms": 9, "used": 5, "daily_limit": -1,
    "fetched_at_ms": 0, "quota_error": "", "daily_ended": False, "daily_until_ms": 0,
    "lanes": [{"name": "express", "share": 100, "messages": 2, "recipients": 7, "paused_senders": 1,
               "is_all_paused": True}],
}  # fmt: skip


def test_a_seat_comes_back_as_it_was_and_what_else_the_script_notes_is_passed_over():
    assert seat_of(orjson.dumps({**seat_row(SEAT), "recipients": 3, "kept": 0})) == SEAT


def test_a_view_says_what_is_unlimited_and_unknown():
    view = view_of(ROW)
    assert (view.rate, view.daily_limit) == (math.inf, math.inf)
    assert (view.max_send_rate, view.max_24_hour_send, view.trouble) == (None, None, None)
    assert view.lanes == {"express": LaneView(100, 2, 7, 1, is_all_paused=True)}
    assert (view.waiting_messages, view.waiting_recipients, view.is_open) == (2, 7, True)


def test_a_route_in_trouble_or_at_the_end_of_its_quota_is_not_open():
    row = {"code": "c", "words": "w", "since_ms": 1, "probe_at_ms": 2, "is_account": True}
    view = view_of({**ROW, "trouble": row, "rate": 5, "daily_limit": 10})
    assert view.trouble == Trouble("c", "w", 1, 2, is_account=True)
    assert (view.rate, view.daily_limit, view.is_open) == (5, 10, False)
    assert not view_of({**ROW, "daily_ended": True}).is_open


@pytest.mark.parametrize(
    ("rate", "lane", "expected"),
    [(14, "express", 50), (14, "bulk", 7), (1, "bulk", 1), (1000, "bulk", 50), (math.inf, "bulk", 50), (14, "", 7)],
)
def test_a_lane_after_the_first_makes_calls_of_half_a_second(rate, lane, expected):
    view = RouteView("main", rate=rate, lanes={"express": LaneView(100), "bulk": LaneView(80)})
    assert view.batch_limit(lane) == expected


def test_a_route_without_lanes_in_view_knows_no_smaller_batches():
    assert RouteView("main", rate=5).batch_limit("express") == 50


def test_pauses_are_read_in_order_and_what_is_none_is_passed_over():
    rows = {
        b"user:bob": b'{"until":5,"since":1,"why":"x","by":"me"}', b"all": b"{}", b"lane:a": b"nonsense",
        b"lane:b": b"[1]", b"lane:c": b'{"until":"soon"}',
    }  # fmt: skip
    assert pauses_of(rows) == (Pause("all"), Pause("user:bob", 5, 1, "x", "me"))


@pytest.mark.parametrize(
    "take",
    [
        Take(SEAT, 0, LIMITS),
        Take(Seat("main", "none", "a"), 1, LIMITS),
        Take(Seat("other", "bulk", "a"), 1, LIMITS),
        Take(Seat("main", "bulk", "a", 0), 1, LIMITS),
    ],
)
def test_a_take_that_makes_no_sense_fails_before_the_call(take):
    with pytest.raises(AssertionError):
        take_row(take)


def test_a_seat_goes_with_a_lane_and_with_nothing_else():
    lease = Lease("0000-a", 1, 0.0)
    for wrong in (Settlement(lease, to="lane"), Settlement(lease, to="parked", seat=SEAT)):
        with pytest.raises(AssertionError):
            settlement_row(wrong, keep_ms=1, nudge_ms=1)


def test_the_mark_of_a_repeated_intent_is_the_same():
    one = Settlement(Lease("0000-a", 1, 0.0), number=1)
    rows = {settlement_row(one, keep_ms=1, nudge_ms=1, take=Take(SEAT, 1, LIMITS)) for _ in range(2)}
    assert len(rows) == 1
