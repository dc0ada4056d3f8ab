"""Which call a fault hits."""

import contextlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.faults import KINDS, Fault, Instead, WrongFaultError, first_hit, read_faults

ANY = ("bob@example.com",)


def hits(fault: Fault, calls: int, destinations=ANY, source="ann@example.com") -> list[bool]:
    random = Random(1)
    return [fault.hits_call(source, destinations, random) for _ in range(calls)]


def test_a_count_ends_it():
    fault = Fault("throttle", count=2)
    assert hits(fault, 4) == [True, True, False, False]
    assert fault.hits == 2


def test_without_a_count_it_stays():
    assert hits(Fault("throttle"), 50) == [True] * 50


def test_calls_before_it_begins_pass():
    assert hits(Fault("throttle", count=1, after_calls=2), 4) == [False, False, True, False]


def test_a_recipient_is_matched_in_part_and_without_case():
    fault = Fault("reject", match_recipient="BOB@")
    assert hits(fault, 1, ("ann@example.com",)) == [False]
    assert hits(fault, 1, ("ann@example.com", "Bob@example.com")) == [True]
    assert fault.matched == 1


def test_a_sender_is_matched_like_a_recipient():
    fault = Fault("reject", match_sender="News@", match_recipient="bob")
    assert hits(fault, 1) == [False]
    assert hits(fault, 1, source="news@example.com") == [True]
    assert hits(fault, 1, ("carol@example.com",), source="news@example.com") == [False]
    assert fault.matched == 1


def test_a_probability_hits_about_that_often():
    assert 350 < sum(hits(Fault("throttle", probability=0.4), 1000)) < 450
    assert sum(hits(Fault("throttle", probability=0.0), 100)) == 0


def test_the_first_fault_that_hits_decides():
    faults = [Fault("throttle", match_recipient="ann"), Fault("error_500"), Fault("paused")]
    assert first_hit(faults, "", ANY, Random(1)) is faults[1]
    assert [fault.hits for fault in faults] == [0, 1, 0]
    assert first_hit([], "", ANY, Random(1)) is None


def test_every_kind_that_refuses_has_its_text_and_accepts_nothing():
    for kind in KINDS.values():
        assert (kind.refused is not None) == (kind.instead is Instead.REFUSAL)
        assert not (kind.is_accepted and kind.instead is Instead.REFUSAL)


def test_one_fault_or_a_list_is_read():
    assert [fault.kind for fault in read_faults({"kind": "throttle"})] == ["throttle"]
    both = read_faults([{"kind": "hang_after", "count": 3, "hang_seconds": 0.5}, {"kind": "reject"}])
    assert [(fault.kind, fault.count, fault.hang_seconds) for fault in both] == [
        ("hang_after", 3, 0.5),
        ("reject", None, 300.0),
    ]


@pytest.mark.parametrize(
    ("described", "text"),
    [
        (1, "object"),
        ({}, "kind is missing"),
        ({"kind": "explode"}, "kind must be one of throttle"),
        ({"kind": []}, "kind must be one of"),
        ({"kind": "throttle", "hits": 1}, "hits is not known"),
        ({"kind": "throttle", "count": -1}, "count must be"),
        ({"kind": "throttle", "count": True}, "count must be"),
        ({"kind": "throttle", "probability": 1.5}, "probability must be"),
        ({"kind": "throttle", "after_calls": 0.5}, "after_calls must be"),
        ({"kind": "throttle", "match_recipient": 5}, "match_recipient must be"),
        ({"kind": "throttle", "match_sender": []}, "match_sender must be"),
        ({"kind": "refuse", "code": "<b>"}, "code must be"),
        ({"kind": "refuse", "status": 200}, "status must be"),
        ({"kind": "refuse", "text": None}, "text must be"),
        ([{"kind": "throttle"}] * 101, "At most 100"),
    ],
)
def test_a_wrong_fault_is_refused_with_what_is_allowed(described, text):
    with pytest.raises(WrongFaultError, match=text):
        read_faults(described)


@given(st.dictionaries(st.sampled_from(["kind", "count", "probability", "x"]), st.none() | st.integers() | st.text()))
def test_no_description_breaks_the_reader(described):
    with contextlib.suppress(WrongFaultError):
        assert read_faults(described)[0].kind in KINDS
