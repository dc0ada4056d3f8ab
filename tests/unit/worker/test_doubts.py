"""Calls without an answer, with relay.unknown = confirm: what settles them, and what does not."""

import dataclasses

import pytest
from structlog.testing import capture_logs

from sending_events.records import EventRecord
from spool.states import AWAITS_EVENT, RecipientState
from tests.unit.worker.stand import (
    NOW_MS,
    AnsweringSes,
    attempt,
    message,
    stand,
    work,
)
from worker.relay.outcomes import Accepted, Unknown
from worker.relay.relay import relay
from worker.steps.finish import finish
from worker.steps.load import load
from worker.work import Stop

WAITING, SENDING, SENT = RecipientState.WAITING, RecipientState.SENDING, RecipientState.SENT
UNKNOWN = RecipientState.UNKNOWN


CONFIRM = {"unknown": "confirm", "confirm_seconds": 100}


async def test_with_confirm_the_rest_goes_on_and_the_lost_batch_stays_in_doubt():
    tools = stand(AnsweringSes(Unknown("TimeoutError", "no answer")), relay=CONFIRM)
    verdict = await relay(work(tools, message(60)), tools)
    assert verdict.work.message.states == (UNKNOWN,) * 50 + (WAITING,) * 10
    assert await finish(verdict.work, tools) == Stop("parked")
    rest = dataclasses.replace(verdict.work, delay=None)
    tools.routes.ses("default").outcomes = [Accepted("2")]
    assert (await relay(rest, tools)).work.message.states == (UNKNOWN,) * 50 + (SENT,) * 10


async def test_when_only_doubts_are_left_the_message_waits_for_ses_s_event():
    tools = stand(relay=CONFIRM)
    lost = attempt(1, (0, 1, 2), outcome="unknown", ended_at_ms=NOW_MS - 40_000)
    waiting = work(tools, message(states=(UNKNOWN,) * 3, attempts=(lost,)))
    assert await finish(waiting, tools) == Stop("parked")
    end = tools.spool.settlements[-1]
    assert (end.to, end.reason, end.after_seconds) == ("parked", AWAITS_EVENT, 61.0)


@pytest.mark.parametrize(
    ("ended_before_ms", "read_before_ms", "state"),
    [
        (101_000, 500, WAITING),  # nothing came, and it would have been read
        (99_000, 500, UNKNOWN),  # there is time left
        (101_000, 1_500, UNKNOWN),  # the feedback was not read to the end since
        (900_000, 900_000, UNKNOWN),
    ],
)
async def test_a_call_is_given_up_only_when_its_event_would_have_been_read(ended_before_ms, read_before_ms, state):
    tools = stand(relay=CONFIRM)
    tools.spool.feedback_read_at_ms = NOW_MS - read_before_ms
    lost = attempt(1, (0, 1), outcome="unknown", ended_at_ms=NOW_MS - ended_before_ms)
    verdict = await load(work(tools, message(states=(UNKNOWN, UNKNOWN, SENT), attempts=(lost,))), tools)
    assert verdict.work.message.states == (state, state, SENT)
    if state is UNKNOWN:
        await finish(verdict.work, tools)
        assert 1 <= tools.spool.settlements[-1].after_seconds <= 25


async def test_an_event_that_confirmed_a_call_ends_its_doubt():
    tools = stand(relay=CONFIRM)
    confirmed = attempt(1, (0, 1), outcome="accepted", ses_message_id="ses-1", ended_at_ms=NOW_MS - 10)
    verdict = await load(work(tools, message(states=(UNKNOWN, UNKNOWN, SENT), attempts=(confirmed,))), tools)
    assert verdict.work.message.states == (SENT,) * 3
    assert [EventRecord.decode(one).kind for one in tools.spool.settlements[0].events] == ["send"]


async def test_a_call_that_was_left_open_is_in_doubt_from_the_moment_it_is_found():
    tools = stand(relay=CONFIRM)
    tools.spool.feedback_read_at_ms = NOW_MS
    found = message(states=(SENDING, SENDING, SENT), attempts=(attempt(1, (0, 1)),))
    verdict = await load(work(tools, found), tools)
    assert verdict.work.message.states == (UNKNOWN, UNKNOWN, SENT)


async def test_that_the_feedback_is_silent_is_logged_once_for_many_messages():
    tools = stand(relay=CONFIRM)
    lost = attempt(1, (0,), outcome="unknown", ended_at_ms=NOW_MS - 101_000)
    with capture_logs() as logged:
        for _ in range(3):
            await load(work(tools, message(states=(UNKNOWN, SENT, SENT), attempts=(lost,))), tools)
    assert [one["event"] for one in logged] == ["feedback.silent"]
