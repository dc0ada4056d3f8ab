"""SES refuses a whole call for one recipient: that one is found and bounced, everybody else gets the message once."""

import pytest

from sending_events.records import EventRecord
from spool.nudge import Nudger
from spool.records import NewMessage, new_message_id
from spool.states import IDENTITY, Place
from tests.line import Line, wait_until

pytestmark = pytest.mark.processes


def submit(line, recipients, content=b"From: app@example.com\r\nTo: list@example.net\r\nSubject: test\r\n\r\nbody\r\n"):
    """One message with these recipients, past the door that would have refused some."""
    message_id = new_message_id()
    accepted = EventRecord("accepted", message_id, 1).encode()
    message = NewMessage(message_id, "app@example.com", tuple(recipients), content, event=accepted)

    async def accept(spool):
        await spool.accept(message)
        await Nudger(spool.redis, line.settings).push([[message_id]])

    line.run(accept)
    return message_id


def addresses(count):
    return [f"r{number}.x@example.net" for number in range(count)]


def bounced(line):
    """Final recipients of every bounce that was sent."""
    found = []
    for entry in line.ledger():
        raw = line.http("GET", f"/messages/{entry['ses_message_id']}").decode()
        found += [text.partition(";")[2].strip() for text in raw.splitlines() if text.startswith("Final-Recipient:")]
    return found


def calls(line, message_id):
    return [(one.outcome, len(one.recipients)) for one in line.load(message_id).attempts]


@pytest.mark.parametrize("place", [0, 24, 49])
def test_one_refused_recipient_of_fifty_costs_six_calls_and_one_for_the_rest(place):
    with Line() as line:
        line.worker()
        line.fault("reject", match_recipient=f"r{place}.x")
        message_id = submit(line, addresses(50))
        line.wait_for([message_id])
        account = line.account([message_id])
        account.assert_clean()
        assert account.by_state == {"sent": 49, "rejected": 1}
        assert account.duplicates == 0
        made = calls(line, message_id)
        assert made[0] == ("split", 50)
        assert len(made) <= 8
        wait_until(lambda: bounced(line), "the bounce is sent")
        assert bounced(line) == [f"r{place}.x@example.net"]


def test_a_malformed_address_costs_one_call():
    with Line() as line:
        line.worker()
        recipients = addresses(50)
        recipients[30] = "no domain at all"
        message_id = submit(line, recipients)
        line.wait_for([message_id])
        line.account([message_id]).assert_clean()
        assert calls(line, message_id) == [("split", 50), ("accepted", 49)]
        wait_until(lambda: bounced(line), "the bounce is sent")
        assert bounced(line) == ["no domain at all"]


def test_recipients_that_the_sandbox_does_not_know_are_named_by_ses_and_bounced():
    with Line() as line:
        line.worker()
        line.change(sandbox=True, max_send_rate=0, verified_identities=["example.com", *addresses(8)])
        message_id = submit(line, [*addresses(8), "unknown1@example.org", "unknown2@example.org"])
        line.wait_for([message_id])
        account = line.account([message_id])
        account.assert_clean()
        assert account.by_state == {"sent": 8, "rejected": 2}
        assert [outcome for outcome, _ in calls(line, message_id)] == ["split", "accepted"]


def test_a_sender_that_is_not_verified_delays_its_message_and_no_other():
    with Line() as line:
        line.worker()
        line.fault("not_verified", match_recipient="r0.x")
        waiting = submit(line, addresses(2))
        line.wait_for([waiting], Place.PARKED)
        wait_until(lambda: line.load(waiting).reason == IDENTITY, "it says for what it waits")
        others = line.submit(5)
        line.wait_for(others)
        line.no_faults()
        line.wait_for([waiting])
        account = line.account([waiting, *others])
        account.assert_clean()
        assert account.by_state == {"sent": 7}


def test_a_message_that_nobody_can_have_is_bounced_when_a_fifth_was_tried_alone():
    with Line() as line:
        line.worker()
        line.fault("refuse", code="InvalidParameterValue", status=400, text="Extra route-addr", match_recipient=".x")
        message_id = submit(line, addresses(120))
        line.wait_for([message_id])
        account = line.account([message_id])
        assert account.by_state == {"rejected": 120}
        assert 24 <= len(calls(line, message_id)) <= 34
        wait_until(lambda: bounced(line), "the bounce is sent")
        assert sorted(bounced(line)) == sorted(addresses(120))


def test_a_content_that_ses_refuses_is_bounced_after_one_call():
    with Line() as line:
        line.worker()
        doubled = b"From: app@example.com\r\nTo: list@example.net\r\n" + b"List-Unsubscribe: <a>\r\n" * 2 + b"\r\nx\r\n"
        message_id = submit(line, addresses(60), doubled)
        line.wait_for([message_id])
        assert line.account([message_id]).by_state == {"rejected": 60}
        assert len(calls(line, message_id)) == 1


def test_a_header_with_too_many_addresses_is_rewritten_when_ses_counts_it():
    with Line() as line:
        line.worker()
        line.change(header_recipients="count")
        recipients = addresses(70)
        long = (
            b"From: app@example.com\r\nTo: " + ",\r\n ".join(recipients).encode() + b"\r\nSubject: test\r\n\r\nbody\r\n"
        )
        message_id = submit(line, recipients, long)
        line.wait_for([message_id])
        account = line.account([message_id])
        account.assert_clean()
        assert account.by_state == {"sent": 70}
        assert calls(line, message_id) == [("split", 50), ("accepted", 50), ("accepted", 20)]
        raw = line.http("GET", f"/messages/{line.ledger()[-1]['ses_message_id']}").decode()
        assert "r69.x@example.net" in raw
        assert "r0.x@example.net" not in raw


@pytest.mark.parametrize("step", ["relay.after_intent", "relay.after_call"])
def test_a_worker_killed_during_the_search_leaves_it_to_the_next(step):
    with Line() as line:
        line.fault("reject", match_recipient="r17.x")
        for after in (1, 2):
            doomed = line.worker(failpoints=f"{step}=kill")
            if after == 1:
                message_id = submit(line, addresses(50))
            line.wait_for_death(doomed, step)
        line.worker()
        line.wait_for([message_id])
        account = line.account([message_id])
        account.assert_clean()
        assert account.by_state == {"sent": 49, "rejected": 1}
