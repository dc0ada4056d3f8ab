"""GetSendQuota, GetSendStatistics and GetAccount of the SES door, by boto3 against the real API process."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from aws_api.ses.quota import quota_of
from spool.records import Attempt, Settlement
from spool.sending_quota import LaneView, RouteLimits, RouteView
from spool.states import RecipientState
from spool.store import Spool
from tests.contract.ses_stand import RAW, SesStand, ses_stand
from tests.spooled import with_spool


@pytest.fixture
def stand(tmp_path) -> Iterator[SesStand]:
    """Its own for each test: what one leaves waiting counts as sent."""
    with ses_stand(tmp_path) as one:
        yield one


def test_the_quota_is_what_ses_said(stand):
    async def told(spool: Spool) -> None:
        asked_at_ms = await spool.may_ask_quota("default", 60)
        assert asked_at_ms
        figures = {"max_send_rate": 14.0, "max_24_hour_send": 50_000.0, "sent_last_24_hours": 7.0}
        await spool.note_quota("default", asked_at_ms=asked_at_ms, **figures)

    with_spool(stand.settings, told)
    expected = {"Max24HourSend": 50_000.0, "MaxSendRate": 14.0, "SentLast24Hours": 7.0}
    answer = stand.ses.get_send_quota()
    assert {name: answer[name] for name in expected} == expected
    account = stand.sesv2.get_account()
    assert account["SendQuota"] == expected
    assert (account["SendingEnabled"], account["ProductionAccessEnabled"]) == (True, True)
    assert account["SuppressionAttributes"] == {"SuppressedReasons": ["BOUNCE", "COMPLAINT"]}


def test_what_was_just_taken_counts_at_once_and_under_a_lease(stand):
    before = stand.ses.get_send_quota()["SentLast24Hours"]
    message = stand.message(stand.ses.send_raw_email(RawMessage={"Data": RAW}, Destinations=["a@b.c", "d@b.c"]))
    assert stand.ses.get_send_quota()["SentLast24Hours"] == before + 2

    async def claimed(spool: Spool) -> None:
        assert await spool.claim([message.message_id], "w")

    with_spool(stand.settings, claimed)
    assert stand.ses.get_send_quota()["SentLast24Hours"] == before + 2


def view(**fields: object) -> tuple[RouteView, RouteLimits]:
    return RouteView("a", **fields), RouteLimits("a")  # type: ignore[arg-type]


def test_what_waits_counts_as_sent():
    lanes = {"express": LaneView(100, recipients=3), "bulk": LaneView(80, recipients=40)}
    told = quota_of([view(max_send_rate=14.0, daily_limit=200.0, sent_last_24_hours=100.0, lanes=lanes)])
    assert told == {"Max24HourSend": 200.0, "MaxSendRate": 14.0, "SentLast24Hours": 143.0}


def test_routes_are_added_up_and_a_limit_that_is_none_is_minus_one():
    one = view(max_send_rate=14.0, daily_limit=200.0, sent_last_24_hours=1.0)
    assert quota_of([one, one]) == {"Max24HourSend": 400.0, "MaxSendRate": 28.0, "SentLast24Hours": 2.0}
    assert quota_of([one, view()]) == {"Max24HourSend": -1.0, "MaxSendRate": -1.0, "SentLast24Hours": 1.0}


def test_the_operators_cap_counts_when_it_is_lower():
    route = RouteView("a", max_send_rate=14.0, rate=9.9)
    assert quota_of([(route, RouteLimits("a", 10.0))])["MaxSendRate"] == 10.0
    assert quota_of([(route, RouteLimits("a", 20.0))])["MaxSendRate"] == 14.0
    assert quota_of([(RouteView("a", rate=13.9), RouteLimits("a"))])["MaxSendRate"] == 13.9


def test_the_statistics_count_attempts_in_slots_of_a_quarter_of_an_hour(stand):
    assert stand.ses.get_send_statistics()["SendDataPoints"] == []
    message = stand.message(stand.ses.send_raw_email(RawMessage={"Data": RAW}))

    async def sent(spool: Spool) -> None:
        [claimed] = await spool.claim([message.message_id], "w")
        attempt = Attempt(1, (0,), 1, "w", "accepted", 2, "ses-1")
        states = (RecipientState.SENT,)
        counts = {"sent_recipients": 1}
        done = Settlement(claimed.lease, 1, to="done", states=states, attempts=(attempt,), counts=counts)
        assert await spool.settle(done)

    with_spool(stand.settings, sent)
    [point] = stand.ses.get_send_statistics()["SendDataPoints"]
    at = point.pop("Timestamp")
    assert point == {"DeliveryAttempts": 1, "Bounces": 0, "Complaints": 0, "Rejects": 0}
    assert at.tzinfo is not None
    assert timedelta(0) <= datetime.now(UTC) - at < timedelta(minutes=16)
    assert (at.minute % 15, at.second) == (0, 0)
