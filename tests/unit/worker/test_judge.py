"""The judge step: decisions as states, calls of functions over their tries, and what is written when."""

import asyncio
import dataclasses
import gc
import json
from collections import Counter

import pytest
from structlog.testing import capture_logs

from config.failpoints import Failpoint, Failpoints
from sending_events.records import EventRecord
from spool.content import ContentUnavailable
from spool.scripts import StoreUnavailable
from spool.sending_quota import Denied
from spool.states import IN_LANE, Happening, RecipientState, awaits_function
from spool.verdicts import Decision, FunctionCall, Part, Verdict
from tests.unit.worker.stand import (
    NOW_MS,
    AnsweringFunctions,
    AnsweringSes,
    RememberingFlow,
    Rules,
    message,
    rule,
    stand,
    work,
)
from worker.functions.failures import InvocationFailed
from worker.relay.outcomes import Accepted
from worker.relay.relay import relay
from worker.rules.choice import invocation_id_of
from worker.rules.records import AddHeader, Decide, Function, ReplaceRecipient, RunLambda, Tee, UseLane
from worker.steps.finish import finish
from worker.steps.function_places import FunctionPlaces
from worker.steps.judge import judge
from worker.steps.load import load
from worker.steps.rest import ask_rest
from worker.steps.tell import tell
from worker.work import LeaseLost, StepFailed

WAITING, SENT, DROPPED = RecipientState.WAITING, RecipientState.SENT, RecipientState.DROPPED
REJECTED, UNKNOWN = RecipientState.REJECTED, RecipientState.UNKNOWN
SYNC = RunLambda(Function("file:f.py:handler", timeout_minutes=5, fallback="BOUNCE", fallback_text="no answer"))
ASYNC = RunLambda(Function("file:f.py:handler", "async"))
DEFAULT_FOR_ALL = b'{"actions": [{"allRecipients": true, "action": {"type": "DEFAULT"}}]}'
DROP_FOR_ALL = b'{"actions": [{"allRecipients": true, "action": {"type": "DROP"}}]}'


def ruled(*rules, answers=(), outcomes=(), **fields):
    """A stand with these rules; functions answer what the list says."""
    tools = stand(AnsweringSes(*outcomes))
    return dataclasses.replace(
        tools, rules=Rules(*rules), functions=AnsweringFunctions(*answers), flow=RememberingFlow(), **fields
    )


async def through(of, tools):
    """The work after judge, relay and rest."""
    for step in (judge, relay, ask_rest):
        of = (await step(of, tools)).work
    return of


def kinds(events):
    return [EventRecord.decode(one).kind for one in events]


async def test_without_rules_nothing_is_judged_and_nothing_is_written():
    tools = stand()
    before = work(tools)
    after = (await judge(before, tools)).work
    assert after == before


async def test_a_message_that_the_rules_leave_alone_costs_no_write_and_carries_the_version():
    tools = ruled(rule("a", Decide("DROP"), recipients=["other.example"]), outcomes=[Accepted("1")])
    after = (await judge(work(tools), tools)).work
    assert tools.spool.settlements == []
    assert after.message.verdict == Verdict("0123456789ab")
    await relay(after, tools)
    (intent,) = tools.spool.settlements
    assert (intent.verdict, len(intent.states)) == (Verdict("0123456789ab"), 3)


async def test_a_bounce_is_never_judged():
    tools = ruled(rule("a", Decide("DROP")))
    after = (await judge(work(tools, message(door="bounce", sender="")), tools)).work
    assert after.message.verdict is None


async def test_dropped_and_bounced_recipients_are_states_with_events_and_counts_in_one_write_with_the_verdict():
    tools = ruled(
        rule("drop it", Decide("DROP"), recipients=["r0@example.net"]),
        rule("bounce it", Decide("BOUNCE", "not here"), number=1, recipients=["r1@example.net"]),
        outcomes=[Accepted("1")],
    )
    with capture_logs() as logs:
        after = (await judge(work(tools), tools)).work
    assert tools.spool.settlements == []
    assert after.message.states == (DROPPED, REJECTED, WAITING)
    assert after.unwritten.counts == {"dropped_recipients": 1, "rejected_recipients": 1}
    assert kinds(after.unwritten.events) == ["rule_applied", "dropped", "rule_applied", "bounced"]
    applied = EventRecord.decode(after.unwritten.events[0])
    assert (applied.rule, applied.action, applied.direction, applied.version, applied.recipients) == (
        ("drop it", "DROP", "OUTBOUND", "0123456789ab", (0,))
    )
    assert applied.reason
    assert [(one["rule"], one["action"], one["recipients"]) for one in logs if one["event"] == "rule.applied"] == [
        ("drop it", "DROP", 1),
        ("bounce it", "BOUNCE", 1),
    ]
    sent = (await relay(after, tools)).work
    (intent,) = tools.spool.settlements
    assert intent.verdict == after.message.verdict
    assert [one.recipients for one in intent.attempts] == [(2,)]
    assert sent.message.states == (DROPPED, REJECTED, SENT)
    told = (await tell(sent, tools)).work
    (bounce,) = tools.spool.settlements[-1].spawned
    assert b"<r1@example.net>:\r\n  not here\r\n" in bounce.content
    assert b"Status: 5.7.1" in bounce.content
    assert b"r0@" not in bounce.content
    assert told.message.told == frozenset({1})


@pytest.mark.parametrize("fields", [{"sender": ""}, {"is_auto_submitted": True}])
async def test_a_rules_bounce_never_answers_what_no_person_sent(fields):
    tools = ruled(rule("a", Decide("BOUNCE", "no")))
    after = (await judge(work(tools, message(**fields)), tools)).work
    assert after.message.states == (REJECTED,) * 3
    await tell(after, tools)
    assert tools.spool.settlements == []


async def test_a_second_recipient_is_added_counted_and_sent_to():
    tools = ruled(rule("copy", None, Tee("copy@example.org")), outcomes=[Accepted("1"), Accepted("2")])
    after = (await judge(work(tools), tools)).work
    assert after.message.recipients[3:] == ("copy@example.org",)
    assert after.message.envelope == message().recipients
    assert after.message.states == (WAITING,) * 4
    assert after.unwritten.counts == {"accepted_recipients": 1}
    sent = (await relay(after, tools)).work
    assert sent.message.states == (SENT,) * 4


async def test_a_message_that_was_sent_in_part_before_there_were_rules_is_judged_for_the_rest():
    tools = ruled(rule("a", Decide("DROP")))
    after = (await judge(work(tools, message(states=(SENT, WAITING, WAITING))), tools)).work
    assert after.message.states == (SENT, DROPPED, DROPPED)
    assert after.unwritten.counts == {"dropped_recipients": 2}
    assert after.message.verdict.decision_of(0) is None


async def test_an_address_that_was_sent_to_before_there_were_rules_takes_no_replacement_from_anybody():
    tools = ruled(rule("instead", None, ReplaceRecipient(("x@example.org",))), outcomes=[Accepted("1")])
    judged = (await judge(work(tools, message(2, states=(SENT, WAITING))), tools)).work
    assert judged.message.verdict.replaced == {1: "x@example.org"}
    sent = (await relay(judged, tools)).work
    assert [call.recipients for call in tools.routes.ses("default").calls] == [["x@example.org"]]
    assert sent.message.states == (SENT, SENT)


async def test_who_is_in_doubt_takes_no_replacement_from_those_who_wait():
    tools = ruled(rule("instead", None, ReplaceRecipient(("x@example.org",))), outcomes=[Accepted("1")])
    judged = (await judge(work(tools, message(2, states=(UNKNOWN, WAITING))), tools)).work
    sent = (await relay(judged, tools)).work
    assert [call.recipients for call in tools.routes.ses("default").calls] == [["x@example.org"]]
    assert sent.message.states == (UNKNOWN, SENT)


async def test_whom_a_rule_adds_waits_for_the_function_also_when_a_part_was_sent_before():
    disposal = RunLambda(Function("file:f.py:handler", timeout_minutes=5))
    changes = ReplaceRecipient(("a@n.example", "b@n.example")), AddHeader("X-A", "1")
    answers = InvocationFailed("no"), DEFAULT_FOR_ALL
    tools = ruled(rule("ask", disposal, *changes), answers=answers, outcomes=[Accepted("1")])
    judged = (await judge(work(tools, message(2, states=(SENT, WAITING))), tools)).work
    assert judged.message.verdict.undecided == frozenset({1, 2})
    waiting = (await relay(judged, tools)).work
    assert tools.routes.ses("default").calls == []
    tools = dataclasses.replace(tools, now_ms=lambda: NOW_MS + 6000)
    judged = (await judge(work(tools, waiting.message), tools)).work
    await relay(judged, tools)
    (call,) = tools.routes.ses("default").calls
    assert (call.recipients, call.content[:9]) == (["a@n.example", "b@n.example"], b"X-A: 1\r\nS")


async def test_a_copy_that_only_a_sent_recipient_would_have_caused_is_not_made():
    copies = rule("copy", None, Tee("copy@example.org"), recipients=["r0@example.net"])
    to_all = rule("known", None, Tee("R0@example.net"), number=1)
    tools = ruled(copies, to_all)
    judged = (await judge(work(tools, message(2, states=(SENT, WAITING))), tools)).work
    assert judged.message.verdict.added == ()
    assert judged.message.states == (SENT, WAITING)


async def test_a_drop_counts_for_whoever_was_in_doubt_once_they_wait_again():
    tools = ruled(rule("drop", Decide("DROP"), recipients=["r0@example.net"]), outcomes=[Accepted("2")])
    judged = (await judge(work(tools, message(2, states=(UNKNOWN, WAITING))), tools)).work
    assert judged.message.states == (UNKNOWN, WAITING)
    again = judged.message.having((0,), Happening.NOT_CONFIRMED)
    sent = (await relay((await judge(work(tools, again), tools)).work, tools)).work
    assert sent.message.states == (DROPPED, SENT)
    assert [call.recipients for call in tools.routes.ses("default").calls] == [["r1@example.net"]]


async def test_a_verdict_alone_costs_no_write_when_all_slots_are_busy():
    tools = ruled(rule("a", Decide("DROP"), recipients=["other.example"]), outcomes=[Accepted("1")])
    slots = tools.routes.ses("default").slots = asyncio.Semaphore(1)
    await slots.acquire()
    judged = (await judge(work(tools), tools)).work
    task = asyncio.ensure_future(relay(judged, tools))
    while not slots._waiters:
        await asyncio.sleep(0)
    assert tools.spool.settlements == []
    slots.release()
    await finish((await task).work, tools)
    assert [one.to for one in tools.spool.settlements] == [None, "done"]
    assert tools.spool.settlements[0].verdict == judged.message.verdict


# -- sync functions


async def test_a_try_is_written_down_before_the_function_is_called_and_its_answer_decides():
    tools = ruled(rule("ask", SYNC), answers=[DROP_FOR_ALL])
    calls = tools.functions.calls
    spool = tools.spool
    written = spool.settle

    async def settle(settlement):
        assert calls == []
        return await written(settlement)

    spool.settle = settle
    after = (await judge(work(tools), tools)).work
    (intent,) = spool.settlements
    (call,) = intent.verdict.calls
    assert (call.tries, call.state, call.first_at_ms) == (1, "waits", NOW_MS)
    assert intent.to is None
    ((name, payload, invocation_id),) = calls
    assert (name, invocation_id) == ("ask", invocation_id_of(message().message_id, "ask", "OUTBOUND"))
    assert json.loads(payload)["invocationId"] == invocation_id
    assert tools.flow.begun == [(invocation_id, True)]
    assert tools.flow.ended == [invocation_id]
    assert after.message.states == (DROPPED,) * 3
    assert after.message.verdict.calls[0].state == "answered"


async def test_nobody_is_sent_to_while_a_function_has_to_decide_and_the_others_go():
    tools = ruled(
        rule("ask", SYNC, recipients=["r0@example.net"]),
        answers=[InvocationFailed("it raised")],
        outcomes=[Accepted("1")],
    )
    after = await through(work(tools), tools)
    assert after.message.states == (WAITING, SENT, SENT)
    end = await finish(after, tools)
    moved = tools.spool.settlements[-1]
    assert (end.why, moved.to, moved.reason, moved.after_seconds) == ("parked", "parked", awaits_function("ask"), 5.0)
    assert moved.rounds == 0
    (call,) = moved.verdict.calls
    assert (call.error, call.state) == ("it raised", "waits")
    assert tools.flow.ended == [call.invocation_id]


async def test_who_waits_for_no_function_has_the_mail_before_the_first_try_and_whom_it_lets_pass_at_once():
    tools = ruled(rule("ask", SYNC, recipients=["r0@example.net"]), outcomes=[Accepted("1"), Accepted("2")])
    ses = tools.routes.ses("default")
    sent_before = []

    async def invoke(function, *, rule, payload, invocation_id):
        sent_before.extend(call.recipients for call in ses.calls)
        return DEFAULT_FOR_ALL

    tools.functions.invoke = invoke
    after = await through(work(tools), tools)
    assert sent_before == [["r1@example.net", "r2@example.net"]]
    assert [call.recipients for call in ses.calls] == [["r1@example.net", "r2@example.net"], ["r0@example.net"]]
    assert after.message.states == (SENT,) * 3
    intents = [one for one in tools.spool.settlements if one.verdict]
    assert [one.verdict.calls[0].tries for one in intents] == [0, 1, 1], "the try is written before it is made"
    assert (await finish(after, tools)).why == "done"


async def test_a_message_about_which_only_functions_decide_is_asked_for_before_the_relay():
    tools = ruled(rule("ask", SYNC), answers=[DROP_FOR_ALL])
    after = (await judge(work(tools), tools)).work
    assert after.message.states == (DROPPED,) * 3
    assert (await ask_rest(after, tools)).work is after


async def test_a_closed_lane_puts_the_first_try_off_for_one_round_only():
    tools = ruled(rule("ask", SYNC, recipients=["r0@example.net"]), answers=[DROP_FOR_ALL])
    tools.spool.denials = [Denied("rate", 6000), Denied("rate", 6000)]
    first = await through(work(tools), tools)
    assert tools.functions.calls == []
    assert (await finish(first, tools)).why == "lane"
    moved = tools.spool.settlements[-1]
    assert (moved.reason, 0 < moved.after_seconds < 1, moved.queued) == (IN_LANE, True, 2)
    assert moved.verdict.calls[0].tries == 0
    again = await through(work(tools, first.message), tools)
    assert again.message.states == (DROPPED, WAITING, WAITING)
    assert (await finish(again, tools)).why == "lane"
    assert tools.spool.settlements[-1].after_seconds > 1000, "nothing but its turn brings it back"


async def test_a_worker_that_stops_while_it_relays_asks_nobody():
    tools = ruled(rule("ask", SYNC, recipients=["r0@example.net"]), outcomes=[Accepted("1")])
    judged = (await judge(work(tools), tools)).work
    relayed = (await relay(judged, tools)).work
    tools.stopping.set()
    after = (await ask_rest(relayed, tools)).work
    assert (await finish(after, tools)).why == "due"
    assert tools.spool.settlements[-1].verdict is None, "that it was put off is written with the intent of the others"
    assert tools.functions.calls == []


async def test_before_its_time_a_function_is_not_asked_again():
    tools = ruled(rule("ask", SYNC))
    call = _asked(next_at_ms=NOW_MS + 4000)
    after = (await judge(work(tools, _waiting_for(call)), tools)).work
    assert tools.spool.settlements == []
    assert (await finish((await relay(after, tools)).work, tools)).why == "parked"
    assert tools.spool.settlements[-1].after_seconds == 4.0


async def test_what_an_operator_lets_go_on_is_asked_before_its_time_and_the_next_try_has_its_distance_again():
    tools = ruled(rule("ask", SYNC), answers=[InvocationFailed("still broken"), DROP_FOR_ALL])
    call = _asked(tries=3, next_at_ms=NOW_MS + 200_000)
    retried = dataclasses.replace(_waiting_for(call), is_ask_wanted=True)
    after = await through(work(tools, retried), tools)
    assert len(tools.functions.calls) == 1
    (asked,) = after.message.verdict.calls
    assert (asked.tries, asked.error, asked.next_at_ms) == (4, "still broken", NOW_MS + 40_000)
    again = await through(work(tools, dataclasses.replace(after.message, is_ask_wanted=False)), tools)
    assert len(tools.functions.calls) == 1, "whatever else wakes it asks nobody"
    wanted = dataclasses.replace(again.message, is_ask_wanted=True)
    assert (await judge(work(tools, wanted), tools)).work.message.states == (DROPPED,) * 3


async def test_the_operators_wish_survives_a_worker_that_stops():
    tools = ruled(rule("ask", SYNC))
    tools.stopping.set()
    retried = dataclasses.replace(_waiting_for(_asked(next_at_ms=NOW_MS + 200_000)), is_ask_wanted=True)
    await finish((await judge(work(tools, retried), tools)).work, tools)
    moved = tools.spool.settlements[-1]
    assert (moved.to, moved.verdict.calls[0].next_at_ms, moved.verdict.calls[0].tries) == ("due", NOW_MS, 1)


@pytest.mark.parametrize("error", [ValueError("a bug"), StoreUnavailable("not for a function to raise")])
async def test_an_error_of_our_own_is_a_failed_try_of_the_rule_and_not_of_the_message(error):
    tools = ruled(rule("ask", SYNC), answers=[error])
    with capture_logs() as logs:
        after = (await judge(work(tools), tools)).work
    (call,) = after.message.verdict.calls
    assert (call.state, call.tries, call.error) == ("waits", 1, f"the worker failed: {type(error).__name__}")
    assert [(one["event"], one["log_level"]) for one in logs if one["event"].startswith("function.")] == [
        ("function.error", "error"),
        ("function.failed", "warning"),
    ]
    assert tools.flow.ended == [call.invocation_id]
    assert (await finish(after, tools)).why == "parked"
    assert tools.spool.settlements[-1].failures is None
    over = dataclasses.replace(call, first_at_ms=NOW_MS - 300_000, next_at_ms=NOW_MS)
    tools.functions.answers.append(error)
    fallen = (await judge(work(tools, _waiting_for(over)), tools)).work
    assert fallen.message.states == (REJECTED,) * 3


async def test_an_error_of_our_own_about_an_async_function_is_a_failed_try_with_a_line_at_error_level():
    tools = ruled(rule("note", ASYNC), answers=[ValueError("a bug")], outcomes=[Accepted("1")])
    with capture_logs() as logs:
        sent = (await relay((await judge(work(tools), tools)).work, tools)).work
        assert (await finish(sent, tools)).why == "parked"
    (call,) = tools.spool.settlements[-1].verdict.calls
    assert (call.state, call.tries, call.error) == ("waits", 1, "the worker failed: ValueError")
    assert [one["log_level"] for one in logs if one["event"] == "function.error"] == ["error"]


async def test_tries_failures_and_fallbacks_are_counted_by_rule():
    tools = ruled(rule("ask", SYNC), answers=[InvocationFailed("no")] * 2)
    counted = Counter()
    tools.tally.count = lambda name, by=1: counted.update({name: by})
    await judge(work(tools), tools)
    over = _asked(tries=6, first_at_ms=NOW_MS - 300_000, next_at_ms=NOW_MS)
    await judge(work(tools, _waiting_for(over)), tools)
    assert counted == {"function_tries:ask": 2, "function_failures:ask": 2, "function_fallbacks:ask": 1}


async def test_when_its_time_is_over_the_fallback_decides_about_all():
    tools = ruled(rule("ask", SYNC), answers=[InvocationFailed("it raised again")])
    call = _asked(tries=6, first_at_ms=NOW_MS - 300_000, next_at_ms=NOW_MS, fallback="BOUNCE", fallback_text="sorry")
    after = (await judge(work(tools, _waiting_for(call)), tools)).work
    assert after.message.states == (REJECTED,) * 3
    (decision,) = after.message.verdict.decisions
    assert (decision.action, decision.text, decision.rule) == ("BOUNCE", "sorry", "ask")
    assert "it raised again" in decision.because
    assert after.message.verdict.calls[0].state == "failed"


async def test_a_try_that_ended_with_its_worker_is_made_again_whatever_the_timeout():
    tools = ruled(rule("ask", SYNC), answers=[DEFAULT_FOR_ALL])
    call = _asked(tries=1, first_at_ms=NOW_MS - 10**8, next_at_ms=NOW_MS - 10**8, timeout_minutes=0.0)
    after = (await judge(work(tools, _waiting_for(call)), tools)).work
    assert after.message.verdict.calls[0].tries == 2
    assert after.message.verdict.undecided == frozenset()


async def test_who_waits_for_a_function_does_not_expire_the_fallback_decides_instead():
    tools = ruled(rule("ask", SYNC))
    call = _asked(tries=3, next_at_ms=NOW_MS + 60_000, fallback="DROP")
    old = dataclasses.replace(_waiting_for(call), accepted_at_ms=NOW_MS - 50_000_000)
    loaded = (await load(work(tools, old), tools)).work
    assert loaded.message.states == (WAITING,) * 3
    after = (await judge(loaded, tools)).work
    assert after.message.states == (DROPPED,) * 3
    assert tools.functions.calls == []


async def test_an_updated_content_is_kept_and_its_part_is_sent_with_it():
    tools = ruled(
        rule("ask", SYNC, recipients=["r0@example.net"]), answers=[DEFAULT_FOR_ALL], outcomes=[Accepted("1")] * 2
    )
    updated = b"From: app@example.com\r\nSubject: other\r\n\r\nbody\r\n"
    invocation_id = invocation_id_of(message().message_id, "ask", "OUTBOUND")
    tools.flow.put[invocation_id] = updated
    after = await through(work(tools), tools)
    (part,) = [one for one in after.message.verdict.parts if one.content_ref]
    assert (part.recipients, part.content_bytes) == ((0,), len(updated))
    assert tools.spool.contents.kept == {part.content_ref: updated}
    ses = tools.routes.ses("default")
    assert [(call.recipients, b"other" in call.content) for call in ses.calls] == [
        (["r1@example.net", "r2@example.net"], False),
        (["r0@example.net"], True),
    ]


async def test_an_updated_content_that_is_too_large_is_a_failed_try():
    tools = ruled(rule("ask", SYNC), answers=[DEFAULT_FOR_ALL])
    small = tools.settings.model_copy(
        update={"smtp": tools.settings.smtp.model_copy(update={"max_message_bytes": 1024})}
    )
    tools = dataclasses.replace(tools, settings=small)
    tools.flow.put[invocation_id_of(message().message_id, "ask", "OUTBOUND")] = b"x" * 2000
    after = (await judge(work(tools), tools)).work
    assert "2000 bytes" in after.message.verdict.calls[0].error
    assert tools.spool.contents.kept == {}


async def test_two_functions_of_a_message_are_asked_one_after_the_other():
    tools = ruled(
        rule("one", SYNC, recipients=["r0@example.net"]),
        rule("two", SYNC, number=1, recipients=["r1@example.net"]),
        answers=[DROP_FOR_ALL, DEFAULT_FOR_ALL],
    )
    after = (await judge(work(tools, message(2)), tools)).work
    assert [name for name, _, _ in tools.functions.calls] == ["one", "two"]
    begun = [invocation_id for invocation_id, _ in tools.flow.begun]
    assert tools.flow.ended == begun
    assert after.message.states == (DROPPED, WAITING)
    # What the first decided is written with the second's intent.
    assert tools.spool.settlements[1].states == (DROPPED, WAITING)


async def test_what_a_function_adds_gets_the_mail_once():
    answer = {
        "actions": [{"action": {"type": "DEFAULT"}, "recipients": ["new@example.org", "R0@example.net"]}],
    }
    tools = ruled(rule("ask", SYNC), answers=[json.dumps(answer).encode()], outcomes=[Accepted("1")])
    after = (await judge(work(tools, message(1)), tools)).work
    assert after.message.recipients == ("r0@example.net", "new@example.org")
    assert after.unwritten.counts == {"accepted_recipients": 1}
    sent = (await relay(after, tools)).work
    assert tools.routes.ses("default").calls[0].recipients == ["r0@example.net", "new@example.org"]
    assert sent.message.states == (SENT, SENT)


async def test_an_answer_whose_lease_is_lost_is_forgotten():
    tools = ruled(rule("ask", SYNC), answers=[DROP_FOR_ALL])
    tools.spool.has_lease = False
    with pytest.raises(LeaseLost):
        await judge(work(tools), tools)
    assert tools.functions.calls == []


async def test_a_store_that_is_away_is_no_failed_try():
    tools = ruled(rule("ask", SYNC), answers=[DROP_FOR_ALL])

    async def away(message, content, *, invocation_id, seconds, is_sync):
        raise StoreUnavailable("away")

    tools.flow.begin = away
    with pytest.raises(StepFailed) as failed:
        await judge(work(tools), tools)
    (call,) = failed.value.work.message.verdict.calls
    assert (call.state, call.error, call.tries) == ("waits", "", 1)


async def test_a_worker_that_stops_asks_nobody():
    tools = ruled(rule("ask", SYNC))
    tools.stopping.set()
    after = (await judge(work(tools), tools)).work
    assert after.delay.to == "due"
    assert (await finish((await relay(after, tools)).work, tools)).why == "due"
    assert tools.spool.settlements[-1].verdict.calls[0].tries == 0


async def test_a_call_that_does_not_fit_into_the_task_is_left_to_the_next_one():
    tools = ruled(rule("ask", SYNC))
    after = (await judge(dataclasses.replace(work(tools), deadline=0.0), tools)).work
    assert after.delay.to == "due"
    assert tools.functions.calls == []


async def test_who_finds_no_place_at_the_function_comes_back_and_that_is_no_try():
    tools = ruled(rule("ask", SYNC))
    tools.places.seconds_until_free = lambda name, concurrency, message_id, *, has_waited: 7.0
    after = (await judge(work(tools), tools)).work
    (call,) = after.message.verdict.calls
    assert (call.tries, call.first_at_ms, call.next_at_ms) == (0, 0, NOW_MS + 7000)
    await finish((await relay(after, tools)).work, tools)
    assert tools.spool.settlements[-1].after_seconds == 7.0


@pytest.mark.parametrize("name", ["judge.before_call", "judge.after_call", "judge.after_update"])
async def test_a_step_that_fails_there_decides_nothing(name):
    tools = ruled(rule("ask", SYNC), answers=[DEFAULT_FOR_ALL], failpoints=Failpoints(f"{name}=raise"))
    tools.flow.put[invocation_id_of(message().message_id, "ask", "OUTBOUND")] = b"Subject: x\r\n\r\n"
    with pytest.raises((StepFailed, Failpoint)) as failed:
        await judge(work(tools), tools)
    assert isinstance(failed.value, StepFailed)
    assert failed.value.work.message.verdict.undecided == frozenset({0, 1, 2})


@pytest.mark.parametrize("next_at_ms", [0, NOW_MS + 200_000])
async def test_when_a_message_is_too_old_and_its_function_has_no_place_the_fallback_decides(next_at_ms):
    tools = ruled(rule("ask", SYNC), places=FunctionPlaces(1))
    call = _asked(tries=0, first_at_ms=0, next_at_ms=next_at_ms, fallback="DROP")
    old = dataclasses.replace(_waiting_for(call), accepted_at_ms=NOW_MS - 50_000_000)
    async with tools.places.place("ask", 1):
        after = (await judge(work(tools, old), tools)).work
    assert tools.functions.calls == []
    assert after.message.states == (DROPPED,) * 3
    assert after.message.verdict.calls[0].state == "failed"


async def test_a_message_that_is_too_old_is_still_asked_about_once_when_there_is_a_place():
    tools = ruled(rule("ask", SYNC), answers=[DEFAULT_FOR_ALL])
    old = dataclasses.replace(
        _waiting_for(_asked(tries=0, first_at_ms=0, next_at_ms=NOW_MS + 200_000)), accepted_at_ms=NOW_MS - 50_000_000
    )
    after = (await judge(work(tools, old), tools)).work
    assert after.message.verdict.calls[0].state == "answered"


# -- async functions


async def test_an_async_function_is_asked_after_its_try_is_written_with_the_verdict():
    tools = ruled(rule("note", ASYNC), answers=[b""])
    written = []

    async def invoke(function, *, rule, payload, invocation_id):
        written.extend(tools.spool.settlements)
        return b""

    tools.functions.invoke = invoke
    judged = (await judge(work(tools), tools)).work
    await judged.beside.ended()
    (settlement,) = written
    (call,) = settlement.verdict.calls
    assert (call.tries, call.next_at_ms, len(settlement.states)) == (1, NOW_MS, 3)
    assert set(kinds(settlement.events)) == {"rule_applied"}


async def test_an_async_function_is_not_asked_under_a_lease_that_is_lost():
    tools = ruled(rule("note", ASYNC), answers=[b""])
    tools.spool.has_lease = False
    of = work(tools)
    with pytest.raises(LeaseLost):
        await judge(of, tools)
    assert not of.beside
    assert tools.functions.calls == []


async def test_a_store_that_is_away_for_the_verdict_of_an_async_function_forgets_nothing():
    tools = ruled(rule("note", ASYNC), answers=[b""])
    tools.spool.errors = [RuntimeError("nobody knows whether it is written")]
    with pytest.raises(StepFailed) as failed:
        await judge(work(tools), tools)
    assert failed.value.work.message.verdict.calls[0].tries == 1
    assert tools.functions.calls == []


async def test_a_content_that_cannot_be_shared_is_no_try_of_an_async_function():
    tools = ruled(rule("note", ASYNC), answers=[b""], outcomes=[Accepted("1")])
    begin = tools.flow.begin

    async def away(message, content, *, invocation_id, seconds, is_sync):
        raise ContentUnavailable("S3 is away")

    tools.flow.begin = away
    of, now_ms = message(1), NOW_MS
    for _ in range(5):
        tools = dataclasses.replace(tools, now_ms=lambda now_ms=now_ms: now_ms)
        sent = (await relay((await judge(work(tools, of), tools)).work, tools)).work
        assert (await finish(sent, tools)).why == "parked"
        moved = tools.spool.settlements[-1]
        (call,) = moved.verdict.calls
        assert (call.state, call.tries, moved.after_seconds) == ("waits", 0, 40.0)
        of, now_ms = dataclasses.replace(of, states=moved.states, verdict=moved.verdict), call.next_at_ms
    tools.flow.begin = begin
    tools = dataclasses.replace(tools, now_ms=lambda: now_ms)
    assert (await finish((await judge(work(tools, of), tools)).work, tools)).why == "done"
    assert tools.spool.settlements[-1].verdict.calls[0].state == "answered"
    assert len(tools.functions.calls) == 1


async def test_an_async_function_that_takes_its_time_keeps_no_content():
    tools = ruled(rule("note", ASYNC))
    is_asked, may_end, is_gone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Content(bytes):
        def __del__(self):
            is_gone.set()

    async def invoke(function, *, rule, payload, invocation_id):
        is_asked.set()
        await may_end.wait()
        return b""

    tools.functions.invoke = invoke
    before = dataclasses.replace(work(tools), content=Content(b"Subject: x\r\n\r\nbody\r\n"))
    beside = before.beside
    await judge(before, tools)
    del before
    await is_asked.wait()
    gc.collect()
    assert is_gone.is_set()
    may_end.set()
    await beside.ended()


async def test_an_async_function_runs_beside_the_relay_and_decides_nothing():
    tools = ruled(rule("note", ASYNC), answers=[b""], outcomes=[Accepted("1")])
    judged = (await judge(work(tools), tools)).work
    assert judged.message.verdict.calls[0].tries == 1
    sent = (await relay(judged, tools)).work
    assert (await finish(sent, tools)).why == "done"
    ((_, payload, invocation_id),) = tools.functions.calls
    assert json.loads(payload)["flowDirection"] == "OUTBOUND"
    assert tools.flow.begun == [(invocation_id, False)]
    assert tools.flow.ended == []
    assert tools.spool.settlements[-1].verdict.calls[0].state == "answered"
    assert sent.message.states == (SENT,) * 3


async def test_a_message_is_kept_until_its_async_function_was_asked():
    tools = ruled(rule("note", ASYNC), answers=[InvocationFailed("down")], outcomes=[Accepted("1")])
    sent = (await relay((await judge(work(tools), tools)).work, tools)).work
    assert (await finish(sent, tools)).why == "parked"
    moved = tools.spool.settlements[-1]
    assert (moved.reason, moved.after_seconds, moved.states) == (awaits_function("note"), 5.0, (SENT,) * 3)
    assert tools.spool.forgotten == []


async def test_after_three_tries_an_async_function_is_given_up_and_the_message_ends():
    tools = ruled(rule("note", ASYNC), answers=[InvocationFailed("down")])
    call = dataclasses.replace(_asked(tries=2, next_at_ms=NOW_MS), mode="async", parts=())
    of = dataclasses.replace(_waiting_for(call), states=(SENT,) * 3)
    loaded = (await load(work(tools, of), tools)).work
    after = (await judge(loaded, tools)).work
    assert (await finish(after, tools)).why == "done"
    assert tools.spool.settlements[-1].verdict.calls[0].state == "failed"


async def test_who_still_waits_is_moved_although_an_async_function_runs_and_its_end_is_known_later():
    tools = ruled(rule("note", ASYNC, UseLane("bulk")))
    may_end = asyncio.Event()

    async def invoke(function, *, rule, payload, invocation_id):
        await may_end.wait()
        return b""

    tools.functions.invoke = invoke
    judged = (await judge(work(tools), tools)).work
    tools.spool.denials = [Denied("rate", 6000)]
    assert (await finish((await relay(judged, tools)).work, tools)).why == "lane"
    moved = tools.spool.settlements[-1]
    assert (moved.verdict.calls[0].tries, moved.verdict.calls[0].state) == (1, "waits")
    assert 60 <= moved.after_seconds <= 76
    assert len(tools.left) == 1
    may_end.set()
    while len(tools.left):
        await asyncio.sleep(0)
    again = (await judge(work(tools, judged.message), tools)).work
    assert again.message.verdict.calls[0].state == "answered"


async def test_an_async_function_that_ends_with_its_worker_is_due_soon_for_the_next_one():
    tools = ruled(rule("note", ASYNC), outcomes=[Accepted("1")])

    async def invoke(function, *, rule, payload, invocation_id):
        tools.stopping.set()
        await asyncio.Event().wait()

    tools.functions.invoke = invoke
    judged = (await judge(work(tools), tools)).work
    (call,) = judged.message.verdict.calls
    assert call.next_at_ms == NOW_MS, "a worker that is killed leaves it due"
    sent = (await relay(judged, tools)).work
    assert (await finish(sent, tools)).why == "parked"
    assert tools.spool.settlements[-1].after_seconds == 1.0


async def test_changes_are_told_and_the_mail_carries_them():
    tools = ruled(rule("mark", None, AddHeader("X-Team", "a"), UseLane("bulk")), outcomes=[Accepted("1")])
    judged = (await judge(work(tools), tools)).work
    (applied,) = [EventRecord.decode(one) for one in judged.unwritten.events]
    assert (applied.kind, applied.rule, applied.action) == ("rule_applied", "mark", "header X-Team, lane bulk")
    await relay(judged, tools)
    assert tools.spool.takes[0].seat.lane == "bulk"
    assert tools.routes.ses("default").calls[0].content.startswith(b"X-Team: a\r\nSubject: x\r\n")


def _asked(**fields):
    values = {"tries": 1, "first_at_ms": NOW_MS - 5000, "timeout_minutes": 5.0}
    invocation_id = invocation_id_of(message().message_id, "ask", "OUTBOUND")
    return FunctionCall(
        "ask", "file:f.py:handler", "sync", invocation_id, (0, 1, 2), (Part((0, 1, 2)),), **{**values, **fields}
    )


def _waiting_for(call):
    return message(verdict=Verdict("0123456789ab", calls=(call,)))


# -- told


async def test_the_sender_is_told_of_the_addresses_that_it_wrote_and_of_nobody_who_was_added():
    verdict = Verdict("v", replaced={0: "instead@example.org"}, added=("copy@example.org",))
    of = message(2).judged(verdict)
    of = dataclasses.replace(of, states=(REJECTED,) * 3)
    tools = stand()
    told = (await tell(work(tools, of), tools)).work
    (bounce,) = tools.spool.settlements[-1].spawned
    assert b"Final-Recipient: rfc822; r0@example.net\r\n" in bounce.content
    assert b"@example.org" not in bounce.content
    assert told.message.told == frozenset({0, 1})


async def test_what_ses_refused_is_told_of_auto_submitted_mail_too_and_not_what_a_rule_bounced():
    verdict = Verdict("v", decisions=(Decision("BOUNCE", (0,), "r", "x", "no"), Decision("DEFAULT", (1,), "r")))
    of = message(2, states=(REJECTED,) * 2, verdict=verdict, is_auto_submitted=True)
    tools = stand()
    told = (await tell(work(tools, of), tools)).work
    assert told.message.told == frozenset({1})
