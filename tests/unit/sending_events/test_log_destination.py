"""The log destination: one line an event, addresses at debug only."""

import logging

import orjson
import structlog
from structlog.testing import CapturingLogger

from sending_events.destinations.log import LogDestination
from sending_events.records import EVENT_TYPES, EventRecord
from tests.unit.sending_events.test_event_records import AT_MS, a_message, rendered_line


def logging_at(level: int) -> tuple[LogDestination, CapturingLogger]:
    capturing = CapturingLogger()
    log = structlog.wrap_logger(
        capturing, processors=[], wrapper_class=structlog.make_filtering_bound_logger(level), context_class=dict
    )
    return LogDestination(log), capturing


async def test_an_event_is_one_line_without_addresses():
    destination, log = logging_at(logging.INFO)
    record = EventRecord("reject", "ours", AT_MS, (0, 1), ses_message_id="theirs", reason="Bad content")
    await destination.take([rendered_line(record, a_message(), "5-0")])
    assert [(call.method_name, call.kwargs) for call in log.calls] == [
        (
            "info",
            {
                "event": "event",
                "type": "Reject",
                "event_id": "5-0",
                "message_id": "ours",
                "ses_message_id": "theirs",
                "recipients": 2,
                "reason": "Bad content",
            },
        )
    ]
    assert "@" not in repr(log.calls)


async def test_addresses_are_told_at_debug():
    destination, log = logging_at(logging.DEBUG)
    await destination.take([rendered_line(EventRecord("accepted", "ours", AT_MS), a_message(1), "5-0")])
    assert log.calls[0].kwargs["addresses"] == ["user0@example.net"]
    assert log.calls[0].kwargs["sender"] == "sender@example.com"
    assert log.calls[0].kwargs["ses_message_id"] == ""


async def test_every_kind_of_event_has_its_line():
    destination, log = logging_at(logging.INFO)
    await destination.take([rendered_line(EventRecord(kind, "ours", AT_MS), None, "5-0") for kind in EVENT_TYPES])
    assert [call.kwargs["type"] for call in log.calls] == [event_type for event_type, _ in EVENT_TYPES.values()]


async def test_a_quiet_log_takes_events_all_the_same():
    destination, log = logging_at(logging.ERROR)
    await destination.take([rendered_line(EventRecord("accepted", "ours", AT_MS), a_message(), "5-0")])
    assert log.calls == []


async def test_what_an_operator_did_and_what_ses_tells_have_their_lines():
    destination, log = logging_at(logging.INFO)
    await destination.take(
        [
            orjson.dumps({"eventType": "sluice:Operator", "eventId": "5-0", "operator": {"reason": "a test"}}),
            orjson.dumps(
                {
                    "eventType": "Delivery",
                    "eventId": "6-0",
                    "mail": {"messageId": "ours", "destination": ["a@example.net"], "tags": {}},
                    "delivery": {"recipients": ["a@example.net"]},
                }
            ),
        ]
    )
    assert [call.kwargs["type"] for call in log.calls] == ["sluice:Operator", "Delivery"]
    assert log.calls[0].kwargs["reason"] == "a test"
    assert (log.calls[1].kwargs["message_id"], log.calls[1].kwargs["recipients"]) == ("ours", 1)
