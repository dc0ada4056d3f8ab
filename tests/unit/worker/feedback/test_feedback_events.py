"""Which call an event is about: what is believed, and that nothing else does any harm."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.records import new_message_id
from tests.feedback_stand import a_bounce, as_notification
from worker.feedback.events import SentCall, call_of, milliseconds, note_call
from worker.feedback.ses_event import ses_event_of, unwrapped

MESSAGE_ID = new_message_id()
SES_ID = "010001860e4a0c9b-21ba9d5a-54a1-4b4e-8c9b-1a2b3c4d5e6f-000000"


def an_event(event_type: str = "Send", **mail: Any) -> dict[str, Any]:
    """As SES publishes it, cut down to what stands in every event."""
    return {
        "eventType": event_type,
        "mail": {
            "timestamp": "2016-10-14T05:02:16.645Z",
            "source": "sender@example.com",
            "sendingAccountId": "123456789012",
            "messageId": SES_ID,
            "destination": ["recipient@example.com"],
            "headers": [{"name": "From", "value": "sender@example.com"}],
            "tags": {"ses:configuration-set": ["ConfigSet"], "sluice-batch": [f"{MESSAGE_ID}.2"]},
            **mail,
        },
        event_type.lower(): {},
    }


THE_CALL = SentCall(MESSAGE_ID, 2, SES_ID, 1_476_421_336_645)


class FakeSpool:
    """Remembers what it was told."""

    def __init__(self, answer: str = "noted") -> None:
        self.answer = answer
        self.told: list[tuple[str, int, str, int]] = []

    async def confirm(self, message_id: str, attempt_number: int, ses_message_id: str, at_ms: int) -> Any:
        self.told.append((message_id, attempt_number, ses_message_id, at_ms))
        return self.answer


@pytest.mark.parametrize(
    "event_type",
    ["Send", "Delivery", "Bounce", "Complaint", "Reject", "DeliveryDelay", "Open", "Click", "Subscription"],
)
def test_an_event_of_any_type_proves_the_call_that_its_tag_names(event_type):
    assert call_of(an_event(event_type)) == THE_CALL


def test_an_older_notification_proves_it_by_the_header():
    event = an_event(tags={}, headers=[{"name": "X-Sluice-Batch", "value": f" {MESSAGE_ID}.2 "}])
    event["notificationType"] = event.pop("eventType")
    assert call_of(event) == THE_CALL
    del event["mail"]["tags"]
    assert call_of(event) == THE_CALL


def test_the_tag_goes_before_the_header_and_a_tag_of_another_form_does_not_hide_it():
    header = [{"name": "x-sluice-batch", "value": f"{MESSAGE_ID}.2"}]
    assert call_of(an_event(headers=[{"name": "X-Sluice-Batch", "value": "other.7"}])) == THE_CALL
    assert call_of(an_event(tags={"sluice-batch": ["not ours"]}, headers=header)) == THE_CALL


def test_an_instant_without_a_zone_is_utc():
    assert call_of(an_event(timestamp="2016-10-14T05:02:16.645")) == THE_CALL
    assert call_of(an_event(timestamp="2016-10-14T07:02:16.645+02:00")) == THE_CALL


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"eventType": "Send"},
        {"eventType": "Send", "mail": "text"},
        {"eventType": "Send", "mail": []},
        {name: value for name, value in an_event().items() if name != "eventType"},
        an_event(tags={}),
        an_event(tags=None, headers=None),
        an_event(tags={"sluice-batch": f"{MESSAGE_ID}.2"}),
        an_event(tags={"sluice-batch": [MESSAGE_ID]}),
        an_event(tags={"sluice-batch": [f"{MESSAGE_ID}.-1"]}),
        an_event(tags={"sluice-batch": [f"{MESSAGE_ID}.1234567890"]}),
        an_event(tags={"sluice-batch": [f"{MESSAGE_ID}.٢"]}),
        an_event(tags={"sluice-batch": ["../../etc.1"]}),
        an_event(tags={"sluice-batch": ["x" * 121 + ".1"]}),
        an_event(tags={"sluice-batch": [17]}),
        an_event(messageId=""),
        an_event(messageId=None),
        an_event(messageId="x" * 201),
        an_event(messageId="id\nwith a line break"),
        an_event(timestamp=None),
        an_event(timestamp=1_476_421_336),
        an_event(timestamp="yesterday"),
    ],
)
def test_what_is_no_event_about_a_call_of_ours_is_passed_over(event):
    assert call_of(event) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda one: (
            st.lists(one)
            | st.dictionaries(
                st.sampled_from(
                    ["mail", "tags", "headers", "name", "value", "sluice-batch", "eventType", "messageId", "timestamp"]
                ),
                one,
            )
        ),
    )
)
def test_no_json_whatever_is_an_error(value):
    event = value if isinstance(value, dict) else {"eventType": "Send", "mail": value}
    assert call_of(event) is None
    if (found := ses_event_of(event)) is not None:
        assert found.mark == ses_event_of(event).mark  # type: ignore[union-attr]  # the line above
    unwrapped(json.dumps(value))


@pytest.mark.parametrize("answer", ["noted", "known", "unknown"])
async def test_the_spools_answer_is_the_answer(answer):
    spool = FakeSpool(answer)
    call = call_of(json.loads(json.dumps(an_event())))
    assert call is not None
    assert await note_call(spool, call) == answer
    assert spool.told == [(MESSAGE_ID, 2, SES_ID, 1_476_421_336_645)]


def test_the_instant_of_awss_own_page_is_understood():
    assert milliseconds("2018-10-08T14:05:45 +0000") == 1_539_007_545_000
    assert milliseconds("2009-12-03T04:24:21.000-05:00") == 1_259_832_261_000


@pytest.mark.parametrize("shape", ["event", "notification"])
@pytest.mark.parametrize("odd", [None, 5, "text", [1], {"timestamp": 5}, {"timestamp": "then"}])
def test_a_destination_is_never_given_a_member_of_a_wrong_type(odd: Any, shape: str):
    event = a_bounce()
    event["bounce"] = odd
    event["mail"] |= {"destination": odd, "headers": [{"name": "X-Only"}], "tags": odd, "commonHeaders": [odd]}
    if shape == "notification":
        event["mail"]["tags"] = {}
        event = as_notification(event)
        event["mail"]["headers"] = [{"name": "X-Only", "value": odd}]
    found = ses_event_of(event)
    assert found is not None
    told = found.json
    assert isinstance(told["bounce"], dict)
    assert "timestamp" not in told["bounce"]
    assert all(isinstance(one, str) for one in told["mail"].get("destination", []))
    assert all(isinstance(one["value"], str) for one in told["mail"].get("headers", []))
    assert "commonHeaders" not in told["mail"]
