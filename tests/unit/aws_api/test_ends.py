import dataclasses

from aws_api.admin.ends import REASON, end_of
from sending_events.records import EventRecord
from spool.records import Attempt, Message
from spool.states import Place, RecipientState

NOW_MS = 1_700_000_000_000
ATTEMPT = Attempt(1, (0, 1), NOW_MS - 1000, "worker-1")


def message(states: str, *attempts: Attempt) -> Message:
    return Message(
        message_id="id-1",
        sender="app@example.com",
        recipients=tuple(f"user{n}@example.net" for n in range(len(states))),
        states=tuple(map(RecipientState, states)),
        place=Place.HELD,
        accepted_at_ms=NOW_MS - 2000,
        size_bytes=100,
        door="smtp",
        header_message_id="",
        user="",
        client_address="",
        helo="",
        is_auto_submitted=False,
        content_ref="",
        rounds=0,
        failures=0,
        crashes=0,
        reason="x",
        until_ms=NOW_MS,
        attempts=attempts,
    )


def test_everybody_without_a_final_state_is_dropped():
    end = end_of(message("wuSREDs"), NOW_MS)
    assert "".join(end.states) == "DDSREDD"
    assert end.counts == {"dropped_recipients": 3, "finished_messages": 1}
    assert (end.dropped, end.in_doubt) == (3, 2)
    assert end.events == (EventRecord("dropped", "id-1", NOW_MS, (0, 1, 6), reason=REASON).encode(),)


def test_a_message_whose_recipients_are_all_final_only_ends():
    end = end_of(message("SR"), NOW_MS)
    assert (end.events, end.counts, end.dropped) == ((), {"finished_messages": 1}, 0)


def test_what_ses_accepted_too_late_for_its_worker_is_sent_and_not_dropped():
    accepted = dataclasses.replace(ATTEMPT, outcome="accepted", ended_at_ms=NOW_MS - 500, ses_message_id="ses-1")
    end = end_of(message("sSw", accepted), NOW_MS)
    assert "".join(end.states) == "SSD"
    assert end.counts == {"sent_recipients": 1, "dropped_recipients": 1, "finished_messages": 1}
    assert end.in_doubt == 0
    assert end.events == (
        EventRecord("send", "id-1", NOW_MS - 500, (0,), ses_message_id="ses-1", attempt=1).encode(),
        EventRecord("dropped", "id-1", NOW_MS, (2,), reason=REASON).encode(),
    )


def test_a_call_that_was_begun_and_has_no_answer_is_in_doubt():
    end = end_of(message("ssw", ATTEMPT), NOW_MS)
    assert ("".join(end.states), end.dropped, end.in_doubt) == ("DDD", 3, 2)
