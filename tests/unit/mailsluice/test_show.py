import dataclasses
import json

import pytest

from aws_api.admin.story import Surroundings, described
from aws_api.admin.wording import distance, escaped, many, span
from mailsluice.show import told
from spool.records import Attempt, Message
from spool.send_parameters import SendParameters
from spool.sending_quota import LaneView, Pause, Seat
from spool.states import AWAITS_EVENT, FAR_FUTURE_MS, IN_LANE, Place, RecipientState
from tests.figures_at_rest import a_route

NOW = 1_700_000_000_000
WAITING, SENT = RecipientState.WAITING, RecipientState.SENT

MESSAGE = Message(
    message_id="0000018bcfe56800-aaaa-000000",
    sender="app@example.com",
    recipients=("a@example.net", "b@example.net", "c@example.net"),
    states=(SENT, SENT, RecipientState.REJECTED),
    place=Place.DONE,
    accepted_at_ms=NOW - 60_000,
    size_bytes=12_345,
    door="smtp",
    header_message_id="<one@example.com>",
    user="app",
    client_address="192.0.2.1",
    helo="app.example.com",
    is_auto_submitted=False,
    content_ref="",
    rounds=1,
    failures=0,
    crashes=0,
    reason="",
    until_ms=NOW - 30_000,
    attempts=(
        Attempt(1, (0, 1), NOW - 59_000, "w-1", "throttled", NOW - 58_900, "", "Throttling", "Slow down."),
        Attempt(2, (0, 1), NOW - 40_000, "w-1", "accepted", NOW - 39_750, "ses-1"),
        Attempt(3, (2,), NOW - 39_000, "w-1", "rejected", NOW - 38_900, "", "MessageRejected", "Bad \x1b[31maddress."),
    ),
    told=frozenset({2}),
)


def message(**changed: object) -> Message:
    return dataclasses.replace(MESSAGE, **changed)


def test_the_object_has_the_documented_fields():
    assert set(described(MESSAGE)) == {
        *("message_id", "state", "reason", "until", "accepted_at", "size_bytes", "door", "user", "client_address"),
        *("helo", "header_message_id", "sender", "rounds", "failures", "crashes", "recipients", "batches"),
        *("bounce_told", "rules", "lane", "route", "sender_key", "ahead", "waits_for", "is_hold_wanted"),
        *("rules_version", "parts", "function_calls", "operation", "configuration_set", "tags"),
        *("source_arn", "from_arn", "return_path_arn", "repeats"),
    }


def test_what_the_sender_said_is_shown_and_that_it_came_again():
    parameters = SendParameters("SendRawEmail", "news", (("a", "1"), ("b", "2")), source_arn="arn:x")
    of = message(parameters=parameters, repeats=2)
    text = told(of, NOW)
    assert "  set         news\n  tags        a=1, b=2\n  ARNs        Source arn:x\n" in text
    assert "it came 2 times again with its key" in text
    shown = described(of)
    assert (shown["operation"], shown["configuration_set"], shown["tags"]) == (
        "SendRawEmail",
        "news",
        {"a": "1", "b": "2"},
    )
    assert (shown["source_arn"], shown["repeats"]) == ("arn:x", 2)
    assert not any(word in told(MESSAGE, NOW) for word in ("  set  ", "  tags  ", "  ARNs  ", "  repeats  "))


UNJUDGED = {"is_added": False, "action": "", "rule": "", "because": "", "waits_for_function": ""}


def unjudged(address: str, state: str, ses_message_id: str = "", reason: str = "") -> dict[str, object]:
    """A recipient of mail that no rule has touched."""
    answer = {"feedback": "none", "ses_message_id": ses_message_id, "reason": reason, "redirected_to": ""}
    return {"address": address, "state": state, **answer, "envelope_address": address, **UNJUDGED}


def test_every_recipient_has_its_state_and_the_answer_that_decided_it():
    assert described(MESSAGE)["recipients"] == [
        unjudged("a@example.net", "sent", "ses-1"),
        unjudged("b@example.net", "sent", "ses-1"),
        unjudged("c@example.net", "rejected", reason="Bad \x1b[31maddress."),
    ]


def test_every_attempt_is_a_batch_with_its_addresses():
    batches = described(MESSAGE)["batches"]
    assert [one["number"] for one in batches] == [1, 2, 3]
    assert batches[1] == {
        "number": 2,
        "recipients": ["a@example.net", "b@example.net"],
        "outcome": "accepted",
        "ses_message_id": "ses-1",
        "started_at": "2023-11-14T22:12:40.000Z",
        "ended_at": "2023-11-14T22:12:40.250Z",
        "code": "",
        "reason": "",
        "redirected_to": "",
        "worker": "w-1",
    }


def test_a_recipient_waiting_for_another_try_has_the_last_answers_reason():
    waiting = message(states=(WAITING,) * 3, attempts=MESSAGE.attempts[:1], place=Place.PARKED, reason="throttled")
    found = described(waiting)
    assert found["recipients"][0] == unjudged("a@example.net", "waiting", reason="Slow down.")
    assert found["recipients"][2]["reason"] == ""


def test_an_accepted_batch_counts_for_a_recipient_whatever_came_after_it():
    late = Attempt(4, (0,), NOW, "w-2", "unknown", NOW, "", "Timeout", "no answer")
    found = described(message(attempts=(*MESSAGE.attempts, late)))
    assert found["recipients"][0]["ses_message_id"] == "ses-1"


def test_the_null_sender_and_a_call_under_way_have_a_form_of_their_own():
    under_way = Attempt(1, (0,), NOW, "w-1")
    found = described(message(sender="", attempts=(under_way,), until_ms=0, place=Place.DUE))
    assert found["sender"] == ""
    assert found["until"] is None
    assert found["batches"][0]["outcome"] is None
    assert found["batches"][0]["ended_at"] is None
    text = told(message(sender="", attempts=(under_way,)), NOW)
    assert "null sender" in text
    assert "no outcome recorded" in text


@pytest.mark.parametrize("place", list(Place))
def test_every_place_says_why_and_until_when(place):
    text = told(message(place=place, reason="throttled", until_ms=NOW + 90_000), NOW)
    assert f"\n  state       {place.value}" in text
    if place in {Place.PARKED, Place.HELD}:
        assert "throttled" in text
        assert "in 1 min 30 s" in text


def test_a_message_in_doubt_is_asked_for_and_not_tried():
    doubtful = message(place=Place.PARKED, reason=AWAITS_EVENT, until_ms=NOW + 60_000)
    assert "; asked again at " in told(doubtful, NOW)


def test_what_the_fence_did_is_told():
    sent = dataclasses.replace(MESSAGE.attempts[1], redirected_to="catch@dev.example")
    fenced = message(states=(SENT, SENT, RecipientState.DROPPED), attempts=(sent,))
    text = told(fenced, NOW)
    assert "SES id ses-1, sent to catch@dev.example instead (fence)" in text
    assert f"1 dropped: captured by the fence, see captured/{MESSAGE.message_id}.eml" in text
    assert "1 dropped: dropped by the operator" in told(
        message(states=fenced.states, attempts=(sent,), reason="dropped by the operator"), NOW
    )
    assert [one["redirected_to"] for one in described(fenced)["recipients"]] == ["catch@dev.example"] * 2 + [""]


def test_a_held_message_shows_the_command_that_frees_it():
    assert f"mailsluice release {MESSAGE.message_id}" in told(message(place=Place.HELD), NOW)


def test_the_story_tells_door_sender_recipients_and_batches():
    text = told(MESSAGE, NOW)
    for part in (
        "by SMTP from 192.0.2.1, helo app.example.com, user app",
        "12,345 bytes",
        "app@example.com",
        "<one@example.com>",
        "2 sent, batch 2: SES id ses-1",
        "1 rejected, batch 3",
        "throttled after 0.10 s, Throttling: Slow down.",
        "accepted after 0.25 s, ses-1",
        "told about 1 recipient",
    ):
        assert part in text


def test_many_recipients_are_grouped_and_cut():
    addresses = tuple(f"user{number}@example.net" for number in range(120))
    text = told(message(recipients=addresses, states=(WAITING,) * 120, attempts=(), told=frozenset()), NOW)
    assert "120 waiting" in text
    assert "and 110 more" in text
    assert "user9@" in text
    assert "user10@" not in text


def test_nothing_from_outside_can_move_the_cursor():
    evil = "\x1b]0;x\x07\r\n\x9b2J\u202e@example.net"
    shown = told(
        message(
            sender=evil,
            recipients=(evil,) * 3,
            header_message_id=evil,
            user=evil,
            helo=evil,
            client_address=evil,
            reason=evil,
            place=Place.HELD,
        ),
        NOW,
    )
    assert all(one.isprintable() for line in shown.split("\n") for one in line)
    assert json.dumps(described(message(sender=evil)), indent=2).isascii()


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain@example.com", "plain@example.com"),
        ("jürgen@例え.jp", "jürgen@例え.jp"),
        ("a\x1b[0m", "a\\x1b[0m"),
        ("a\nb", "a\\nb"),
        ("a\u2028b\u202eb", "a\\u2028b\\u202eb"),
        ("\udc80", "\\udc80"),
    ],
)
def test_what_is_not_printable_is_written_out(text, safe):
    assert escaped(text) == safe


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.25, "0.25 s"),
        (12, "12 s"),
        (59.7, "1 min"),
        (185, "3 min 5 s"),
        (3600, "1 h"),
        (3 * 3600 + 12 * 60 + 5, "3 h 12 min"),
        (2 * 86400 + 3 * 3600, "2 d 3 h"),
    ],
)
def test_durations_are_told_in_their_two_largest_units(seconds, words):
    assert span(seconds) == words


def test_instants_are_seen_from_now():
    assert distance(NOW + 12_000, NOW) == "in 12 s"
    assert distance(NOW - 12_000, NOW) == "12 s ago"


def test_numbers_agree_with_their_nouns():
    assert many(1, "message") == "1 message"
    assert many(0, "message") == "0 messages"
    assert many(1200, "message") == "1,200 messages"


IN_A_LANE = dataclasses.replace(
    MESSAGE,
    place=Place.PARKED,
    reason=IN_LANE,
    until_ms=FAR_FUTURE_MS,
    seat=Seat("default", "bulk", "shop\x1b[2J", 2.0),
)


def test_a_message_in_a_lane_tells_what_its_lane_waits_for():
    around = Surroundings({"default": a_route(lanes={"bulk": LaneView(80, 2, 3)})}, ahead=1)
    text = told(IN_A_LANE, NOW, around)
    assert "\n  state       parked: waits for its turn\n" in text
    assert (
        "\n  waits       lane bulk of route default: 3 recipients wait for their turn at 11.09 recipients/s\n" in text
    )
    assert "\n  turn        as sender shop\\x1b[2J (weight 2): 1 message of it before this one\n" in text
    found = described(IN_A_LANE, around)
    assert (found["lane"], found["route"], found["until"]) == ("bulk", "default", None)
    assert found["waits_for"].startswith("lane bulk of route default: 3 recipients wait")


def test_a_paused_sender_is_told_as_the_reason():
    around = Surroundings({"default": a_route()}, (Pause("user:shop\x1b[2J", why="too much"),))
    assert described(IN_A_LANE, around)["waits_for"] == "its sender is paused: too much"


def test_what_ses_told_later_stands_beside_the_state():
    later = dataclasses.replace(MESSAGE, feedback="db")
    assert [one["feedback"] for one in described(later)["recipients"]] == ["delivered", "bounced", "none"]
    text = told(later, NOW)
    assert "SES id ses-1, then delivered" in text
    assert "SES id ses-1, then bounced" in text
