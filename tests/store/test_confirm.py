"""SES's own event settles a call whose answer nobody got."""

import dataclasses

import pytest

from spool.records import Attempt, Settlement
from spool.rows import KEPT_ATTEMPTS
from spool.sending_quota import Denied, Granted, Lost, Take
from spool.states import AWAITS_EVENT, IN_DOUBT, IN_LANE, Place, RecipientState
from spool.store import Claimed, Spool
from tests.store.messages import accepted_and_claimed, an_intent, end_lease, numbers
from tests.store.taking import UNLIMITED, a_seat, lane_numbers


async def in_doubt(spool: Spool, **settled) -> Claimed:
    """A message whose only call ended without an answer, settled so."""
    claimed = await accepted_and_claimed(spool)
    doubt = dataclasses.replace(an_intent(), outcome="unknown", ended_at_ms=5, code="Timeout", reason="no answer")
    states = (RecipientState.UNKNOWN,)
    assert await spool.settle(Settlement(claimed.lease, 1, states=states, attempts=(doubt,), **settled))
    return claimed


async def loaded(spool: Spool, claimed: Claimed):
    message = await spool.load(claimed.lease.message_id)
    assert message is not None
    return message


@pytest.mark.parametrize(("to", "reason"), [("parked", AWAITS_EVENT), ("held", IN_DOUBT)])
async def test_an_event_closes_the_attempt_and_lets_the_message_go_on(spool: Spool, to, reason):
    claimed = await in_doubt(spool, to=to, reason=reason, after_seconds=120 if to == "parked" else 0)
    message_id = claimed.lease.message_id
    assert await spool.confirm(message_id, 1, "ses-1", 1_700_000_000_777) == "noted"
    message = await loaded(spool, claimed)
    expected = Attempt(1, (0,), 1_700_000_000_000, "worker@test", "accepted", 1_700_000_000_777, "ses-1")
    assert message.attempts == (expected,)
    assert (message.place, message.states) == (Place.DUE, (RecipientState.UNKNOWN,)), "the next holder tells it"
    assert await numbers(spool.redis, "{ms}:reasons") == {}
    found = await spool.find("<ses-1@email.amazonses.com>")
    assert found is not None
    assert await spool.confirm(message_id, 1, "ses-1", 1_700_000_000_888) == "known"
    assert (await loaded(spool, claimed)).attempts == (expected,)


@pytest.mark.parametrize(("to", "reason"), [("parked", "throttled"), ("held", "held by the operator")])
async def test_a_message_that_waits_for_something_else_stays_where_it_is(spool: Spool, to, reason):
    claimed = await in_doubt(spool, to=to, reason=reason, after_seconds=120 if to == "parked" else 0)
    assert await spool.confirm(claimed.lease.message_id, 1, "ses-1", 9) == "noted"
    message = await loaded(spool, claimed)
    assert (message.place, message.attempts[0].outcome) == (Place(to), "accepted")


async def test_a_message_in_a_lane_keeps_its_place(spool: Spool):
    claimed = await in_doubt(spool, to="lane", seat=a_seat())
    assert await spool.confirm(claimed.lease.message_id, 1, "ses-1", 9) == "noted"
    assert (await loaded(spool, claimed)).place is Place.PARKED
    assert len(await lane_numbers(spool)) >= 1


async def test_what_is_not_known_is_said_so(spool: Spool):
    claimed = await in_doubt(spool)
    assert await spool.confirm(claimed.lease.message_id, 2, "ses-1", 9) == "unknown"
    assert await spool.confirm("0000-never-there", 1, "ses-1", 9) == "unknown"
    assert await spool.confirm("{ms}:m:x", 1, "ses-1", 9) == "unknown"
    assert await spool.find("ses-1") is None


@pytest.mark.parametrize("outcome", ["accepted", "rejected", "throttled", "unavailable", "split"])
async def test_an_outcome_that_is_written_is_not_changed(spool: Spool, outcome):
    claimed = await accepted_and_claimed(spool)
    attempt = dataclasses.replace(an_intent(), outcome=outcome, ended_at_ms=5, ses_message_id="ses-0")
    await spool.settle(Settlement(claimed.lease, 1, attempts=(attempt,)))
    assert await spool.confirm(claimed.lease.message_id, 1, "ses-1", 9) == "known"
    assert (await loaded(spool, claimed)).attempts == (attempt,)


async def test_a_holder_whose_call_is_under_way_keeps_the_message_and_may_say_the_same(spool: Spool):
    claimed = await accepted_and_claimed(spool)
    await spool.settle(Settlement(claimed.lease, 1, states=(RecipientState.SENDING,), attempts=(an_intent(),)))
    assert await spool.confirm(claimed.lease.message_id, 1, "ses-1", 9) == "noted"
    assert (await loaded(spool, claimed)).place is Place.LEASED
    answer = dataclasses.replace(an_intent(), outcome="accepted", ses_message_id="ses-1")
    assert await spool.settle(Settlement(claimed.lease, 2, "done", states=(RecipientState.SENT,), attempts=(answer,)))


async def test_a_holder_that_knows_less_than_the_event_writes_nothing(spool: Spool):
    claimed = await accepted_and_claimed(spool)
    await spool.settle(Settlement(claimed.lease, 1, states=(RecipientState.SENDING,), attempts=(an_intent(),)))
    await spool.confirm(claimed.lease.message_id, 1, "ses-1", 9)
    doubt = dataclasses.replace(an_intent(), outcome="unknown")
    assert not await spool.settle(Settlement(claimed.lease, 2, "parked", 120, None, AWAITS_EVENT, attempts=(doubt,)))
    message = await loaded(spool, claimed)
    assert (message.place, message.attempts[0].outcome) == (Place.DUE, "accepted")


async def test_a_holder_does_not_park_for_an_event_that_came_meanwhile(spool: Spool):
    claimed = await in_doubt(spool)
    assert await spool.confirm(claimed.lease.message_id, 1, "ses-1", 9) == "noted"
    assert await spool.settle(Settlement(claimed.lease, 2, "parked", 120, reason=AWAITS_EVENT))
    assert (await loaded(spool, claimed)).place is Place.DUE
    [again] = await spool.claim([claimed.lease.message_id], "w")
    assert await spool.settle(Settlement(again.lease, 1, "parked", 120, reason=AWAITS_EVENT))
    assert (await loaded(spool, claimed)).place is Place.PARKED, "that was for the last lease"


async def _asks_again(spool: Spool, claimed: Claimed, number: int, *more: Attempt) -> Granted | Denied | Lost:
    """The intent of one more call for the only recipient, with what was learnt before."""
    attempts = (*more, an_intent(number))
    again = Settlement(claimed.lease, number, states=(RecipientState.SENDING,), attempts=attempts)
    return await spool.intend(again, Take(a_seat(), 1, UNLIMITED))


@pytest.mark.parametrize("to", ["lane", "parked"])
async def test_no_call_is_granted_to_a_holder_that_does_not_know_of_the_event(spool: Spool, to):
    claimed = await in_doubt(spool, to="due")
    [again] = await spool.claim([claimed.lease.message_id], "w2")  # and gives the doubt up: nobody told of the call
    assert await spool.confirm(claimed.lease.message_id, 1, "ses-1", 9) == "noted"
    assert await _asks_again(spool, again, 2) == Denied("paused", 0)
    reason, seat = (IN_LANE, a_seat()) if to == "lane" else (AWAITS_EVENT, None)
    states = (RecipientState.WAITING,)
    assert await spool.settle(Settlement(again.lease, 3, to, 60, seat, reason, states))
    message = await loaded(spool, claimed)
    assert (message.place, message.attempts[0].outcome, message.seat) == (Place.DUE, "accepted", None)
    [last] = await spool.claim([claimed.lease.message_id], "w3")
    assert await _asks_again(spool, last, 4) == Granted(), "this one has read of it"


async def test_no_call_is_granted_to_a_holder_that_does_not_know_of_the_late_answer(spool: Spool):
    first = await accepted_and_claimed(spool)
    await spool.settle(Settlement(first.lease, 1, states=(RecipientState.SENDING,), attempts=(an_intent(),)))
    await end_lease(spool.redis, first.lease.message_id)
    await spool.sweep(limit=9, max_crashes=9, nudges=0)
    [second] = await spool.claim([first.lease.message_id], "w2")
    answer = dataclasses.replace(an_intent(), outcome="accepted", ses_message_id="ses-1")
    assert not await spool.settle(Settlement(first.lease, 2, attempts=(answer,)))
    assert await _asks_again(spool, second, 2) == Denied("paused", 0)


async def test_a_holder_that_knows_as_much_as_the_event_goes_on(spool: Spool):
    claimed = await accepted_and_claimed(spool)
    await spool.settle(Settlement(claimed.lease, 1, states=(RecipientState.SENDING,), attempts=(an_intent(),)))
    assert await spool.confirm(claimed.lease.message_id, 1, "ses-1", 9) == "noted"
    answer = dataclasses.replace(an_intent(), outcome="accepted", ses_message_id="ses-1")
    assert await _asks_again(spool, claimed, 2, answer) == Granted()
    assert await _asks_again(spool, claimed, 3) == Granted()


async def test_an_event_of_the_last_lease_stops_nobody(spool: Spool):
    claimed = await in_doubt(spool)
    assert await spool.confirm(claimed.lease.message_id, 1, "ses-1", 9) == "noted"
    await end_lease(spool.redis, claimed.lease.message_id)
    await spool.sweep(limit=9, max_crashes=9, nudges=0)
    [again] = await spool.claim([claimed.lease.message_id], "w2")
    assert await _asks_again(spool, again, 2) == Granted()


async def test_a_late_answer_of_a_lost_holder_ends_the_waiting_too(spool: Spool):
    first = await accepted_and_claimed(spool)
    await spool.settle(Settlement(first.lease, 1, states=(RecipientState.SENDING,), attempts=(an_intent(),)))
    await end_lease(spool.redis, first.lease.message_id)
    await spool.sweep(limit=9, max_crashes=9, nudges=9)
    [second] = await spool.claim([first.lease.message_id], "w2")
    doubt = dataclasses.replace(an_intent(), outcome="unknown")
    await spool.settle(
        Settlement(second.lease, 1, "parked", 120, None, AWAITS_EVENT, (RecipientState.UNKNOWN,), attempts=(doubt,))
    )
    answer = dataclasses.replace(an_intent(), outcome="accepted", ses_message_id="ses-1")
    assert not await spool.settle(Settlement(first.lease, 2, attempts=(answer,)))
    assert (await loaded(spool, first)).place is Place.DUE


async def test_an_attempt_in_doubt_is_kept_as_long_as_somebody_waits_for_its_event(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=4)
    states = tuple(RecipientState(letter) for letter in "wuww")
    outcomes = {1: ("unknown", (0,)), 2: ("unknown", (1,)), 3: ("split", (2, 3))}
    for number in range(1, 4 + KEPT_ATTEMPTS):
        outcome, recipients = outcomes.get(number, ("throttled", (3,)))
        intent = an_intent(number, recipients)
        await spool.settle(Settlement(claimed.lease, 2 * number, states=states, attempts=(intent,)))
        closed = dataclasses.replace(intent, outcome=outcome)
        await spool.settle(Settlement(claimed.lease, 2 * number + 1, attempts=(closed,)))
    assert [one.number for one in (await loaded(spool, claimed)).attempts][:3] == [2, 3, 4]


async def test_how_far_the_events_were_read_is_remembered(spool: Spool):
    assert (await spool.feedback_position("sim"), await spool.feedback_seen_at_ms()) == ("", 0)
    await spool.feedback_seen("sim", "17", 0)
    assert (await spool.feedback_position("sim"), await spool.feedback_seen_at_ms()) == ("17", 0)
    await spool.feedback_seen("sim", "19", 1_700_000_000_000)
    assert (await spool.feedback_position("sim"), await spool.feedback_seen_at_ms()) == ("19", 1_700_000_000_000)
