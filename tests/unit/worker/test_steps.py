import dataclasses
import inspect
import time

import pytest

from config.errors import TryLater
from config.failpoints import Failpoints
from sending_events.records import EventRecord
from spool.content import ContentStore, ContentUnavailable
from spool.message_flow import MessageFlow
from spool.scripts import StoreUnavailable
from spool.states import IDENTITY, IN_DOUBT, IN_LANE, RecipientState
from spool.store import Spool
from tests.unit.worker.stand import (
    NOW_MS,
    AnsweringFunctions,
    AnsweringSes,
    Contents,
    RememberingFlow,
    RememberingSpool,
    attempt,
    in_trouble,
    message,
    stand,
    work,
)
from worker.functions.calling import Functions
from worker.relay.one_call import STOPPING
from worker.relay.outcomes import Accepted, Rejected, Throttled, Unavailable, Unknown, of_code
from worker.relay.relay import relay
from worker.relay.ses import SesClient
from worker.steps.finish import finish, give_back, hold_or_retry
from worker.steps.load import load
from worker.steps.tell import tell
from worker.work import Delay, LeaseLost, StepFailed, Stop, write

WAITING, SENDING, SENT = RecipientState.WAITING, RecipientState.SENDING, RecipientState.SENT
REJECTED, UNKNOWN, EXPIRED = RecipientState.REJECTED, RecipientState.UNKNOWN, RecipientState.EXPIRED


def test_the_fakes_have_the_signatures_of_what_they_stand_for():
    for fake, real, names in (
        (
            RememberingSpool,
            Spool,
            (
                "settle",
                "intend",
                "read_pauses",
                "feedback_seen_at_ms",
                "content_of",
                "forget_content",
                "update_content",
            ),
        ),
        (AnsweringFunctions, Functions, ("invoke",)),
        (RememberingFlow, MessageFlow, ("begin", "end")),
        (Contents, ContentStore, ("get",)),
        (AnsweringSes, SesClient, ("send",)),
    ):
        for name in names:
            fake_names = list(inspect.signature(getattr(fake, name)).parameters)
            assert fake_names == list(inspect.signature(getattr(real, name)).parameters), name


async def test_relay_records_the_attempt_before_the_call_and_the_outcome_with_the_next_write():
    ses = AnsweringSes(Accepted("ses-1"), Accepted("ses-2"))
    tools = stand(ses)
    verdict = await relay(work(tools, message(60)), tools)
    first, second = tools.spool.settlements
    assert [(one.number, one.outcome, len(one.recipients)) for one in first.attempts] == [(1, None, 50)]
    assert first.states == (SENDING,) * 50 + (WAITING,) * 10
    assert [(one.number, one.outcome) for one in second.attempts] == [(1, "accepted"), (2, None)]
    assert second.states == (SENT,) * 50 + (SENDING,) * 10
    assert [EventRecord.decode(one).kind for one in second.events] == ["send"]
    assert verdict.work.message.states == (SENT,) * 60
    assert [(one.number, one.outcome) for one in verdict.work.unwritten.attempts] == [(2, "accepted")]


async def test_relay_tags_each_batch_with_its_attempt():
    ses = AnsweringSes(Accepted("ses-1"))
    tools = stand(ses)
    await relay(work(tools), tools)
    assert ses.calls[0].tags == {"sluice-batch": f"{message().message_id}.1"}


def waiting_for_the_route(reason):
    return Delay("parked", reason, reason, longest_seconds=300.0)


@pytest.mark.parametrize(
    ("outcome", "delay"),
    [
        (Throttled("Throttling", "Maximum sending rate exceeded."), Delay("lane", IN_LANE, "throttled")),
        (Throttled("Throttling", "Daily …", is_daily=True), Delay("lane", IN_LANE, "daily quota")),
        (Unavailable("ClientConnectorError", "refused"), waiting_for_the_route("SES unavailable")),
        (of_code("AccessDenied", ""), waiting_for_the_route("SES account trouble: AccessDenied")),
        (of_code("ExpiredToken", ""), waiting_for_the_route("SES account trouble: ExpiredToken")),
        (of_code("MailFromDomainNotVerifiedException", ""), Delay("parked", IDENTITY, IDENTITY)),
        (Unknown("TimeoutError", "no answer"), Delay("parked", "no answer from SES", "no answer from SES")),
    ],
)
async def test_what_ses_did_not_take_stops_the_message_and_the_rest_waits(outcome, delay):
    ses = AnsweringSes(outcome)
    tools = stand(ses)
    verdict = await relay(work(tools, message(120)), tools)
    assert len(ses.calls) == 1
    assert verdict.work.delay == delay
    assert verdict.work.message.states == (WAITING,) * 120


async def test_an_answer_that_nobody_knows_makes_its_message_wait_and_names_itself():
    tools = stand(AnsweringSes(of_code("BrandNew", "Hm.")))
    verdict = await relay(work(tools), tools)
    assert verdict.work.delay.to == "parked"
    assert verdict.work.delay.reason.endswith(": BrandNew")


@pytest.mark.parametrize(
    ("outcome", "kind", "recipients"),
    [
        (Accepted("ses-1"), "ok", 0),
        (of_code("InvalidParameterValue", "Header section too long."), "ok", 3),
        (of_code("Throttling", "Maximum sending rate exceeded."), "throttled", 3),
        (of_code("Throttling", "Daily message quota exceeded."), "daily", 3),
        (of_code("AccountSendingPausedException", ""), "trouble", 3),
        (of_code("AccessDenied", ""), "denied", 3),
        (of_code("MailFromDomainNotVerifiedException", ""), "refused", 3),
        (of_code("BrandNew", ""), "refused", 3),
        (Unavailable("LeaseEnded", "", "message"), "refused", 3),
        (Unavailable("ClientConnectorError", "refused"), "unreachable", 3),
    ],
)
async def test_the_route_learns_what_a_call_told_with_the_next_write(outcome, kind, recipients):
    tools = stand(AnsweringSes(outcome))
    verdict = await relay(work(tools), tools)
    (fact,) = verdict.work.unwritten.facts
    assert (fact.kind, fact.route, fact.recipients) == (kind, "default", recipients)
    assert fact.lanes == (("express", "bulk") if recipients else ())
    await finish(verdict.work, tools)
    assert tools.spool.settlements[-1].facts == (fact,)


async def test_the_words_for_the_operator_go_with_a_trouble():
    tools = stand(AnsweringSes(of_code("AccountSendingPausedException", "")))
    verdict = await relay(work(tools), tools)
    (fact,) = verdict.work.unwritten.facts
    assert fact.code == "AccountSendingPausedException"
    assert "UpdateAccountSendingEnabled" in fact.words


async def test_a_refused_probe_of_a_paused_account_does_not_end_its_trouble():
    tools = stand(AnsweringSes(Rejected("MessageRejected", "bad")))
    in_trouble(tools)
    verdict = await relay(work(tools, message(1)), tools)
    (fact,) = verdict.work.unwritten.facts
    assert (fact.kind, fact.recipients) == ("refused", 1)


async def test_a_call_without_an_answer_counts_against_the_route_and_gives_nothing_back():
    tools = stand(AnsweringSes(Unknown("TimeoutError", "nothing within 20 seconds")))
    (fact,) = (await relay(work(tools), tools)).work.unwritten.facts
    assert (fact.kind, fact.route, fact.code, fact.recipients) == ("unreachable", "default", "TimeoutError", 0)
    assert "end without an answer" in fact.words
    assert "nothing within 20 seconds" in fact.words


async def test_a_refused_address_does_not_stop_the_others():
    ses = AnsweringSes(Rejected("MessageRejected", "bad"), Accepted("1"), Rejected("MessageRejected", "bad"))
    tools = stand(ses)
    of = message(2)
    verdict = await relay(work(tools, of), tools)
    assert verdict.work.message.states == (SENT, REJECTED)
    assert [call.recipients for call in ses.calls] == [list(of.recipients), [of.recipients[0]]]
    assert [one.outcome for one in verdict.work.message.attempts] == ["split", "accepted"]
    event = EventRecord.decode(verdict.work.unwritten.events[-1])
    assert (event.kind, event.recipients, event.attempt, event.reason) == ("reject", (1,), 1, "bad")
    assert verdict.work.unwritten.counts["rejected_recipients"] == 1


async def test_a_counted_header_is_rewritten_and_the_same_batch_goes_again():
    refused = of_code("InvalidParameterValue", "Recipient count exceeds 50.")
    ses = AnsweringSes(refused, Accepted("1"))
    tools = stand(ses)
    long = b"From: a@example.com\r\nTo: " + b", ".join(b"x%d@example.org" % n for n in range(60)) + b"\r\n\r\nbody"
    verdict = await relay(dataclasses.replace(work(tools), content=long), tools)
    assert verdict.work.message.states == (SENT,) * 3
    assert ses.calls[0].content == long
    assert b"x59@example.org" not in ses.calls[1].content


async def test_a_header_is_counted_once_even_when_mending_never_ends():
    refused = of_code("InvalidParameterValue", "Recipient count exceeds 50.")
    ses = AnsweringSes(*[refused] * 9)
    tools = stand(ses, relay={"from_aliases": {"a@x.org": "b@x.org", "b@x.org": "c@x.org"}})
    content = b"From: a@x.org\r\nTo: z@x.org\r\n\r\nbody"
    verdict = await relay(dataclasses.replace(work(tools, message(1)), content=content), tools)
    assert verdict.work.message.states == (REJECTED,)
    assert [one.outcome for one in verdict.work.message.attempts] == ["split", "rejected"]


async def test_with_policy_hold_a_call_without_an_answer_stays_in_doubt():
    tools = stand(AnsweringSes(Unknown("TimeoutError", "no answer")), relay={"unknown": "hold"})
    verdict = await relay(work(tools), tools)
    assert verdict.work.message.states == (UNKNOWN,) * 3
    stop = await finish(verdict.work, tools)
    assert stop == Stop("held")
    assert (tools.spool.settlements[-1].to, tools.spool.settlements[-1].reason) == ("held", IN_DOUBT)


async def test_recipients_older_than_the_maximum_expire_and_are_not_sent():
    ses = AnsweringSes()
    tools = stand(ses, relay={"max_age_seconds": 60})
    old = message(accepted_at_ms=NOW_MS - 61_000, states=(SENT, WAITING, WAITING))
    verdict = await load(work(tools, old), tools)
    assert verdict.work.message.states == (SENT, EXPIRED, EXPIRED)
    (event,) = map(EventRecord.decode, verdict.work.unwritten.events)
    assert (event.kind, event.recipients) == ("expired", (1, 2))


async def test_the_bounce_of_an_expired_message_carries_the_headers_of_the_original():
    spool = RememberingSpool(b"Subject: the original's\r\nFrom: app@example.com\r\n\r\nbody\r\n")
    tools = stand(spool=spool, relay={"max_age_seconds": 60})
    verdict = await load(work(tools, message(accepted_at_ms=NOW_MS - 61_000)), tools)
    await tell(verdict.work, tools)
    (bounce,) = spool.settlements[-1].spawned
    assert b"Subject: the original's" in bounce.content


class WithoutContent(RememberingSpool):
    asked = 0

    async def content_of(self, message):
        self.asked += 1
        raise ContentUnavailable("gone")


@pytest.mark.parametrize(("sender", "asked"), [("app@example.com", 1), ("", 0)])
async def test_an_expired_message_needs_no_content(sender, asked):
    spool = WithoutContent()
    tools = stand(spool=spool, relay={"max_age_seconds": 60})
    verdict = await load(work(tools, message(sender=sender, accepted_at_ms=NOW_MS - 61_000)), tools)
    assert verdict.work.message.states == (EXPIRED,) * 3
    assert spool.asked == asked


async def test_a_stopping_worker_begins_no_call_and_gives_the_message_back():
    ses = AnsweringSes()
    tools = stand(ses)
    tools.stopping.set()
    verdict = await relay(work(tools), tools)
    assert verdict.work.delay == STOPPING
    assert await finish(verdict.work, tools) == Stop("due")
    assert tools.spool.settlements[-1].to == "due"
    assert ses.calls == []


async def test_an_intent_that_is_refused_prevents_the_call():
    ses = AnsweringSes(Accepted("ses-1"))
    tools = stand(ses)
    tools.spool.has_lease = False
    with pytest.raises(LeaseLost):
        await relay(work(tools), tools)
    assert ses.calls == []


async def test_load_turns_an_attempt_without_outcome_into_a_lost_call():
    tools = stand()
    found = message(states=(SENDING, SENDING, SENT), attempts=(attempt(1, (0, 1)),))
    verdict = await load(work(tools, found), tools)
    assert verdict.work.message.states == (WAITING, WAITING, SENT)
    (settlement,) = tools.spool.settlements
    assert [(one.number, one.outcome, one.code) for one in settlement.attempts] == [(1, "unknown", "NotRecorded")]
    assert settlement.counts == {"unknown_recipients": 2}


async def test_load_keeps_a_lost_call_in_doubt_with_policy_hold():
    tools = stand(relay={"unknown": "hold"})
    found = message(states=(SENDING, SENDING, SENT), attempts=(attempt(1, (0, 1)),))
    verdict = await load(work(tools, found), tools)
    assert verdict.work.message.states == (UNKNOWN, UNKNOWN, SENT)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        ("accepted", SENT),
        ("rejected", REJECTED),
        ("split", WAITING),
        ("throttled", WAITING),
        ("unavailable", WAITING),
        ("unknown", WAITING),
    ],
)
async def test_load_believes_an_answer_that_came_after_the_lease_had_gone(outcome, state):
    tools = stand()
    answered = attempt(1, (0, 1), outcome=outcome, ended_at_ms=NOW_MS - 100, ses_message_id="ses-1")
    found = message(states=(SENDING, SENDING, SENT), attempts=(answered,))
    verdict = await load(work(tools, found), tools)
    assert verdict.work.message.states == (state, state, SENT)
    assert verdict.work.delay is None
    kinds = [EventRecord.decode(one).kind for one in tools.spool.settlements[0].events]
    assert kinds == {"accepted": ["send"], "rejected": ["reject"]}.get(outcome, [])


async def test_load_does_not_send_again_what_turned_out_to_be_accepted():
    tools = stand()
    late = attempt(1, (0, 1), outcome="accepted", ses_message_id="ses-1")
    found = message(states=(WAITING, WAITING, WAITING), attempts=(late, attempt(2, (0, 1, 2), outcome="throttled")))
    verdict = await load(work(tools, found), tools)
    assert verdict.work.message.states == (SENT, SENT, WAITING)


async def test_a_message_without_waiting_recipients_needs_no_content():
    tools = stand()
    tools.spool.content_of = None
    verdict = await load(work(tools, message(states=(SENT, REJECTED, UNKNOWN), told=frozenset({1}))), tools)
    assert verdict.work.message.states == (SENT, REJECTED, UNKNOWN)


async def test_tell_makes_one_bounce_and_marks_its_recipients():
    tools = stand()
    refused = attempt(1, (1,), outcome="rejected", code="MessageRejected", reason="no such user")
    failed = message(states=(SENT, REJECTED, EXPIRED), attempts=(refused,))
    verdict = await tell(work(tools, failed), tools)
    (settlement,) = tools.spool.settlements
    assert settlement.told == frozenset({1, 2})
    (bounce,) = settlement.spawned
    assert (bounce.sender, bounce.recipients, bounce.door) == ("", ("app@example.com",), "bounce")
    assert b"no such user" in bounce.content
    assert await tell(verdict.work, tools) == verdict
    assert len(tools.spool.settlements) == 1


async def test_the_null_sender_is_told_nothing():
    tools = stand()
    await tell(work(tools, message(1, sender="", states=(REJECTED,))), tools)
    assert tools.spool.settlements == []


async def test_finish_parks_what_waits_with_growing_distance_and_never_past_the_end_of_life():
    tools = stand(relay={"retry_first_seconds": 2, "retry_max_seconds": 100, "max_age_seconds": 50})
    delays = []
    for rounds in range(8):
        waiting = work(tools, message(rounds=rounds)).delayed(Delay("parked", IDENTITY))
        assert await finish(waiting, tools) == Stop("parked")
        delays.append(tools.spool.settlements[-1].after_seconds)
        assert tools.spool.settlements[-1].rounds == rounds + 1
    assert delays[:4] == [1.5, 3.0, 6.0, 12.0]
    assert max(delays) <= 50


async def test_finish_ends_a_message_whose_recipients_are_all_final():
    tools = stand()
    assert await finish(work(tools, message(states=(SENT, REJECTED, EXPIRED))), tools) == Stop("done")
    assert tools.spool.settlements[-1].to == "done"
    assert tools.spool.forgotten == [message().message_id]


async def test_a_failing_step_is_retried_and_then_held():
    tools = stand(worker={"max_failures": 3})
    assert await hold_or_retry(work(tools, message(failures=1)), tools, "relay", ValueError("bug")) == "parked"
    assert await hold_or_retry(work(tools, message(failures=2)), tools, "relay", ValueError("bug")) == "held"
    parked, held = tools.spool.settlements
    assert (parked.failures, held.failures, held.reason) == (2, 3, "step relay failed: ValueError")


async def test_a_store_or_content_that_is_away_blames_nobody():
    tools = stand()
    assert await give_back(work(tools), tools, "load", TryLater("the content cannot be read")) == "parked"
    assert (tools.spool.settlements[-1].failures, tools.spool.settlements[-1].rounds) == (None, 1)


async def test_a_write_waits_for_a_store_that_is_away_and_keeps_its_number():
    tools = stand()
    tools.spool.errors = [StoreUnavailable("away"), StoreUnavailable("away")]
    begun = work(tools)
    await write(begun, tools, to="done")
    await write(work(tools), tools)
    assert [one.number for one in tools.spool.settlements] == [1, 1]


async def test_an_intent_is_given_up_when_the_lease_ended_while_the_store_was_away():
    tools = stand(AnsweringSes(Accepted("ses-1")))
    tools.spool.errors = [StoreUnavailable("away")] * 3
    begun = work(tools)
    tools.leases.drop(begun.lease)
    with pytest.raises(StepFailed) as failed:
        await relay(begun, tools)
    assert isinstance(failed.value.__cause__, StoreUnavailable)
    assert tools.routes.ses("default").calls == []


async def test_a_step_that_fails_after_the_call_does_not_forget_the_answer():
    ses = AnsweringSes(Accepted("ses-1"))
    tools = stand(ses, worker={"max_failures": 3})
    tools = dataclasses.replace(tools, failpoints=Failpoints("relay.after_call=raise"))
    claimed = work(tools)
    with pytest.raises(StepFailed) as failed:
        await relay(claimed, tools)
    assert await hold_or_retry(failed.value.work, tools, "relay", failed.value.__cause__) == "parked"
    settled = tools.spool.settlements[-1]
    assert settled.states == (SENT,) * 3
    assert [(one.number, one.outcome) for one in settled.attempts] == [(1, "accepted")]
    assert [EventRecord.decode(one).kind for one in settled.events] == ["send"]


async def test_no_batch_is_begun_after_the_deadline_of_the_task():
    ses = AnsweringSes()
    tools = stand(ses)
    late = dataclasses.replace(work(tools), deadline=time.monotonic() - 1)
    verdict = await relay(late, tools)
    assert await finish(verdict.work, tools) == Stop("due")
    assert ses.calls == []


async def test_the_sender_is_told_what_ses_said_about_a_recipient_that_was_refused_by_deduction():
    tools = stand()
    split = attempt(1, (0, 1, 2), outcome="split", code="InvalidParameterValue", reason="Missing final '@domain'")
    sent = attempt(2, (0, 2), outcome="accepted", ses_message_id="ses-1")
    await tell(work(tools, message(states=(SENT, REJECTED, SENT), attempts=(split, sent))), tools)
    (bounce,) = tools.spool.settlements[-1].spawned
    assert b"Missing final '@domain'" in bounce.content
