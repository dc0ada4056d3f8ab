"""Event records: the short form and its inverse, and the shape in which they are told outside."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sending_events.records import EVENT_TYPES, EventRecord, UnreadableEvent, iso
from sending_events.rendering import Known, line_of
from spool.records import Message
from spool.states import Place, RecipientState
from spool.verdicts import Verdict

AT_MS = 1_700_000_000_123
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


def a_message(recipients: int = 3, **changes: object) -> Message:
    values = {
        "message_id": "ours",
        "sender": "sender@example.com",
        "recipients": tuple(f"user{number}@example.net" for number in range(recipients)),
        "states": (RecipientState.WAITING,) * recipients,
        "place": Place.DUE,
        "accepted_at_ms": 1_600_000_000_000,
        "size_bytes": 100,
        "door": "smtp",
        "header_message_id": "h@example.com",
        "user": "",
        "client_address": "127.0.0.1",
        "helo": "client",
        "is_auto_submitted": False,
        "content_ref": "",
        "rounds": 0,
        "failures": 0,
        "crashes": 0,
        "reason": "",
        "until_ms": 0,
    }
    return Message(**(values | changes))


def rendered_line(record: EventRecord, message: Message | None, event_id: str) -> bytes:
    """The line of a record whose message's headers are not kept any more."""
    return line_of(record, Known(message) if message else None, event_id)


def rendered(record: EventRecord, message: Message | None, event_id: str) -> dict[str, Any]:
    return orjson.loads(rendered_line(record, message, event_id))


@given(
    st.builds(
        EventRecord,
        kind=st.sampled_from(sorted(EVENT_TYPES)),
        message_id=st.from_regex(r"[a-z0-9-]{1,120}", fullmatch=True),
        at_ms=st.integers(0, 2**52),
        recipients=st.none() | st.lists(st.integers(0, 9999), max_size=20).map(tuple),
        ses_message_id=TEXT,
        reason=TEXT,
        attempt=st.integers(0, 1000),
        next_at_ms=st.integers(0, 2**52),
        rule=TEXT.filter(bool),
        action=TEXT,
        direction=st.sampled_from(["", "INBOUND", "OUTBOUND"]),
        version=TEXT,
    )
)
def test_decode_is_the_inverse_of_encode(record):
    assert EventRecord.decode(record.encode()) == record


def test_a_reason_that_is_no_proper_text_does_not_stop_the_event():
    decoded = EventRecord.decode(EventRecord("reject", "ours", AT_MS, reason="bad \udcff byte").encode())
    assert decoded.reason == "bad \\udcff byte"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"k":"send"}',
        b'{"k":"send","id":"A b","at":1}',
        b'{"k":"send","id":7,"at":1}',
        b'{"k":"send","id":"x","at":1,"r":7}',
        b"\xff",
    ],
)
def test_what_is_no_event_is_unreadable(raw):
    with pytest.raises(UnreadableEvent):
        EventRecord.decode(raw)


def test_a_send_event_has_the_shape_of_ses():
    record = EventRecord("send", "ours", AT_MS, (0, 2), ses_message_id="theirs", attempt=1)
    assert rendered(record, a_message(user="app"), "1-0") == {
        "eventType": "Send",
        "eventId": "1-0",
        "mail": {
            "timestamp": "2023-11-14T22:13:20.123Z",
            "messageId": "ours",
            "source": "sender@example.com",
            "destination": ["user0@example.net", "user2@example.net"],
            "headersTruncated": True,
            "headers": [{"name": "Message-ID", "value": "<h@example.com>"}],
            "commonHeaders": {"messageId": "ours"},
            "tags": {
                "ses:source-ip": ["127.0.0.1"],
                "ses:from-domain": ["example.com"],
                "ses:caller-identity": ["app"],
                "sluice:message-id": ["ours"],
                "sluice:ses-message-id": ["theirs"],
                "sluice:attempt": ["1"],
                "sluice:user": ["app"],
            },
        },
        "send": {},
    }


def test_a_send_event_tells_who_got_the_mail_instead():
    record = EventRecord("send", "ours", AT_MS, (0,), ses_message_id="theirs", redirected_to="catch@dev.example")
    assert EventRecord.decode(record.encode()) == record
    mail = rendered(record, a_message(), "1-0")["mail"]
    assert mail["tags"]["sluice:redirected-to"] == ["catch@dev.example"]
    assert mail["destination"] == ["user0@example.net"]


def test_a_reject_event_tells_its_reason_and_nothing_else():
    event = rendered(EventRecord("reject", "ours", AT_MS, (1,), reason="Bad content"), a_message(), "1-0")
    assert (event["eventType"], event["reject"]) == ("Reject", {"reason": "Bad content"})
    assert event["mail"]["destination"] == ["user1@example.net"]
    assert event["mail"]["timestamp"] == iso(AT_MS)


def test_an_accepted_event_names_all_recipients_and_our_id():
    event = rendered(EventRecord("accepted", "ours", AT_MS), a_message(2), "1-0")
    assert event["mail"]["messageId"] == "ours"
    assert event["mail"]["timestamp"] == "2020-09-13T12:26:40.000Z"
    assert event["accepted"] == {"timestamp": iso(AT_MS), "recipients": ["user0@example.net", "user1@example.net"]}


def test_an_accepted_event_names_whom_the_application_wrote_to_and_all_others_whom_the_mail_goes_to():
    message = a_message(2).judged(Verdict("1", added=("tee@example.org",), replaced={0: "new@example.org"}))
    now = ["new@example.org", "user1@example.net", "tee@example.org"]
    told = {kind: rendered(EventRecord(kind, "ours", AT_MS), message, "1-0") for kind in ("accepted", "held")}
    assert told["accepted"]["accepted"]["recipients"] == ["user0@example.net", "user1@example.net"]
    assert told["held"]["held"]["recipients"] == told["held"]["mail"]["destination"] == now


def test_an_event_of_a_rule_tells_its_name_its_kind_and_what_it_did():
    record = EventRecord(
        "rule_applied", "ours", AT_MS, (1,), reason="sender app@example.com",
        rule="disclaimer", action="DEFAULT", direction="OUTBOUND", version="c0ffee",
    )  # fmt: skip
    event = rendered(record, a_message(), "1-0")
    assert event["eventType"] == "sluice:RuleApplied"
    assert event["mail"]["messageId"] == "ours"
    assert event["ruleApplied"] == {
        "timestamp": iso(AT_MS),
        "recipients": ["user1@example.net"],
        "ruleName": "disclaimer",
        "ruleType": "OUTBOUND_RULE",
        "ruleActions": "DEFAULT",
        "version": "c0ffee",
        "reason": "sender app@example.com",
    }
    inbound = rendered(dataclasses.replace(record, direction="INBOUND"), a_message(), "1-0")
    assert inbound["ruleApplied"]["ruleType"] == "INBOUND_RULE"


def test_a_bounced_event_tells_the_text_of_the_bounce():
    record = EventRecord("bounced", "ours", AT_MS, (0,), reason="No such service", rule="closed", action="BOUNCE")
    event = rendered(record, a_message(), "1-0")
    assert event["eventType"] == "sluice:Bounced"
    assert event["bounced"] == {
        "timestamp": iso(AT_MS),
        "recipients": ["user0@example.net"],
        "ruleName": "closed",
        "ruleActions": "BOUNCE",
        "reason": "No such service",
    }


def test_an_event_without_a_rule_is_as_short_as_ever():
    assert orjson.loads(EventRecord("send", "ours", AT_MS, (0,)).encode()).keys() == {"k", "id", "at", "r"}
    assert "ruleName" not in rendered(EventRecord("held", "ours", AT_MS), a_message(), "1-0")["held"]


def test_names_of_rules_that_are_no_proper_text_do_not_stop_the_event():
    record = EventRecord("rule_applied", "ours", AT_MS, (0,), reason="fine", rule="bad \udcff", action="\udc80")
    decoded = EventRecord.decode(record.encode())
    assert (decoded.rule, decoded.action, decoded.reason) == ("bad \\udcff", "\\udc80", "fine")


def test_a_deferred_event_tells_when_the_next_attempt_is():
    record = EventRecord("deferred", "ours", AT_MS, (0,), reason="busy", attempt=2, next_at_ms=AT_MS + 2000)
    assert rendered(record, a_message(), "1-0")["deferred"] == {
        "timestamp": "2023-11-14T22:13:20.123Z",
        "recipients": ["user0@example.net"],
        "reason": "busy",
        "nextAttemptAt": "2023-11-14T22:13:22.123Z",
    }


@pytest.mark.parametrize("kind", sorted(EVENT_TYPES))
def test_an_event_of_a_forgotten_message_is_still_told(kind):
    event = orjson.loads(rendered_line(EventRecord(kind, "ours", AT_MS, (4,), "theirs", "why"), None, "1-0"))
    event_type, object_name = EVENT_TYPES[kind]
    assert event["eventType"] == event_type
    assert object_name in event
    assert event["mail"]["messageId"] == event["mail"]["commonHeaders"]["messageId"] == "ours"
    assert event["mail"]["tags"]["sluice:ses-message-id"] == ["theirs"]
    assert event["mail"]["timestamp"] == iso(AT_MS)
    assert event["mail"]["destination"] == []


@pytest.mark.parametrize("stored", ["h@example.com", "<h@example.com>"])
def test_the_header_message_id_is_told_with_its_brackets(stored):
    mail = rendered(EventRecord("accepted", "ours", AT_MS), a_message(header_message_id=stored), "1-0")["mail"]
    assert mail["headers"] == [{"name": "Message-ID", "value": "<h@example.com>"}]


def test_a_message_without_header_message_id_has_no_headers():
    mail = rendered(EventRecord("accepted", "ours", AT_MS), a_message(header_message_id=""), "1-0")["mail"]
    assert mail["headers"] == []


@pytest.mark.parametrize(
    "record",
    [
        EventRecord("send", "ours", AT_MS, (7,)),
        EventRecord("opened", "ours", AT_MS),
        EventRecord("accepted", "ours", 10**30),
        EventRecord("accepted", "ours", "soon"),
    ],
)
def test_an_event_that_does_not_fit_its_message_is_unreadable(record):
    with pytest.raises(UnreadableEvent):
        rendered_line(record, a_message(), "1-0")


@given(TEXT)
def test_a_line_never_contains_a_line_end(reason):
    line = rendered_line(EventRecord("reject", "ours", AT_MS, reason="a\r\nb" + reason), a_message(), "1-0")
    assert b"\n" not in line
    assert b"\r" not in line


@given(st.integers(0, 253_402_300_799_999))
def test_times_are_told_in_milliseconds_and_utc(at_ms):
    told = iso(at_ms)
    assert told.endswith("Z")
    assert len(told) == len("2023-11-14T22:13:20.123Z")
    instant = datetime.fromisoformat(told)
    assert instant.tzinfo == UTC
    assert (int(instant.timestamp()) * 1000 + instant.microsecond // 1000) == at_ms
