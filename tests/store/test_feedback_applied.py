"""What an event of SES changes on a real server, once, however often and in whatever order events come."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from spool import keys
from spool.records import new_message_id
from spool.scripts import StoreUnavailable
from spool.statistics import send_statistics
from spool.store import Spool
from tests.feedback_stand import (
    ACCEPTED_MS,
    SES_ID,
    FeedbackStand,
    a_bounce,
    a_complaint,
    a_delivery,
    an_event,
    as_notification,
)
from tests.servers import RedisServer
from tests.store.messages import numbers, open_test_spool


@pytest.fixture
async def spool(server: RedisServer, tmp_path: Path) -> AsyncIterator[Spool]:
    """A spool that keeps the headers of finished messages."""
    async with open_test_spool(server.url, tmp_path, headers_seconds=3600) as spool:
        yield spool


@pytest.fixture
def stand(spool: Spool) -> FeedbackStand:
    return FeedbackStand(spool)


async def test_an_event_is_written_down_once_with_state_record_and_figures(stand: FeedbackStand):
    message_id = await stand.sent(recipients=3)
    event = a_bounce(message_id, "user1@example.net")
    assert await stand.apply(event) == ["written"]
    assert await stand.apply(event, event) == ["repeated", "repeated"]
    assert await stand.letters(message_id) == "-b-"
    [record] = await stand.records()
    assert (record.event_type, record.message_id, record.attempt) == ("Bounce", message_id, 1)
    assert (record.ses_message_id, record.event) == (SES_ID, event)
    assert record.at_ms == 1_700_000_020_000
    counters = await numbers(stand.spool.redis, keys.COUNTERS)
    assert counters["feedback_recipients:bounced"] == 1
    points = await send_statistics(stand.spool.redis)
    assert sum(point.bounces for point in points) == 1
    assert stand.suppression.entered == [("user1@example.net", "BOUNCE")]
    assert stand.reputation.noted == [("app@example.com", "", 0, 1, 0)]
    assert stand.counted == {"feedback_events:written": 1, "feedback_events:repeated": 2}
    assert await stand.open_marks() == 0


async def test_the_two_shapes_of_one_event_are_one_event(stand: FeedbackStand):
    message_id = await stand.sent()
    for event in (a_delivery(message_id), a_bounce(message_id), a_complaint(message_id)):
        assert await stand.apply(event) == ["written"]
        assert await stand.apply(as_notification(event)) == ["repeated"]
    assert len(await stand.records()) == 3


@pytest.mark.parametrize(
    ("happenings", "state"),
    [
        (("delivery", "bounce"), "b"),
        (("delivery", "complaint"), "c"),
        (("delivery", "office"), "d"),
        (("delivery", "full"), "t"),
        (("delay", "delivery"), "d"),
        (("bounce", "complaint"), "c"),
        (("office",), "a"),
        (("delay", "office", "delivery", "bounce", "complaint"), "c"),
    ],
)
async def test_in_whatever_order_events_come_the_recipient_ends_in_the_same_state(
    stand: FeedbackStand, happenings: tuple[str, ...], state: str
):
    delay = {
        "timestamp": "2023-11-14T22:13:25.000Z",
        "delayType": "MailboxFull",
        "delayedRecipients": [{"emailAddress": "user0@example.net", "status": "4.2.2"}],
    }
    for order in itertools.islice(itertools.permutations(happenings), 6):
        message_id, ses_id = await stand.sent(ses_id="unused"), new_message_id()
        events = {
            "delivery": a_delivery(message_id, messageId=ses_id),
            "bounce": a_bounce(message_id, messageId=ses_id),
            "complaint": a_complaint(message_id, messageId=ses_id),
            "office": a_bounce(message_id, bounce_type="Transient", messageId=ses_id),
            "full": a_bounce(message_id, bounce_type="Transient", sub_type="MailboxFull", messageId=ses_id),
            "delay": an_event("DeliveryDelay", delay, message_id=message_id, messageId=ses_id),
        }
        assert await stand.apply(*(events[name] for name in order)) == ["written"] * len(order)
        assert await stand.letters(message_id) == state


async def test_without_a_mark_of_ours_the_index_of_ses_ids_says_whose_it_is(stand: FeedbackStand):
    message_id = await stand.sent(recipients=2)
    bare = as_notification(a_delivery(recipient="USER1@Example.net"))
    assert await stand.apply(bare) == ["written"]
    assert await stand.letters(message_id) == "-d"
    [record] = await stand.records()
    assert (record.message_id, record.attempt) == (message_id, 1)
    assert record.event["eventType"] == "Delivery"
    assert record.event["mail"]["tags"] == {"ses:source-ip": ["127.0.3.0"]}
    assert "sourceIp" not in record.event["mail"]


async def test_any_event_settles_a_call_without_an_answer_before_it_is_applied(stand: FeedbackStand):
    message_id = await stand.sent(outcome="")
    assert await stand.apply(a_delivery(message_id)) == ["written"]
    message = await stand.spool.load(message_id)
    assert message is not None
    assert [one.outcome for one in message.attempts] == ["accepted"]
    assert message.feedback == "d"
    assert stand.counted == {"feedback_events:noted": 1, "feedback_events:written": 1}


async def test_a_send_event_settles_a_doubt_and_is_not_told_again(stand: FeedbackStand):
    message_id = await stand.sent(outcome="")
    send = an_event("Send", {}, message_id=message_id)
    assert await stand.apply(send) == ["noted"]
    assert await stand.apply(send) == ["known"]
    assert await stand.records() == []


async def test_an_event_about_a_message_that_is_forgotten_is_told_all_the_same(stand: FeedbackStand):
    old = f"{ACCEPTED_MS - 2 * 86400_000:016x}-0a1b2c3d-0000-4000-8000-00000000-000000"
    event = a_complaint(old)
    event["mail"]["tags"]["sluice-set"] = ["ours"]
    event["mail"]["source"] = "Some Body <app@example.com>"
    assert await stand.apply(event) == ["written"]
    [record] = await stand.records()
    assert (record.message_id, record.attempt, record.configuration_set) == (old, 1, "ours")
    assert stand.reputation.noted == [("app@example.com", None, 0, 0, 1)]
    assert stand.suppression.entered == [("user0@example.net", "COMPLAINT")]
    assert await stand.spool.redis.exists(keys.message_key(old)) == 0


async def test_an_event_of_a_send_that_is_not_here_yet_comes_again(stand: FeedbackStand):
    young = f"{ACCEPTED_MS - 1000:016x}-0a1b2c3d-0000-4000-8000-00000000-000000"
    tagged, bare = a_delivery(young), as_notification(a_delivery())
    assert await stand.apply(tagged, bare) == ["unknown", "unknown"]
    assert stand.counted == {}
    message_id = await stand.sent(message_id=young)
    assert await stand.apply(tagged, bare) == ["written", "repeated"]
    assert await stand.letters(message_id) == "d"


async def test_what_can_be_nobodys_here_is_foreign_at_once(stand: FeedbackStand):
    assert await stand.apply(a_delivery()) == ["foreign"]  # event publishing without our tag
    stand.now_ms += 3600_000
    assert await stand.apply(as_notification(a_delivery())) == ["foreign"]  # taken long ago
    assert await stand.apply({}, {"eventType": "Send", "mail": {}}) == ["foreign", "foreign"]


async def test_one_complaint_is_one_complaint_however_many_ses_names(stand: FeedbackStand):
    message_id = await stand.sent(recipients=3, user="shop")
    await stand.apply(a_complaint(message_id, "user0@example.net", "user2@example.net"))
    assert await stand.letters(message_id) == "c-c"
    assert stand.reputation.noted == [("app@example.com", "shop", 0, 0, 1)]
    assert len(stand.suppression.entered) == 2


async def test_the_opposite_of_a_complaint_is_told_and_nothing_more(stand: FeedbackStand):
    message_id = await stand.sent()
    event = a_complaint(message_id)
    event["complaint"]["complaintFeedbackType"] = "not-spam"
    assert await stand.apply(event) == ["written"]
    assert await stand.letters(message_id) == ""
    assert stand.suppression.entered == []
    assert len(await stand.records()) == 1


@pytest.mark.parametrize("sub_type", ["Suppressed", "OnAccountSuppressionList"])
async def test_a_bounce_because_of_a_list_puts_nobody_on_ours(stand: FeedbackStand, sub_type: str):
    message_id = await stand.sent()
    await stand.apply(a_bounce(message_id, sub_type=sub_type))
    assert stand.suppression.entered == []
    assert len(stand.reputation.noted) == (sub_type == "Suppressed")
    assert await stand.letters(message_id) == "b"


async def test_a_complaint_because_of_a_list_is_no_complaint_of_today(stand: FeedbackStand):
    message_id = await stand.sent()
    event = a_complaint(message_id)
    event["complaint"]["complaintSubType"] = "OnAccountSuppressionList"
    assert await stand.apply(event) == ["written"]
    assert (stand.suppression.entered, stand.reputation.noted) == ([], [])
    assert await stand.letters(message_id) == "c"


async def test_only_the_reasons_of_the_settings_put_somebody_on_the_list(spool: Spool):
    stand = FeedbackStand(spool, reasons=("complaint",), keep_seconds=3600)
    message_id = await stand.sent()
    await stand.apply(a_bounce(message_id), a_complaint(message_id))
    assert stand.suppression.entered == [("user0@example.net", "COMPLAINT")]
    assert stand.suppression.details == [
        {
            "source": "feedback",
            "at_ms": 1_700_000_040_000,
            "message_id": message_id,
            "feedback_id": "feedback-of-a-complaint",
            "keep_seconds": 3600,
        }
    ]


async def test_a_recipient_of_a_bounce_that_is_still_tried_is_delayed(stand: FeedbackStand):
    message_id = await stand.sent(recipients=2)
    event = a_bounce(message_id)
    event["bounce"]["bouncedRecipients"].append({"emailAddress": "user1@example.net", "action": "delayed"})
    await stand.apply(event)
    assert await stand.letters(message_id) == "by"
    assert stand.suppression.entered == [("user0@example.net", "BOUNCE")]


async def test_deliveries_of_a_page_are_noted_together(stand: FeedbackStand):
    message_id = await stand.sent(recipients=3)
    await stand.apply(*(a_delivery(message_id, f"user{n}@example.net") for n in range(3)))
    assert stand.reputation.noted == [("app@example.com", "", 3, 0, 0)]
    assert await stand.letters(message_id) == "ddd"


@pytest.mark.parametrize("failpoint", ["feedback.after_apply", "feedback.before_finished"])
async def test_a_crash_between_the_writes_leaves_what_follows_to_the_repeat(spool: Spool, failpoint: str):
    stand = FeedbackStand(spool, failpoints=f"{failpoint}=raise", bounce_mail=True)
    message_id = await stand.sent()
    event = a_bounce(message_id)
    assert await stand.apply(event) == ["failed"]  # the action raise is no kill: a bug's way
    assert await stand.open_marks() == 1
    stand.made()
    assert await stand.apply(event) == ["written"]
    assert await stand.apply(event) == ["repeated"]
    assert await stand.open_marks() == 0
    assert set(stand.suppression.entered) == {("user0@example.net", "BOUNCE")}
    assert len(await stand.records()) == 1
    due = await spool.redis.zrange(keys.DUE, 0, -1)
    assert len(due) == 1, "one bounce"


async def test_a_spool_that_is_away_in_between_gives_the_event_again(stand: FeedbackStand):
    message_id = await stand.sent()
    stand.suppression.troubles = [StoreUnavailable("the spool does not answer")]
    with pytest.raises(StoreUnavailable):
        await stand.apply(a_bounce(message_id))
    assert await stand.apply(a_bounce(message_id)) == ["written"]
    assert stand.suppression.entered == [("user0@example.net", "BOUNCE")]
    assert len(stand.reputation.noted) == 1


async def bounces_of(stand: FeedbackStand) -> list[Any]:
    ids = [one.decode() for one in await stand.spool.redis.zrange(keys.DUE, 0, -1)]
    return [await stand.spool.load(one, with_content=True) for one in ids]


async def test_a_sender_gets_one_mail_about_a_bounce_when_that_is_asked_for(spool: Spool):
    stand = FeedbackStand(spool, bounce_mail=True)
    message_id = await stand.sent(recipients=2)
    await stand.apply(a_bounce(message_id, "user1@example.net"))
    [bounce] = await bounces_of(stand)
    assert (bounce.sender, bounce.recipients, bounce.door) == ("", ("app@example.com",), "bounce")
    assert b"Final-Recipient: rfc822; user1@example.net" in bounce.content
    assert b"Status: 5.1.1" in bounce.content
    assert b"smtp; 550 5.1.1 user unknown" in bounce.content
    assert b"Subject: x" in bounce.content
    assert b"user0@" not in bounce.content


@pytest.mark.parametrize(
    ("members", "event"),
    [
        ({"sender": ""}, a_bounce),
        ({"door": "bounce", "user": "x"}, a_bounce),
        ({"is_auto_submitted": True}, a_bounce),
        ({}, a_delivery),
        ({}, a_complaint),
        ({}, lambda one: a_bounce(one, bounce_type="Transient")),
        ({}, lambda one: a_bounce(one, "somebody@else.example")),
    ],
)
async def test_nobody_gets_a_mail_who_should_not(spool: Spool, members: dict[str, Any], event: Any):
    stand = FeedbackStand(spool, bounce_mail=True)
    message_id = await stand.sent(**members)
    assert await stand.apply(event(message_id)) == ["written"]
    assert await bounces_of(stand) == []


async def test_many_marks_cost_little_and_are_forgotten_after_days(stand: FeedbackStand):
    message_id = await stand.sent()
    events = [a_delivery(message_id, f"other{n}@example.net") for n in range(300)]
    assert await stand.apply(*events) == ["written"] * 300
    names = [name async for name in stand.spool.redis.scan_iter(match="{ms}:told:*")]
    assert names
    for name in names[:20]:
        assert await stand.spool.redis.object("encoding", name) == b"intset"
        assert 2 * 86400_000 < await stand.spool.redis.pttl(name) <= 3 * 86400_000


async def test_a_record_of_a_hostile_event_is_one_line_of_json(stand: FeedbackStand):
    message_id = await stand.sent()
    event = a_bounce(message_id)
    event["mail"]["headers"] = "none"
    event["mail"]["tags"]["odd"] = "text"
    event["bounce"]["bouncedRecipients"] = [{"emailAddress": 17}, "x", {"emailAddress": "user0@example.net"}]
    # Tags of another form are nobody's: so is our mark in them. The index still knows the call.
    assert await stand.apply(event) == ["written"]
    [record] = await stand.records()
    assert "headers" not in record.event["mail"]
    assert orjson.loads(record.encode())
    assert await stand.letters(message_id) == "b"


async def test_a_server_that_forgot_the_scripts_in_between_is_told_them_again(stand: FeedbackStand):
    ids = [await stand.sent(ses_id=f"ses-{n}") for n in range(20)]
    for event in (a_delivery, a_bounce):
        await stand.spool.redis.script_flush()
        assert await stand.apply(*(event(one, messageId=f"ses-{n}") for n, one in enumerate(ids))) == ["written"] * 20
    assert {await stand.letters(one) for one in ids} == {"b"}
    assert len(await stand.records()) == 40


async def test_one_event_that_has_to_wait_holds_up_no_other_but_those_of_its_call(stand: FeedbackStand):
    ids = [await stand.sent(ses_id=f"ses-{n}") for n in range(60)]
    stand.suppression.troubles = [StoreUnavailable("the spool does not answer")]
    events = [a_bounce(ids[0], messageId="ses-0"), a_delivery(ids[0], messageId="ses-0")]
    events += [a_delivery(one, messageId=f"ses-{n}") for n, one in enumerate(ids[1:], 1)]
    assert await stand.apply(*events) == ["later", "later", *["written"] * 59]
    assert await stand.apply(*events[:3]) == ["written", "written", "repeated"]
    assert await stand.open_marks() == 0


async def test_deliveries_that_could_not_be_noted_are_noted_with_the_next_page(stand: FeedbackStand):
    message_id = await stand.sent()
    noted, stand.reputation.note = stand.reputation.note, _is_away
    with pytest.raises(StoreUnavailable):
        await stand.apply(a_delivery(message_id))
    stand.reputation.note = noted
    assert await stand.apply(a_delivery(message_id)) == ["repeated"]
    assert stand.reputation.noted == [("app@example.com", "", 1, 0, 0)]


async def _is_away(*_: object, **__: object) -> None:
    raise StoreUnavailable("the spool does not answer")


async def test_the_mailbox_simulator_neither_enters_the_list_nor_counts_for_its_sender(stand: FeedbackStand):
    simulated = ("Bounce+1@Simulator.AmazonSES.com", "complaint@simulator.amazonses.com")
    message_id = await stand.sent(recipients=(*simulated, "user0@example.net"))
    events = [
        a_bounce(message_id, simulated[0]),
        a_complaint(message_id, simulated[1]),
        a_delivery(message_id, simulated[1]),
        a_delivery(message_id),
    ]
    assert await stand.apply(*events) == ["written"] * 4
    assert await stand.letters(message_id) == "bcd"
    assert stand.suppression.entered == []
    assert stand.reputation.noted == [("app@example.com", "", 1, 0, 0)]
