"""What is told outside, compared with SES's own samples and recordings."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from sending_events.feedback_records import FeedbackRecord
from sending_events.header_facts import facts_of
from sending_events.records import EventRecord, UnreadableEvent
from sending_events.rendering import OBJECT_NAMES, Known, decoded, event_type_of, line_of
from spool.records import Message
from spool.send_parameters import SendParameters
from tests.unit.sending_events.test_event_records import AT_MS, a_message

FIXTURES = Path(__file__).parents[2] / "contract/fixtures"
OURS = "0000018bcfe56801-5f2a3c4d-1111-4222-8333-444455556666-000000"


def samples() -> dict[str, dict[str, Any]]:
    """Every event of SES that the fixtures have, by file and number."""
    found = {}
    for path in sorted([*FIXTURES.glob("events/*.json"), *FIXTURES.glob("feedback/events/*.json")]):
        content = json.loads(path.read_text("utf-8"))
        events = [one["Message"] for one in content["messages"]] if "messages" in content else [content]
        found |= {f"{path.stem}-{number}": one for number, one in enumerate(events) if isinstance(one, dict)}
    return found


def notifications() -> dict[str, dict[str, Any]]:
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in FIXTURES.glob("feedback/notifications/*.json")}
    return {name: one for name, one in sorted(found.items()) if "notificationType" in one}


EVENTS, NOTIFICATIONS = samples(), notifications()


def test_the_fixtures_are_all_there():
    assert len(EVENTS) == 26
    assert len(NOTIFICATIONS) == 5


def told(record: Any, known: Known | None = None, configuration_set: str = "") -> dict[str, Any]:
    line = line_of(record, known, "7-0", configuration_set)
    assert line.startswith(b'{"eventType":')  # a file destination knows its torn tails by that
    assert b"\n" not in line
    return orjson.loads(line)


def a_record(event: dict[str, Any], **changes: Any) -> FeedbackRecord:
    values: dict[str, Any] = {
        "event_type": event["eventType"],
        "message_id": OURS,
        "at_ms": AT_MS,
        "ses_message_id": "",
        "event": event,
        "attempt": 2,
        "configuration_set": "ConfigSet",
    }
    if isinstance(event["mail"], dict):
        values["ses_message_id"] = event["mail"].get("messageId", "")
    return FeedbackRecord(**(values | changes))


def with_our_ids(event: dict[str, Any], configuration_set: str = "ConfigSet") -> dict[str, Any]:
    """SES's event as we tell it of a message that is forgotten."""
    expected = copy.deepcopy(event) | {"eventId": "7-0"}
    mail = expected["mail"]
    mail["messageId"] = OURS
    if "commonHeaders" in mail:
        mail["commonHeaders"]["messageId"] = OURS
    tags = mail.setdefault("tags", {})
    tags.pop("ses:configuration-set", None)
    if configuration_set:
        tags["ses:configuration-set"] = [configuration_set]
    tags |= {
        "sluice:message-id": [OURS],
        "sluice:ses-message-id": [event["mail"]["messageId"]],
        "sluice:attempt": ["2"],
    }
    return expected


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_of_ses_goes_through_with_our_ids_and_nothing_else_changed(name):
    event = EVENTS[name]
    record = a_record(event)
    again = decoded(record.encode())
    assert again == record
    assert event_type_of(again) == event["eventType"]
    assert OBJECT_NAMES[event["eventType"]] in event
    assert told(again, configuration_set="ConfigSet") == with_our_ids(event)


@pytest.mark.parametrize("name", NOTIFICATIONS)
def test_every_identity_notification_goes_through_in_the_shape_of_an_event(name):
    notification = dict(NOTIFICATIONS[name])
    event = {"eventType": notification.pop("notificationType"), **notification}
    record = decoded(a_record(event, configuration_set="").encode())
    assert told(record) == with_our_ids(event, "")


HEADERS = (
    b"From: sender@example.com\r\nTo: recipient@example.com\r\nSubject: Message sent from Amazon SES\r\n"
    b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; \r\n boundary="----=_Part_0_716996660.1476421336341"\r\n'
    b"X-SES-MESSAGE-TAGS: myCustomTag1=myCustomTagValue1, myCustomTag2=myCustomTagValue2\r\n"
)
PARAMETERS = SendParameters(
    operation="SendRawEmail",
    configuration_set="ConfigSet",
    tags=(("myCustomTag1", "myCustomTagValue1"), ("myCustomTag2", "myCustomTagValue2")),
    source_arn="arn:aws:ses:us-east-1:123456789012:identity/sender@example.com",
)


def a_known_message(**changes: Any) -> Known:
    values: dict[str, Any] = {
        "message_id": OURS,
        "recipients": ("recipient@example.com",),
        "user": "ses_user",
        "client_address": "192.0.2.0",
        "parameters": PARAMETERS,
    }
    return Known(
        dataclasses.replace(a_message(1), **(values | changes), envelope=()), facts_of(HEADERS, is_truncated=False)
    )


def test_our_send_event_is_the_one_of_ses():
    record = EventRecord("send", OURS, 1_476_421_336_645, (0,), ses_message_id="theirs", attempt=1)
    event = told(record, a_known_message(), "ConfigSet")
    expected = copy.deepcopy(EVENTS["firehose_send-0"])
    del expected["mail"]["sendingAccountId"]  # nobody here knows it
    expected["eventId"] = "7-0"
    expected["mail"]["messageId"] = expected["mail"]["commonHeaders"]["messageId"] = OURS
    expected["mail"]["timestamp"] = "2016-10-14T05:02:16.645Z"
    expected["mail"]["tags"] |= {
        "ses:operation": ["SendRawEmail"],
        "sluice:message-id": [OURS],
        "sluice:ses-message-id": ["theirs"],
        "sluice:attempt": ["1"],
        "sluice:user": ["ses_user"],
    }
    assert event == expected | {"mail": {**expected["mail"], "source": "sender@example.com"}}


def test_our_reject_event_is_the_one_of_ses():
    event = told(EventRecord("reject", OURS, AT_MS, (0,), reason="Bad content"), a_known_message(), "ConfigSet")
    expected = EVENTS["firehose_reject-0"]
    assert event.keys() == expected.keys() | {"eventId"}
    assert event["mail"].keys() == expected["mail"].keys() - {"sendingAccountId"}
    assert event["reject"] == expected["reject"]


def test_a_suppressed_recipient_is_told_as_the_bounce_that_ses_makes_of_it():
    record = EventRecord("suppressed", OURS, AT_MS, (0,))
    event = told(record, a_known_message())
    assert event_type_of(record) == event["eventType"] == "Bounce"
    assert event["bounce"].keys() == EVENTS["firehose_bounce-0"]["bounce"].keys()
    assert (event["bounce"]["bounceType"], event["bounce"]["bounceSubType"]) == (
        "Permanent",
        "OnAccountSuppressionList",
    )
    [recipient] = event["bounce"]["bouncedRecipients"]
    assert (recipient["emailAddress"], recipient["action"], recipient["status"]) == (
        "recipient@example.com",
        "failed",
        "5.1.1",
    )
    assert event["bounce"]["feedbackId"] == told(record, None)["bounce"]["feedbackId"]
    assert event["bounce"]["feedbackId"] != orjson.loads(line_of(record, None, "8-0"))["bounce"]["feedbackId"]


@pytest.mark.parametrize(
    ("changes", "tag", "value"),
    [
        ({"user": ""}, "ses:caller-identity", ["anonymous"]),
        ({"door": "bounce"}, "ses:caller-identity", None),
        ({"client_address": ""}, "ses:source-ip", None),
        ({"parameters": SendParameters(operation="SendSmtpEmail")}, "ses:operation", ["SendSmtpEmail"]),
        ({"parameters": SendParameters()}, "ses:operation", None),
    ],
)
def test_automatic_tags_are_told_when_they_are_known(changes, tag, value):
    event = told(EventRecord("accepted", OURS, AT_MS), a_known_message(**changes))
    assert event["mail"]["tags"].get(tag) == value


def test_the_from_domain_is_that_of_the_header_else_of_the_envelope():
    message = a_known_message(sender="bounces@mail.example.org").message
    record = EventRecord("accepted", OURS, AT_MS)
    assert told(record, Known(message, facts_of(HEADERS, is_truncated=False)))["mail"]["tags"]["ses:from-domain"] == [
        "example.com"
    ]
    assert told(record, Known(message))["mail"]["tags"]["ses:from-domain"] == ["mail.example.org"]
    null = a_known_message(sender="").message
    without_from = facts_of(b"Subject: x\r\n\r\n", is_truncated=False)
    assert "ses:from-domain" not in told(record, Known(message, without_from))["mail"]["tags"]
    cut_off = facts_of(b"Subject: x\r\n", is_truncated=True)
    assert told(record, Known(message, cut_off))["mail"]["tags"]["ses:from-domain"] == ["mail.example.org"]
    assert "ses:from-domain" not in told(record, Known(null))["mail"]["tags"]


def test_headers_that_were_cut_are_told_so():
    known = Known(a_known_message().message, facts_of(HEADERS, is_truncated=True))
    assert told(EventRecord("accepted", OURS, AT_MS), known)["mail"]["headersTruncated"] is True


def test_without_headers_the_message_id_of_the_header_is_told():
    mail = told(EventRecord("accepted", OURS, AT_MS), Known(a_known_message().message))["mail"]
    assert mail["headers"] == [{"name": "Message-ID", "value": "<h@example.com>"}]
    assert mail["headersTruncated"] is True


def batch_event() -> dict[str, Any]:
    """As SES tells it of a call of ours: our tags and header in it, and a set of the route."""
    event = copy.deepcopy(EVENTS["firehose_delivery-0"])
    event["mail"]["tags"] |= {"sluice-batch": [f"{OURS}.2"], "sluice-set": ["ConfigSet"]}
    event["mail"]["tags"]["ses:configuration-set"] = ["route-set"]
    event["mail"]["headers"].insert(0, {"name": "X-Sluice-Batch", "value": f"{OURS}.2"})
    return event


def test_what_we_put_into_a_call_is_not_told():
    for known in (None, a_known_message()):
        event = told(a_record(batch_event()), known, "ConfigSet")
        assert "luice-" not in json.dumps(event)
        assert event["mail"]["tags"]["ses:configuration-set"] == ["ConfigSet"]
    assert "ses:configuration-set" not in told(a_record(batch_event()))["mail"]["tags"]


def test_feedback_about_a_message_that_is_still_kept_has_its_headers_and_tags():
    known = a_known_message(user="app", client_address="198.51.100.7")
    event = told(a_record(batch_event()), known, "ConfigSet")
    mail = event["mail"]
    assert event["delivery"] == batch_event()["delivery"]
    assert {"name": "X-SES-MESSAGE-TAGS"}.items() <= mail["headers"][-1].items()
    assert mail["commonHeaders"]["messageId"] == OURS
    assert mail["tags"]["ses:source-ip"] == ["198.51.100.7"]
    assert mail["tags"]["ses:caller-identity"] == ["app"]
    assert mail["tags"]["ses:outgoing-ip"] == ["192.0.2.0"]  # SES alone knows it
    assert mail["tags"]["myCustomTag1"] == ["myCustomTagValue1"]
    assert mail["sendingAccountId"] == "123456789012"
    assert mail["timestamp"] == "2016-10-19T23:20:52.240Z"


@pytest.mark.parametrize(
    "event",
    [
        {"eventType": "Delivery", "mail": "none"},
        {"eventType": "Delivery", "mail": {"tags": "none"}},
        {"eventType": "Delivery", "mail": {"headers": [{"value": "without a name"}]}},
        {"eventType": "Delivery", "mail": {"commonHeaders": 7}},
    ],
    ids=str,
)
def test_feedback_that_has_not_the_shape_of_an_event_is_unreadable(event):
    with pytest.raises(UnreadableEvent):
        line_of(a_record(event), None, "1-0")


@pytest.mark.parametrize(
    "raw",
    [b'{"k":"ses"}', b'{"k":"ses","id":"A b","at":1,"type":"Delivery","event":{}}', b'{"k":"ses","id":"x","at":"soon"'],
)
def test_what_is_no_feedback_record_is_unreadable(raw):
    with pytest.raises(UnreadableEvent):
        decoded(raw)


def test_an_unknown_kind_has_no_type():
    with pytest.raises(UnreadableEvent):
        event_type_of(EventRecord("odd", OURS, 1))


def test_a_message_repr_stays_out_of_errors():
    with pytest.raises(UnreadableEvent) as caught:
        line_of(EventRecord("send", OURS, AT_MS, (7,)), a_known_message(), "1-0")
    assert "@" not in str(caught.value.detail)
    assert isinstance(a_known_message().message, Message)
