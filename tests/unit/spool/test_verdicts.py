"""A verdict comes back as it was, and says who gets a message's mail."""

import dataclasses

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.content import owner_of, update_name
from spool.keys import is_message_id
from spool.records import Message, NewMessage, new_message_id, static_part
from spool.rows import message_of
from spool.states import Happening, RecipientState
from spool.verdicts import Applied, Decision, FunctionCall, Part, Verdict

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
indexes = st.lists(st.integers(0, 9999), max_size=5).map(tuple)
numbers = st.integers(0, 2**50)
parts = st.builds(
    Part,
    recipients=indexes,
    direction=st.sampled_from(["INBOUND", "OUTBOUND"]),
    lane=text,
    route=text,
    configuration_set=text,
    tags=st.dictionaries(text, text, max_size=3),
    headers=st.lists(st.tuples(text, text), max_size=3).map(tuple),
    content_ref=text,
    content_bytes=numbers,
    archives=st.lists(text, max_size=2).map(tuple),
)
actions = st.sampled_from(["DROP", "BOUNCE", "MOVE_TO_JUNK", "DEFAULT", "BYPASS_SPAM_CHECK"])
calls = st.builds(
    FunctionCall,
    rule=text,
    function=text,
    mode=st.sampled_from(["sync", "async"]),
    invocation_id=text,
    recipients=indexes,
    parts=st.lists(parts, max_size=2).map(tuple),
    state=st.sampled_from(["waits", "answered", "failed"]),
    tries=numbers,
    first_at_ms=numbers,
    next_at_ms=numbers,
    error=text,
    timeout_minutes=st.floats(0, 240),
    fallback=actions,
    fallback_text=text,
)
verdicts = st.builds(
    Verdict,
    version=text,
    decisions=st.lists(st.builds(Decision, actions, indexes, text, text, text), max_size=3).map(tuple),
    applied=st.lists(st.builds(Applied, text, indexes, text, text), max_size=3).map(tuple),
    parts=st.lists(parts, max_size=3).map(tuple),
    calls=st.lists(calls, max_size=3).map(tuple),
    added=st.lists(text, max_size=3).map(tuple),
    replaced=st.dictionaries(st.integers(0, 9999), text, max_size=3),
)


def a_message(recipients: int = 3, verdict: Verdict | None = None, states: str = "") -> Message:
    new = NewMessage("0000-a", "app@example.com", tuple(f"r{n}@example.net" for n in range(recipients)), b"x")
    fields = {b"m": static_part(new, ""), b"at": b"1", b"p": b"due", b"r": (states or "w" * recipients).encode()}
    return message_of("0000-a", fields if verdict is None else {**fields, b"v": verdict.encode()})


@given(verdicts)
def test_a_verdict_comes_back_as_it_was(verdict: Verdict):
    assert Verdict.decode(verdict.encode()) == verdict


def test_what_a_verdict_does_not_say_takes_no_room():
    assert orjson.loads(Verdict("abc").encode()) == {"version": "abc"}
    assert orjson.loads(Verdict("abc", parts=(Part((0, 1)),)).encode()) == {
        "version": "abc",
        "parts": [{"recipients": [0, 1]}],
    }


def test_what_a_newer_version_wrote_beside_it_is_passed_over():
    part, call = {"recipients": [0], "newer": {}}, {"rule": "r", "function": "f", "mode": "sync", "invocation_id": "0"}
    written = {
        "version": "1",
        "newer": 1,
        "decisions": [{"action": "DROP", "recipients": [1], "newer": 1}],
        "applied": [{"rule": "r", "recipients": [0], "because": "b", "actions": "a", "newer": 1}],
        "parts": [part],
        "calls": [{**call, "recipients": [0], "parts": [part], "newer": [1]}],
    }
    assert Verdict.decode(orjson.dumps(written)) == Verdict(
        "1",
        decisions=(Decision("DROP", (1,)),),
        applied=(Applied("r", (0,), "b", "a"),),
        parts=(Part((0,)),),
        calls=(FunctionCall("r", "f", "sync", "0", (0,), (Part((0,)),)),),
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"x", b"[]", b"7", b"null", b'{"decisions":[]}', b'{"version":"1","decisions":[{}]}',
        b'{"version":"1","parts":7}', b'{"version":"1","replaced":{"x":"a"}}', b'{"version":"1","added":[7]}',
        b'{"version":"1","calls":[null]}', b'{"version":"1","decisions":[{"action":"DROP","recipients":5}]}',
    ],
)  # fmt: skip
def test_a_verdict_that_cannot_be_read_leaves_the_message_with_its_envelope(raw):
    new = NewMessage("0000-a", "app@example.com", ("r0@example.net", "r1@example.net"), b"x")
    fields = {b"m": static_part(new, ""), b"at": b"1", b"p": b"due", b"r": b"wSw"}
    message = message_of("0000-a", {**fields, b"v": raw})
    assert message.is_verdict_unreadable
    assert (message.verdict, message.recipients) == (None, ("r0@example.net", "r1@example.net", ""))
    assert "".join(message.states) == "wSw"
    assert not message_of("0000-a", {**fields, b"r": b"wS"}).is_verdict_unreadable


def test_the_decisions_about_all_are_those_about_each():
    verdict = Verdict("1", decisions=(Decision("DROP", (3, 0)), Decision("BOUNCE", (1, 0))))
    assert verdict.decided == {index: verdict.decision_of(index) for index in (0, 1, 3)}


def test_added_recipients_follow_and_replaced_ones_keep_their_index():
    verdict = Verdict("1", added=("tee@example.org",), replaced={1: "new@example.org"})
    message = a_message(verdict=verdict, states="wwww")
    assert message.recipients == ("r0@example.net", "new@example.org", "r2@example.net", "tee@example.org")
    assert message.envelope == ("r0@example.net", "r1@example.net", "r2@example.net")
    assert message.verdict == verdict
    assert len(message.recipients) == len(message.states)


def test_a_message_without_a_verdict_goes_to_its_envelope():
    message = a_message()
    assert (message.recipients, message.verdict) == (message.envelope, None)
    by_hand = dataclasses.replace(message, envelope=())
    assert by_hand.envelope == by_hand.recipients


def test_a_judged_message_has_a_state_for_everybody_who_was_added():
    judged = a_message(2).judged(Verdict("1", added=("a@x", "b@x")))
    assert "".join(judged.states) == "wwww"
    sent = judged.having((2,), Happening.ATTEMPT_STARTED).having((2,), Happening.ACCEPTED)
    again = sent.judged(Verdict("1", added=("a@x", "b@x", "c@x"), replaced={0: "other@x"}))
    assert "".join(again.states) == "wwSww"
    assert again.recipients == ("other@x", "r1@example.net", "a@x", "b@x", "c@x")
    assert again.envelope == ("r0@example.net", "r1@example.net")


def test_no_address_of_a_verdict_is_in_a_repr():
    assert "tee" not in repr(a_message(1).judged(Verdict("1", added=("tee@example.org",))))


def test_only_sync_calls_that_wait_leave_recipients_undecided():
    def call(mode: str, state: str, *who: int) -> FunctionCall:
        return FunctionCall("rule", "f", mode, "0" * 32, who, state=state)  # type: ignore[arg-type]

    verdict = Verdict(
        "1",
        decisions=(Decision("DROP", (3,), "spam"),),
        calls=(call("sync", "waits", 0, 1), call("sync", "answered", 2), call("async", "waits", 4)),
    )
    assert verdict.undecided == {0, 1}
    assert verdict.decision_of(3) == Decision("DROP", (3,), "spam")
    assert verdict.decision_of(0) is None


def test_updated_contents_are_found_in_parts_and_in_calls_that_wait():
    call = FunctionCall("rule", "f", "sync", "0" * 32, (1,), parts=(Part((1,), content_ref="file:b"),))
    verdict = Verdict("1", parts=(Part((0,), content_ref="file:a"), Part((2,))), calls=(call,))
    assert verdict.content_refs == {"file:a", "file:b"}


def test_the_name_of_an_update_tells_its_message_and_is_the_same_for_the_same_content():
    message_id = new_message_id()
    name = update_name(message_id, b"one")
    assert name == update_name(message_id, b"one") != update_name(message_id, b"two")
    assert is_message_id(name)
    assert owner_of(name) == owner_of(message_id) == message_id


def test_updates_whose_hashes_begin_alike_have_names_of_their_own():
    """Of 32 bits the two have the same hash."""
    message_id = new_message_id()
    names = [update_name(message_id, content) for content in (b"update 6665\r\n", b"update 28500\r\n")]
    assert len(set(names)) == 2
    assert all(is_message_id(name) and owner_of(name) == message_id for name in names)


def test_a_rule_bounces_only_whom_no_call_was_made_for():
    message = a_message(3, states="wsu").having((0, 1, 2), Happening.BOUNCED)
    assert message.states == (RecipientState.REJECTED, RecipientState.SENDING, RecipientState.UNKNOWN)
