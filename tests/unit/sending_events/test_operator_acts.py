"""What an operator did, as an event."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sending_events.operator_acts import SHOWN_IDS, OperatorAct
from sending_events.records import EventRecord, UnreadableEvent
from sending_events.rendering import decoded, line_of

AT_MS = 1_700_000_000_123
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


@given(
    st.builds(
        OperatorAct,
        action=st.sampled_from(["pause", "hold", "drain"]),
        at_ms=st.integers(0, 2**52),
        by=TEXT,
        scope=st.lists(TEXT, max_size=3).map(tuple),
        chosen_by=st.dictionaries(TEXT, TEXT | st.lists(TEXT, max_size=3) | st.floats(0, 1e6), max_size=3),
        message_ids=st.lists(TEXT, max_size=SHOWN_IDS).map(tuple),
        counts=st.dictionaries(TEXT, st.integers(0, 2**40), max_size=3),
        why=TEXT,
        until_ms=st.integers(0, 2**52),
    )
)
def test_decode_is_the_inverse_of_encode(act: OperatorAct):
    assert decoded(act.encode()) == act


def test_other_events_are_decoded_as_they_were():
    record = EventRecord("held", "ours", AT_MS, (1,), reason='"k":"operator"')
    assert decoded(record.encode()) == record


def test_an_act_is_told_without_a_message():
    act = OperatorAct(
        "hold", AT_MS, "me@here", chosen_by={"sender": "a@b"}, counts={"messages": 2}, why="a mistake", until_ms=AT_MS
    )
    assert orjson.loads(line_of(act, None, "1-0")) == {
        "eventType": "sluice:Operator",
        "eventId": "1-0",
        "operator": {
            "timestamp": "2023-11-14T22:13:20.123Z",
            "action": "hold",
            "by": "me@here",
            "filter": {"sender": "a@b"},
            "counts": {"messages": 2},
            "reason": "a mistake",
            "until": "2023-11-14T22:13:20.123Z",
        },
    }


def test_a_terminals_text_that_is_no_proper_utf_8_does_not_stop_the_act():
    act = OperatorAct("pause", AT_MS, "m\udcff", scope=("user:\udcfe",), chosen_by={"states": ["\udcfd"]}, why="\udcfc")
    found = decoded(act.encode())
    assert isinstance(found, OperatorAct)
    assert (found.by, found.scope, found.why) == ("m\\udcff", ("user:\\udcfe",), "\\udcfc")


@pytest.mark.parametrize(
    "raw", [b'{"k":"operator"}', b'{"k":"operator","at":"x","do":"hold","by":""}', b'{"k":"operator",', b"{}"]
)
def test_what_is_no_act_is_unreadable(raw: bytes):
    with pytest.raises(UnreadableEvent):
        decoded(raw)


def test_an_act_that_cannot_be_told_is_unreadable():
    with pytest.raises(UnreadableEvent):
        line_of(OperatorAct("hold", 10**30, "me"), None, "1-0")
