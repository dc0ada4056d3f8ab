"""A call without an answer under the policies confirm and resend, with the simulator's own events as proof.

Where an event has to settle the doubt, confirm_seconds is ten minutes: nothing else could have ended it in time. Where
it does not matter how the answer is lost, SES closes the connection: no time limit can cut a call that had no fault.
"""

import random
import urllib.request

import pytest

from spool.states import AWAITS_EVENT, Place, RecipientState
from tests.line import Account, Line, wait_until
from tests.running import RunningUp

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

LONG = "600"
#: SES took the call, and the client never hears of it.
TAKEN_WITHOUT_AN_ANSWER = ["hang_after", "close_after", "cut_answer", "html_200"]


def confirming(confirm_seconds: str = LONG, **settings: str) -> Line:
    """A line whose workers count on SES's events."""
    line = Line(
        SLUICE_RELAY_CALL_TIMEOUT_SECONDS="8",  # of the calls that hang; no other one takes so long
        SLUICE_RELAY_CONFIRM_SECONDS=confirm_seconds,
        SLUICE_WORKER_MAX_CRASHES="100",
        **settings,
    )
    line.environment["SLUICE_FEEDBACK_SIMULATOR_URL"] = line.simulator_url
    return line


def clean_account(line: Line, ids: list[str], *, sent: int, duplicates: int = 0) -> Account:
    account = line.account(ids)
    account.assert_clean()
    assert account.by_state == {"sent": sent}
    assert account.duplicates == duplicates
    return account


def test_an_event_settles_a_call_without_an_answer_and_nothing_is_sent_twice():
    with confirming() as line:
        line.start("feedback")
        line.worker()
        ids = []
        for fault in TAKEN_WITHOUT_AN_ANSWER:
            line.no_faults()
            line.fault(fault, count=1)
            ids += line.submit(3, recipients=4)
            line.wait_for(ids)
            assert [one["hits"] for one in line.faults()] == [1], fault
            assert len(line.ledger()) == len(ids), fault
        clean_account(line, ids, sent=4 * len(ids))
        attempts = [one for message in line.load_all(ids).values() for one in message.attempts]
        assert [one.outcome for one in attempts] == ["accepted"] * len(ids)
        assert {one.ses_message_id for one in attempts} == {entry["ses_message_id"] for entry in line.ledger()}


def test_the_rest_of_the_message_goes_on_and_the_doubt_waits_for_a_reader_that_is_away():
    with confirming() as line:
        line.worker()
        line.fault("close_after", after_calls=1, count=1)
        (message_id,) = line.submit(1, recipients=120)
        line.wait_for([message_id], Place.PARKED)
        wait_until(lambda: line.load(message_id).reason == AWAITS_EVENT, "only the doubt is left")
        message = line.load(message_id)
        assert len(message.indexes(RecipientState.SENT)) == 70
        assert message.indexes(RecipientState.UNKNOWN) == tuple(range(50, 100))
        line.start("feedback")
        line.wait_for([message_id])
        clean_account(line, [message_id], sent=120)
        assert len(line.ledger()) == 3


def test_without_an_event_a_reader_that_listened_lets_it_be_sent_again_once():
    with confirming("1") as line:
        line.start("feedback")
        line.worker()
        line.fault("close_before", count=1)
        ids = line.submit(1, recipients=3)
        line.wait_for(ids)
        clean_account(line, ids, sent=3)
        assert len(line.ledger()) == 1
        assert [one.outcome for one in line.load(ids[0]).attempts] == ["unknown", "accepted"]


def test_while_nobody_listens_silence_is_no_answer():
    with confirming("1") as line:
        line.worker()
        line.fault("close_before", count=1)
        (message_id,) = line.submit(1)
        line.wait_for([message_id], Place.PARKED)
        ended_at_ms = line.load(message_id).attempts[0].ended_at_ms
        assert ended_at_ms
        # Other mail keeps flowing; when it was accepted long after the time was over, the doubt still waits.
        wait_until(lambda: line.load(line.submit(1)[0]).accepted_at_ms > ended_at_ms + 4000, "the time is over")
        message = line.load(message_id)
        assert message.place is not Place.DONE
        assert message.indexes(RecipientState.UNKNOWN) == (0,)
        assert [one.outcome for one in message.attempts] == ["unknown"]
        line.start("feedback")
        line.wait_for([message_id])
        clean_account(line, [message_id], sent=1)


def test_events_that_come_late_are_believed_when_they_come():
    with confirming() as line:
        line.http("PUT", "/settings", {"events_unavailable": True})
        reader = line.start("feedback")
        line.worker()
        line.fault("close_after", count=1)
        ids = line.submit(1, recipients=2)
        line.wait_for(ids, Place.PARKED)
        wait_until(lambda: "feedback.away" in reader.log(), "the reader says that its source is away")
        line.http("PUT", "/settings", {"events_unavailable": False})
        line.wait_for(ids)
        clean_account(line, ids, sent=2)
        assert "feedback.back" in reader.log()


@pytest.mark.parametrize(
    ("step", "confirm_seconds"),
    [("relay.after_intent", "1"), ("relay.after_call", LONG), ("relay.after_outcome", LONG)],  # of the first comes none
)
def test_a_worker_killed_around_its_call_doubles_nothing(step, confirm_seconds):
    with confirming(confirm_seconds) as line:
        line.start("feedback")
        ids = line.submit(1, recipients=60)
        doomed = line.worker(failpoints=f"{step}=kill")
        line.wait_for_death(doomed, step)
        line.worker()
        line.wait_for(ids)
        clean_account(line, ids, sent=60)
        assert len(line.ledger()) == 2


def test_repeated_kills_and_hanging_calls_lose_and_double_nothing():
    with confirming("6") as line:  # a worker killed before its call leaves a doubt about which no event comes
        line.start("feedback")
        line.fault("hang_after", count=5, after_calls=10)
        ids = line.submit(100, recipients=3)
        for _ in range(3):
            doomed = line.worker(failpoints="relay.after_call=kill")
            line.wait_for_death(doomed, "relay.after_call")
        workers = [line.worker(), line.worker()]
        wait_until(lambda: len(line.ledger()) > 40, "work is under way")
        random.choice(workers).kill()
        # Its leases end by themselves, so that the other one may go on meanwhile.
        line.wait_for(ids, seconds=120)
        clean_account(line, ids, sent=300)
        assert len(line.ledger()) == 100


def test_a_reader_killed_before_its_position_was_written_reads_again_without_harm():
    with confirming() as line:
        doomed = line.start("feedback", wait=False, SLUICE_FAILPOINTS="feedback.before_position=kill")
        line.worker()
        line.fault("close_after", count=1)
        ids = line.submit(2, recipients=2)
        wait_until(lambda: not doomed.is_running(), "the reader dies")
        line.start("feedback")
        line.wait_for(ids)
        clean_account(line, ids, sent=4)


def test_with_resend_exactly_the_recipients_of_unknown_calls_get_two_copies():
    with confirming(SLUICE_RELAY_UNKNOWN="resend") as line:  # nobody reads events: one could be quicker than the repeat
        line.worker()
        line.http("PUT", "/faults", [{"kind": "close_after", "count": 2}, {"kind": "close_before", "count": 2}])
        ids = line.submit(8, recipients=5)
        line.wait_for(ids)
        attempts = [one for message in line.load_all(ids).values() for one in message.attempts]
        assert [one.outcome for one in attempts].count("unknown") == 4
        clean_account(line, ids, sent=40, duplicates=2 * 5)


def test_auto_means_confirm_with_events_and_resend_without():
    with confirming() as line:
        assert line.settings.unknown_policy == "confirm"
        del line.environment["SLUICE_FEEDBACK_SIMULATOR_URL"]
        assert line.settings.unknown_policy == "resend"
        line.worker()
        line.fault("close_after", count=1)
        ids = line.submit(1, recipients=4)
        line.wait_for(ids)
        clean_account(line, ids, sent=4, duplicates=4)


def test_up_with_the_simulator_confirms_out_of_the_box():
    with RunningUp(relay_confirm_seconds=LONG, relay_call_timeout_seconds=20) as up:
        assert "feedback" in up.pids()
        fault = urllib.request.Request(
            up.url("simulator", "/faults"), b'{"kind": "close_after", "count": 1}', method="PUT"
        )
        urllib.request.urlopen(fault, timeout=20).close()
        message_id = up.send("app@example.com", ["you@example.com"], "Subject: once\r\n\r\nonce\r\n")
        up.wait_until(lambda: up.log_lines("feedback.confirmed"), "an event settles the call")
        up.wait_until(lambda: up.log_lines("message.finished"), "the message is finished")
        assert [entry["destinations"] for entry in up.ledger()] == [["you@example.com"]]
        assert up.log_lines("feedback.confirmed")[0]["message_id"] == message_id
        assert up.stop() == 0
