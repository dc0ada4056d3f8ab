"""SES's documented events and notifications, in both shapes: each is understood, and what it holds is passed on."""

import json
from typing import Any

import pytest

from spool.feedback_states import FeedbackHappening, FeedbackState, after
from tests.feedback_stand import FIXTURES, as_notification, fixture
from worker.feedback.ses_event import LISTED_SUB_TYPES, bounce_happening, ses_event_of, unwrapped

EVENTS = sorted(path.name for path in (FIXTURES / "events").glob("*.json") if not path.name.startswith("aws_"))
NOTIFICATIONS = sorted(path.name for path in (FIXTURES / "notifications").glob("*.json"))
WHOLE = [name for name in NOTIFICATIONS if not name.startswith("contents_")]
_H = FeedbackHappening
#: eventType → of whom it tells, and what.
TOLD = {
    "Send": (),
    "Delivery": (("recipient@example.com", _H.DELIVERY),),
    "Bounce": (("recipient@example.com", _H.BOUNCE),),
    "Complaint": (("recipient@example.com", _H.COMPLAINT),),
    "DeliveryDelay": (("recipient@example.com", _H.DELAY),),
    "Reject": (("sender@example.com", _H.REFUSAL),),
    "Rendering Failure": (("recipient@example.com", _H.REFUSAL),),
    "Open": (),
    "Click": (),
    "Subscription": (),
}


def test_there_are_events_of_every_type():
    assert {fixture(f"events/{name}")["eventType"] for name in EVENTS} == TOLD.keys()
    assert len(EVENTS) == 20
    assert len(NOTIFICATIONS) == 11


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("shape", ["event", "notification"])
def test_each_event_is_understood_in_both_shapes(name: str, shape: str):
    told = fixture(f"events/{name}")
    told["mail"].setdefault("tags", {})["sluice-batch"] = ["0000018b-message.2"]
    event = ses_event_of(told if shape == "event" else as_notification(told))
    assert event is not None
    assert event.event_type == told["eventType"]
    assert event.ses_message_id == told["mail"]["messageId"]
    assert tuple((one.address, one.happening) for one in event.recipients) == TOLD[told["eventType"]]
    assert event.call is not None
    assert (event.call.message_id, event.call.attempt_number) == ("0000018b-message", 2)
    assert event.mark == ses_event_of(told).mark  # type: ignore[union-attr]  # the line above
    if shape == "event":
        assert event.json == told
    else:
        objects = {member: value for member, value in told.items() if member != "mail"}
        assert {member: value for member, value in event.json.items() if member != "mail"} == objects
        assert event.json["mail"]["tags"] == {"ses:source-ip": ["127.0.3.0"]}


@pytest.mark.parametrize("name", WHOLE)
def test_each_notification_is_understood(name: str):
    told = fixture(f"notifications/{name}")
    event = ses_event_of(told)
    assert event is not None
    assert event.call is None
    assert event.json["eventType"] == told["notificationType"]
    assert event.json["mail"]["tags"] == {
        "ses:source-ip": ["127.0.3.0"],
        "ses:caller-identity": ["IAM_user_or_role_name"],
    }
    assert event.at_ms == 1_453_906_778_237
    assert event.recipients
    member = told["notificationType"].lower()
    assert event.json[member] == told[member]


def test_the_objects_of_the_contents_page_make_notifications():
    mail = fixture("notifications/contents_mail_object.json")
    for name in ("bounce", "complaint", "delivery"):
        told = fixture(f"notifications/contents_{name}_object.json")
        event = ses_event_of({"notificationType": name.capitalize(), "mail": mail, name: told})
        assert event is not None
        assert event.sent_at_ms == 1_539_007_545_000  # "2018-10-08T14:05:45 +0000"
        assert event.recipients
    bounced = fixture("notifications/contents_bounced_recipients.json")
    bounce = {"bounceType": "Permanent", "bouncedRecipients": [bounced]}
    event = ses_event_of({"notificationType": "Bounce", "mail": mail, "bounce": bounce})
    assert event is not None
    assert (event.recipients[0].status, event.recipients[0].words) == ("5.0.0", "X-Postfix; unknown user")


def test_a_recipient_of_a_bounce_that_is_still_tried_is_not_bounced():
    mail = fixture("notifications/contents_mail_object.json")
    told = fixture("notifications/contents_bounce_object.json")
    event = ses_event_of({"notificationType": "Bounce", "mail": mail, "bounce": told})
    assert event is not None
    assert [one.happening for one in event.recipients] == [_H.BOUNCE, _H.DELAY]


def test_every_bounce_type_has_a_meaning():
    for row in json.loads((FIXTURES / "bounce_types.json").read_bytes()):
        happening = bounce_happening(row.get("bounceType", ""), row["bounceSubType"])
        assert (happening is _H.BOUNCE) == (row.get("bounceType") == "Permanent")
        assert after(FeedbackState.NONE, happening) is not FeedbackState.NONE
        if "Suppress" in row["bounceSubType"]:
            assert row["bounceSubType"] in LISTED_SUB_TYPES


def test_messages_of_a_real_topic_are_unwrapped():
    recorded = fixture("events/aws_recorded_test_ses_sns_topic_integration_send_email.json")["messages"]
    arrived: list[Any] = []
    for envelope in recorded:
        message = envelope["Message"]
        whole = {**envelope, "Message": message if isinstance(message, str) else json.dumps(message)}
        arrived.append(unwrapped(json.dumps(whole)))
    assert arrived[0] == "set up"
    assert {one["eventType"] for one in arrived[1:]} == {"Send", "Delivery"}


@pytest.mark.parametrize("name", EVENTS)
def test_bare_and_in_its_envelope_an_event_is_the_same(name: str):
    text = (FIXTURES / "events" / name).read_bytes()
    envelope = {**fixture("sns/sqs_notification.json"), "Message": text.decode()}
    assert unwrapped(text) == unwrapped(json.dumps(envelope)) == json.loads(text)


@pytest.mark.parametrize(
    ("body", "meaning"),
    [
        ("", "garbage"),
        ("no json", "garbage"),
        ("[1]", "garbage"),
        (b"\xff\xfe", "garbage"),
        ('{"Message":"text","TopicArn":"arn"}', "garbage"),
        ("Successfully validated SNS topic for Amazon SES event publishing.", "set up"),
        (
            '{"notificationType":"AmazonSnsSubscriptionSucceeded","message":"You have successfully subscribed"}',
            "set up",
        ),
        ('{"Message":"You have successfully subscribed your Amazon SNS topic …","TopicArn":"arn"}', "set up"),
        ('{"eventType":"Send"}', {"eventType": "Send"}),
    ],
)
def test_what_is_no_event_is_told_apart(body: Any, meaning: Any):
    assert unwrapped(body) == meaning


def test_a_type_that_is_newer_than_this_is_passed_on():
    told = fixture("events/sns_open.json")
    told["eventType"], told["mail"]["tags"]["sluice-batch"] = "Teleported", ["m.1"]
    event = ses_event_of(told)
    assert event is not None
    assert event.recipients == ()
    assert event.json == told
    other = {**told, "open": {**told["open"], "ipAddress": "192.0.2.2"}}
    assert event.mark != ses_event_of(other).mark  # type: ignore[union-attr]  # the same form
