from hypothesis import given
from hypothesis import strategies as st

from spool.states import RecipientState
from spool.verdicts import Decision, FunctionCall, Part, Verdict
from tests.unit.worker.stand import attempt, message
from worker.relay.batches import Batch, Condemned, next_batch
from worker.relay.parts import in_message, seen_by, undecided, waiting_parts

WAITING, SENT, DROPPED = RecipientState.WAITING, RecipientState.SENT, RecipientState.DROPPED


def test_without_a_verdict_everybody_is_in_one_part():
    (part,) = waiting_parts(message(3))
    assert part == Part((0, 1, 2))
    assert seen_by(message(3), part) == message(3)


def test_untouched_parts_and_whoever_no_part_names_go_together():
    verdict = Verdict("v", parts=(Part((0,), "INBOUND"), Part((2,), lane="bulk"), Part((3,), archives=("a",))))
    parts = waiting_parts(message(5, verdict=verdict))
    assert parts == (Part((0, 1, 3, 4)), Part((2,), lane="bulk"))


def test_nobody_is_in_a_part_who_waits_for_a_function_or_was_dropped_or_bounced():
    call = FunctionCall("r", "f", "sync", "0" * 32, (1,), (Part((1,)),))
    decisions = (Decision("DROP", (0,), "r"), Decision("BOUNCE", (2,), "r"), Decision("DEFAULT", (3,)))
    of = message(4, verdict=Verdict("v", decisions=decisions, calls=(call,)))
    assert waiting_parts(of) == (Part((3,)),)
    assert undecided(of) == (1,)


def test_parts_in_which_nobody_waits_are_left_out():
    of = message(3, states=(SENT, WAITING, DROPPED), verdict=Verdict("v", parts=(Part((1,), lane="bulk"),)))
    assert waiting_parts(of) == (Part((1,), lane="bulk"),)


def test_what_ses_said_about_one_part_condemns_nobody_of_another():
    of = message(
        4,
        attempts=(attempt(1, (0, 1), outcome="rejected", code="MessageRejected", reason="Header section too long."),),
        states=(RecipientState.REJECTED, RecipientState.REJECTED, WAITING, WAITING),
        verdict=Verdict("v", parts=(Part((2, 3), lane="bulk"),)),
    )
    part = Part((2, 3), lane="bulk")
    assert in_message(next_batch(seen_by(of, part), 50), of, part) == Batch((2, 3))


def test_what_is_condemned_in_a_part_has_the_attempt_of_the_message():
    split = attempt(7, (1, 3), outcome="split", code="InvalidParameterValue", reason="Illegal address")
    of = message(4, attempts=(split,), states=(WAITING, SENT, WAITING, WAITING))
    part = Part((1, 3), lane="bulk")
    assert in_message(next_batch(seen_by(of, part), 50), of, part) == Condemned((3,), split)


def test_a_split_that_went_beyond_a_part_condemns_nobody_of_it():
    split = attempt(1, (0, 1, 2, 3), outcome="split", code="MessageRejected", reason="Address blacklisted.")
    of = message(4, attempts=(split,), states=(WAITING, WAITING, SENT, WAITING))
    part = Part((2, 3), lane="bulk")
    assert in_message(next_batch(seen_by(of, part), 50), of, part) == Batch((3,))


def test_a_part_sees_only_the_attempts_that_say_something_about_its_next_batch():
    attempts = [attempt(n, (n,), outcome=outcome) for n, outcome in enumerate(["accepted", "throttled", "unavailable"])]
    attempts += [attempt(3, (3,), outcome="rejected"), attempt(4, (4,), outcome="unknown"), attempt(5, (5,))]
    of = message(7, attempts=tuple(attempts))
    seen = seen_by(of, Part((0, 1, 2, 3, 4, 5)))
    assert [one.number for one in seen.attempts] == [3, 4, 5]


@given(st.data())
def test_waiting_parts_share_nobody_and_leave_out_only_who_may_not_be_sent_to(data):
    count = data.draw(st.integers(1, 12))
    places = data.draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))
    by_place = {place: tuple(i for i, one in enumerate(places) if one == place) for place in range(6)}
    verdict = Verdict(
        "v",
        decisions=(Decision("DROP", by_place[0], "r"),),
        parts=(Part(by_place[1], lane="bulk"), Part(by_place[2], route="eu"), Part(by_place[3])),
        calls=(FunctionCall("r", "f", "sync", "0" * 32, by_place[4]),),
    )
    found = [index for part in waiting_parts(message(count, verdict=verdict)) for index in part.recipients]
    assert sorted(found) == sorted(i for i, place in enumerate(places) if place not in {0, 4})
