import dataclasses
import re
import uuid

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.keys import is_message_id
from spool.records import Attempt, Message, NewMessage, new_message_id, static_part
from spool.rows import message_of
from spool.send_parameters import SendParameters
from spool.states import Happening, Place, RecipientState

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
attempts = st.builds(
    Attempt,
    number=st.integers(1, 10**6),
    recipients=st.lists(st.integers(0, 9999), max_size=50).map(tuple),
    started_at_ms=st.integers(0, 2**50),
    worker=text,
    outcome=st.sampled_from([None, "accepted", "rejected", "throttled", "unavailable", "unknown", "split"]),
    ended_at_ms=st.none() | st.integers(0, 2**50),
    ses_message_id=text,
    code=text,
    reason=text,
)
new_messages = st.builds(
    NewMessage,
    message_id=st.builds(new_message_id),
    sender=text,
    recipients=st.lists(text, min_size=1, max_size=5).map(tuple),
    content=st.binary(max_size=100),
    door=st.sampled_from(["smtp", "api", "bounce"]),
    header_message_id=text,
    user=text,
    client_address=text,
    helo=text,
    is_auto_submitted=st.booleans(),
    parameters=st.builds(
        SendParameters,
        operation=text,
        configuration_set=text,
        tags=st.lists(st.tuples(text, text), max_size=3).map(tuple),
        source_arn=text,
        from_arn=text,
        return_path_arn=text,
    ),
)


def loaded(message: NewMessage) -> Message:
    waiting = b"w" * len(message.recipients)
    return message_of(
        message.message_id, {b"m": static_part(message, ""), b"at": b"1700000000000", b"p": b"due", b"r": waiting}
    )


def test_an_id_has_the_form_of_sess_own_and_sorts_by_time():
    ids = [new_message_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-000000", one) for one in ids)
    assert all(is_message_id(one) for one in ids)
    assert ids == sorted(ids), "those of one millisecond too"
    assert all(uuid.UUID(one[17:53]).version == 4 for one in ids)
    assert all(int(one[17:22], 16) < 1_000_000 for one in ids)


@given(attempts)
def test_an_attempt_comes_back_as_it_was(attempt: Attempt):
    assert Attempt.decode(attempt.encode()) == attempt


@given(new_messages)
def test_what_never_changes_about_a_message_comes_back_as_it_was(message: NewMessage):
    found = loaded(message)
    for field in dataclasses.fields(NewMessage):
        if field.name not in {"content", "event", "once", "once_seconds"}:
            assert getattr(found, field.name) == getattr(message, field.name)
    assert found.size_bytes == len(message.content)


def test_a_fresh_message_has_no_past():
    found = loaded(NewMessage("0000-a", "", ("a@example.net", "b@example.net"), b"x"))
    assert (found.place, found.states) == (Place.DUE, (RecipientState.WAITING,) * 2)
    assert (found.rounds, found.failures, found.crashes, found.attempts, found.told) == (0, 0, 0, (), frozenset())
    assert (found.content, found.reason, found.until_ms) == (None, "", 0)
    assert (found.turn, found.turn_at, found.seat, found.is_hold_wanted, found.kept_ms) == (0, "", None, False, 0)


def test_attempts_are_in_the_order_of_their_numbers():
    fields = {b"m": orjson.dumps({"sender": "", "recipients": ["a"], "door": "smtp"})}
    fields |= {b"at": b"1", b"p": b"done", b"r": b"S"}
    for number in (10, 9, 100, 1):
        fields[b"a:%d" % number] = Attempt(number, (0,), 1, "w").encode()
    assert [attempt.number for attempt in message_of("0000-a", fields).attempts] == [1, 9, 10, 100]


@pytest.mark.parametrize("kind", [NewMessage, Message])
def test_no_address_and_no_content_is_in_a_repr(kind):
    message = NewMessage("0000-a", "alice@example.com", ("bob@example.net",), b"secret", user="carol", event=b"secret")
    shown = repr(message if kind is NewMessage else loaded(message))
    assert "0000-a" in shown
    assert not any(word in shown for word in ("alice", "bob", "carol", "secret", "example"))


def test_the_same_may_happen_to_some_recipients():
    message = loaded(NewMessage("0000-a", "", tuple("abcd"), b"x"))
    after = message.having((0, 2), Happening.ATTEMPT_STARTED).having((2,), Happening.ACCEPTED)
    assert "".join(after.states) == "swSw"
    assert after.indexes(RecipientState.WAITING, RecipientState.SENT) == (1, 2, 3)
    assert "".join(message.states) == "wwww"
