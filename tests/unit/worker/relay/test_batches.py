"""Batches and the search for the bad address: what SES refuses is found, everybody else gets the message once."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.records import Message
from spool.states import Happening, RecipientState
from tests.unit.worker.stand import attempt, message
from worker.relay.batches import MAX_RECIPIENTS_PER_CALL, Batch, Condemned, judged, next_batch, rewrites_headers
from worker.relay.outcomes import Accepted, Outcome, Rejected, Split, Unavailable, of_code
from worker.relay.wire import Call

WAITING, SENT, REJECTED = RecipientState.WAITING, RecipientState.SENT, RecipientState.REJECTED
BAD = Rejected("InvalidParameterValue", "Missing final '@domain'")
UNCLEAR = Rejected("InvalidParameterValue", "Extra route-addr")  # about a recipient, or about a header
NAMES = {Accepted: "accepted", Rejected: "rejected", Split: "split", Unavailable: "unavailable"}


def after_call(of: Message, batch: tuple[int, ...], outcome: Outcome) -> Message:
    """The message as the spool has it when the outcome is written."""
    code, reason = ("", "") if isinstance(outcome, Accepted) else (outcome.code, outcome.reason)
    number = max((one.number for one in of.attempts), default=0) + 1
    happening = {
        Accepted: Happening.ACCEPTED,
        Rejected: Happening.REJECTED,
        Split: Happening.REFUSED_TOGETHER,
        Unavailable: Happening.NOT_TAKEN,
    }[type(outcome)]
    made = attempt(number, batch, outcome=NAMES[type(outcome)], code=code, reason=reason)
    return of.having(batch, Happening.ATTEMPT_STARTED).having(batch, happening, (*of.attempts, made))


def relayed(of: Message, ses, at_most: int = 50, *, calls_at_most: int = 1000) -> tuple[Message, list[tuple[int, ...]]]:
    """Follows next_batch to the end, with a fresh copy of the message at each step, as after a restart."""
    calls: list[tuple[int, ...]] = []
    while step := next_batch(dataclasses.replace(of), at_most):
        if isinstance(step, Condemned):
            of = of.having(step.recipients, Happening.ATTEMPT_STARTED).having(step.recipients, Happening.REJECTED)
            continue
        calls.append(step.recipients)
        assert len(calls) <= calls_at_most
        assert 1 <= len(step.recipients) <= at_most
        assert all(of.states[index] is WAITING for index in step.recipients)
        call = Call(
            of.sender, [of.recipients[index] for index in step.recipients], b"From: app@example.com\r\n\r\n", {}
        )
        may_rewrite = not rewrites_headers(of)
        outcome = judged(ses(step.recipients), call, [may_rewrite].pop)
        of = after_call(of, step.recipients, outcome)
    return of, calls


def refusing(bad: set[int], outcome: Outcome = BAD):
    return lambda batch: outcome if bad.intersection(batch) else Accepted("ses-1")


def states_for(count: int, bad: set[int]) -> tuple[RecipientState, ...]:
    return tuple(REJECTED if index in bad else SENT for index in range(count))


# -- without refusals


@given(st.integers(1, 400), st.integers(1, 50))
def test_batches_hold_every_recipient_once_and_in_order(recipients, at_most):
    done, calls = relayed(message(recipients), refusing(set()), at_most)
    assert [index for batch in calls for index in batch] == list(range(recipients))
    assert len(calls) == math.ceil(recipients / at_most)
    assert done.states == (SENT,) * recipients


def test_a_batch_is_as_large_as_ses_allows_and_no_larger():
    assert next_batch(message(51), 100) == Batch(tuple(range(50)))
    assert MAX_RECIPIENTS_PER_CALL == 50


def test_recipients_that_are_left_out_wait_and_the_others_go():
    assert next_batch(message(4), 50, frozenset({0, 2})) == Batch((1, 3))
    assert next_batch(message(2), 50, frozenset({0, 1})) is None


# -- one refused address


@pytest.mark.parametrize("bad", range(50))
def test_one_refused_address_of_fifty_is_found_by_six_calls_and_one_for_the_rest(bad):
    done, calls = relayed(message(50), refusing({bad}))
    assert done.states == states_for(50, {bad})
    first, *extra = calls
    assert len(first) == 50
    assert len(extra) <= 7
    if len(extra) == 7:  # then the last one found nobody, it carried those that had not been tried
        assert bad not in extra[-1]


@pytest.mark.parametrize("written", ["no-domain", "a b@example.net", "ü@example.net", "@", "a..b@example.net", "x@y z"])
@pytest.mark.parametrize("place", [0, 31, 49])
def test_a_malformed_address_costs_one_call(written, place):
    of = message(50)
    recipients = tuple(written if index == place else address for index, address in enumerate(of.recipients))
    done, calls = relayed(dataclasses.replace(of, recipients=recipients), refusing({place}))
    assert done.states == states_for(50, {place})
    assert [len(batch) for batch in calls] == [50, 49]


def test_ten_malformed_addresses_are_tried_one_by_one():
    of, bad = message(50), set(range(0, 50, 5))
    recipients = tuple("no-domain" if index in bad else address for index, address in enumerate(of.recipients))
    done, calls = relayed(dataclasses.replace(of, recipients=recipients), refusing(bad))
    assert done.states == states_for(50, bad)
    assert [len(batch) for batch in calls] == [50, 40, *[1] * 10]


def test_an_address_that_only_looks_malformed_is_sent():
    of = message(10)
    done, calls = relayed(
        dataclasses.replace(of, recipients=("postmaster@localhost", *of.recipients[1:])), refusing({5})
    )
    assert done.states == states_for(10, {5})
    assert len(calls) <= 7


# -- any set of them


@given(st.integers(1, 120), st.data(), st.sampled_from([1, 3, 7, 50]))
def test_exactly_the_bad_ones_are_refused_and_everybody_else_gets_it_once(count, data, at_most):
    bad = data.draw(st.sets(st.integers(0, count - 1), max_size=min(count, 12)))
    of = message(count)
    malformed = data.draw(st.sets(st.sampled_from(sorted(bad)))) if bad else set()
    recipients = tuple("no-domain" if index in malformed else address for index, address in enumerate(of.recipients))
    sent: list[int] = []

    def ses(batch):
        if bad.intersection(batch):
            return dataclasses.replace(BAD, reason=f"refused {sorted(bad.intersection(batch))}")  # never the message
        sent.extend(batch)
        return Accepted("ses-1")

    done, calls = relayed(dataclasses.replace(of, recipients=recipients), ses, at_most)
    assert done.states == states_for(count, bad)
    assert len(sent) == len(set(sent))
    assert len(calls) <= math.ceil(count / at_most) + 12 * len(bad) + 8


@given(st.integers(2, 60), st.data())
def test_refusals_that_may_pass_change_nothing_of_the_search(count, data):
    bad = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=3))
    coin = data.draw(st.lists(st.booleans(), min_size=400, max_size=400))
    answer = refusing(bad, Rejected("MessageRejected", "Address blacklisted."))
    done, _ = relayed(
        message(count, states=(WAITING,) * (count - 1) + (SENT,)),
        lambda batch: Unavailable("X", "y") if coin.pop() else answer(batch),
    )
    assert done.states == states_for(count, bad - {count - 1})


@given(
    st.integers(2, 60), st.sets(st.integers(0, 59), min_size=1, max_size=5), st.sets(st.integers(0, 59), max_size=20)
)
def test_the_search_ends_while_some_recipients_are_left_out(count, bad, left_out):
    of = message(count)
    for _ in range(200):
        step = next_batch(of, 50, left_out)
        if step is None:
            break
        if isinstance(step, Condemned):
            of = of.having(step.recipients, Happening.ATTEMPT_STARTED).having(step.recipients, Happening.REJECTED)
            continue
        assert not left_out.intersection(step.recipients)
        outcome = refusing(bad, Rejected("MessageRejected", f"{bad.intersection(step.recipients)}"))(step.recipients)
        call = Call(of.sender, [of.recipients[index] for index in step.recipients], b"", {})
        of = after_call(of, step.recipients, judged(outcome, call, lambda: True))
    assert step is None
    for index in set(range(count)) - left_out:
        assert of.states[index] is (REJECTED if index in bad else SENT)


@given(st.integers(1, 60), st.data())
def test_whoever_is_not_left_out_is_never_kept_by_those_who_are(count, data):
    bad = data.draw(st.sets(st.integers(0, count - 1), max_size=4))
    left_out = data.draw(st.frozensets(st.integers(0, count - 1)))
    of = message(count)
    for is_paused in (*data.draw(st.lists(st.booleans(), max_size=12)), *[True] * 400):
        now = left_out if is_paused else frozenset()
        step = next_batch(of, 50, now)
        if step is None:
            if is_paused:
                break
            continue
        if isinstance(step, Condemned):
            of = of.having(step.recipients, Happening.ATTEMPT_STARTED).having(step.recipients, Happening.REJECTED)
            continue
        assert not now.intersection(step.recipients)
        call = Call(of.sender, [of.recipients[index] for index in step.recipients], b"", {})
        of = after_call(of, step.recipients, judged(refusing(bad)(step.recipients), call, lambda: True))
    assert all(of.states[index] is (REJECTED if index in bad else SENT) for index in set(range(count)) - left_out)


# -- the message itself


@pytest.mark.parametrize("count", [1, 2, 3, 50, 120, 500])
def test_a_message_that_nobody_can_have_is_refused_when_a_fifth_was_tried_alone(count):
    done, calls = relayed(message(count), lambda _: UNCLEAR)
    assert done.states == (REJECTED,) * count
    assert len(calls) <= count / 5 + 10


def test_many_refused_alone_are_not_the_message_when_somebody_got_it():
    bad = set(range(49))
    done, _ = relayed(message(50, states=(WAITING,) * 49 + (SENT,)), refusing(bad, UNCLEAR))
    assert done.states == states_for(50, bad)
    done, _ = relayed(message(50), refusing(bad - {24}, UNCLEAR))
    assert done.states[24] is SENT


@pytest.mark.parametrize("bad", [{0, 1, 2}, set(range(20)), {25, 26, 27}, {47, 48, 49}, set(range(0, 50, 2)) - {0}])
def test_bad_addresses_that_stand_together_do_not_condemn_the_message(bad):
    done, _ = relayed(message(50), refusing(bad, UNCLEAR))
    assert done.states == states_for(50, bad)


@given(st.integers(1, 80), st.data())
def test_nobody_is_refused_for_the_words_about_less_than_a_fifth_of_them(count, data):
    most = max(4, math.ceil(count / 5) - 1)
    bad = data.draw(st.sets(st.integers(0, count - 1), max_size=min(count, most)))
    done, _ = relayed(message(count), refusing(bad, UNCLEAR))
    assert done.states == states_for(count, bad)


@pytest.mark.parametrize("text", ["Address blacklisted.", "Invalid domain name: 'x'", "Domain starts with dot"])
@given(st.integers(1, 60), st.data())
def test_nobody_is_ever_refused_for_words_about_the_addresses_of_others(text, count, data):
    bad = data.draw(st.sets(st.integers(0, count - 1)))
    done, calls = relayed(message(count), refusing(bad, Rejected("MessageRejected", text)))
    assert done.states == states_for(count, bad)
    assert len(calls) <= count + 12 * max(1, len(bad))


def test_three_bad_ones_that_are_met_first_do_not_condemn_the_four_good_ones():
    done, _ = relayed(message(7), refusing({0, 4, 6}, Rejected("MessageRejected", "Address blacklisted.")))
    assert done.states == states_for(7, {0, 4, 6})


def test_a_message_that_somebody_may_have_is_not_condemned():
    of = message(50, states=(RecipientState.UNKNOWN, *(WAITING,) * 49))
    of = dataclasses.replace(of, attempts=(attempt(1, (0,), outcome="unknown", code="TimeoutError", reason="x"),))
    done, calls = relayed(of, lambda _: UNCLEAR)
    assert {index for batch in calls for index in batch if len(batch) == 1} == set(range(1, 50))
    assert done.states[0] is RecipientState.UNKNOWN


def test_a_refused_content_ends_the_message_with_one_call():
    text = "Duplicate header 'List-Unsubscribe'."
    done, calls = relayed(message(120), lambda _: of_code("InvalidParameterValue", text))
    assert done.states == (REJECTED,) * 120
    assert len(calls) == 1


# -- SES's words


def test_a_counted_header_brings_the_same_batch_again_with_rewritten_headers():
    text = "Recipient count exceeds 50."
    rewritten = []

    def ses(batch):
        rewritten.append(batch)
        return of_code("InvalidParameterValue", text) if len(rewritten) == 1 else Accepted("ses-1")

    done, calls = relayed(message(60), ses)
    assert done.states == (SENT,) * 60
    assert [len(batch) for batch in calls] == [50, 50, 10]
    assert rewrites_headers(done)


def test_a_header_that_is_counted_although_it_was_rewritten_ends_the_message():
    done, calls = relayed(message(60), lambda _: of_code("BadRequestException", "Recipient count exceeds 50."))
    assert done.states == (REJECTED,) * 60
    assert len(calls) == 2


def sandbox(verified: set[int], of: Message):
    def ses(batch):
        unknown = [of.recipients[index] for index in batch if index not in verified]
        text = "Email address is not verified. The following identities failed the check in region US-EAST-1: "
        return of_code("MessageRejected", (text + ", ".join(unknown))[:500]) if unknown else Accepted("ses-1")

    return ses


def test_recipients_that_ses_names_are_refused_and_the_others_go():
    of = message(30)
    done, calls = relayed(of, sandbox(set(range(30)) - {4, 20}, of))
    assert done.states == states_for(30, {4, 20})
    assert [len(batch) for batch in calls] == [30, 28]


@pytest.mark.parametrize("verified", [set(), {3}, set(range(25))])
def test_a_list_of_names_that_is_cut_is_believed_as_far_as_it_goes(verified):
    of = message(50)
    done, calls = relayed(of, sandbox(verified, of))
    assert done.states == states_for(50, set(range(50)) - verified)
    assert len(calls) <= 6


@pytest.mark.parametrize(
    ("sender", "content"),
    [
        ("app@example.com", b"From: Ann <ann@example.com>\r\n\r\n"),
        ("ann@example.com", b"From: app@example.com\r\n\r\n"),
        ("app@example.com", b"From: app@example.com\r\nSender:\r\n\tann@example.com\r\n\r\n"),
    ],
)
def test_a_sender_that_is_not_verified_is_nobody_elses_fault_even_when_it_is_a_recipient_too(sender, content):
    text = "Email address is not verified. The following identities failed the check in region US-EAST-1: "
    refused = of_code("MessageRejected", f"{text}Ann <ann@example.com>, ann@example.com")
    assert refused == Unavailable("MessageRejected", refused.reason, "identity")
    recipients = ["ann@example.com", "bob@example.net"]
    assert judged(refused, Call(sender, recipients, content, {}), lambda: True) == refused
    stranger = Call("app@example.com", recipients, b"From: joann@example.com\r\n\r\n", {})
    assert isinstance(judged(refused, stranger, lambda: True), Split)


def test_a_call_for_one_address_is_never_split():
    call = Call("a@b", ["one@example.net"], b"", {})
    assert judged(BAD, call, lambda: True) == BAD
    assert judged(Accepted("ses-1"), call, lambda: True) == Accepted("ses-1")
