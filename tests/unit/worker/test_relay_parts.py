"""The relay step with several parts: what stops one of them, and what it says about the others."""

import dataclasses

import pytest
from structlog.testing import capture_logs

from spool.content import ContentUnavailable
from spool.scripts import StoreUnavailable
from spool.sending_quota import Denied, Gate, Pause, RouteView
from spool.states import (
    IDENTITY,
    IN_LANE,
    MAPPED_SET,
    NO_ROUTE,
    PAUSED_DOMAIN,
    UNKNOWN_ANSWER,
    UNREADABLE_VERDICT,
    RecipientState,
)
from spool.verdicts import Decision, Part, Verdict
from tests.unit.worker.stand import NOW_MS, AnsweringSes, attempt, message, stand, work
from worker.relay.outcomes import Accepted, Unavailable, Unknown, of_code
from worker.relay.passage import passage_of
from worker.relay.relay import relay
from worker.steps.finish import finish
from worker.steps.load import load
from worker.work import StepFailed, Stop

WAITING, SENT, SENDING = RecipientState.WAITING, RecipientState.SENT, RecipientState.SENDING
NO_SET = of_code("ConfigurationSetDoesNotExist", "Configuration set <wrong> does not exist.")
FOREIGN = b"From: a@elsewhere.example\r\n\r\nbody\r\n"


def of_parts(*parts, **fields):
    """A message with these parts, one recipient each unless they say it."""
    parts = [part if part.recipients else dataclasses.replace(part, recipients=(n,)) for n, part in enumerate(parts)]
    everybody = tuple(index for part in parts for index in part.recipients)
    verdict = Verdict("v", decisions=(Decision("DEFAULT", everybody, "r"),), parts=tuple(parts))
    return message(len(everybody), verdict=verdict, **fields)


def own(value):
    return Part((), headers=(("X-Part", value),))


def sent(ses):
    return [call.recipients[0].partition("@")[0] for call in ses.calls]


class Away:
    """A content store that fails."""

    def __init__(self, error):
        self.error = error

    async def get(self, reference):
        raise self.error


# -- whose matter it is


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Unavailable("WeirdCode", "?", "message"), f"{UNKNOWN_ANSWER}: WeirdCode"),
        (of_code("MailFromDomainNotVerified", ""), IDENTITY),
    ],
)
async def test_what_ses_says_about_the_bytes_of_a_part_does_not_keep_the_others(outcome, reason):
    ses = AnsweringSes(outcome, Accepted("1"), Accepted("2"))
    tools = stand(ses)
    ended = (await relay(work(tools, of_parts(own("a"), own("b"), own("c"))), tools)).work
    assert sent(ses) == ["r0", "r1", "r2"]
    assert ended.message.states == (WAITING, SENT, SENT)
    assert (ended.delay.to, ended.delay.reason) == ("parked", reason)


@pytest.mark.parametrize(
    "outcome",
    [
        of_code("Throttling", "Maximum sending rate exceeded."),
        of_code("AccessDenied", "x"),
        of_code("AccountSendingPausedException", "x"),
        Unavailable("HTTP503", "x"),
        Unknown("ServerDisconnectedError", "x"),
    ],
)
async def test_what_ses_says_about_the_account_keeps_all_parts_of_the_route(outcome):
    ses = AnsweringSes(outcome)
    tools = stand(ses, relay={"unknown": "resend"})
    ended = (await relay(work(tools, of_parts(own("a"), own("b"))), tools)).work
    assert sent(ses) == ["r0"]
    assert ended.message.states == (WAITING, WAITING)


async def test_a_mapped_configuration_set_that_ses_does_not_take_is_no_trouble_of_the_account():
    ses = AnsweringSes(NO_SET, Accepted("1"))
    tools = stand(ses, relay={"configuration_sets": {"ours": "wrong"}})
    of = of_parts(Part((), configuration_set="ours"), own("b"))
    ended = (await relay(work(tools, of), tools)).work
    assert [call.configuration_set for call in ses.calls] == ["wrong", ""]
    assert ended.message.states == (WAITING, SENT)
    assert (ended.delay.to, ended.delay.reason) == ("parked", MAPPED_SET)
    facts = [fact for one in tools.spool.settlements for fact in one.facts] + list(ended.unwritten.facts)
    assert [fact.kind for fact in facts] == ["refused", "ok"]
    assert ended.message.attempts[0].reason == f"{NO_SET.code}: {NO_SET.reason}"


async def test_who_waits_for_a_mapped_configuration_set_expires():
    of = of_parts(Part((), configuration_set="ours"), accepted_at_ms=0)
    tools = stand(AnsweringSes(NO_SET), relay={"configuration_sets": {"ours": "wrong"}})
    first = (await relay(work(tools, of), tools)).work
    ended = (await load(work(tools, first.message), tools)).work
    assert ended.message.states == (RecipientState.EXPIRED,)


async def test_the_configuration_set_of_the_route_is_the_accounts_matter():
    tools = stand(AnsweringSes(NO_SET), relay={"ses_configuration_set": "wrong"})
    ended = (await relay(work(tools, of_parts(own("a"))), tools)).work
    assert [fact.kind for fact in ended.unwritten.facts] == ["trouble"]


# -- a pause of a domain that changes while other parts are sent


class Resuming(AnsweringSes):
    """Accepts everything; with a recipient's call the pauses become others."""

    def __init__(self, **pauses):
        super().__init__()
        self.pauses = pauses
        self.spool = None

    async def send(self, call, may_send):
        self.calls.append(call)
        name = call.recipients[0].partition("@")[0]
        self.spool.pauses = self.pauses.get(name, self.spool.pauses)
        return Accepted(name)


async def relayed_while_pauses_change(ses, *domains, **begin):
    """A part for each domain, in this order, relayed when those of `begin` are paused."""
    tools = stand(ses)
    ses.spool = tools.spool
    tools.spool.pauses = tuple(Pause(f"domain:{name}.example", until_ms) for name, until_ms in begin.items())
    tools.routes.saw(Gate((), 1000, {}, tools.spool.pauses))
    of = of_parts(*(own(name) for name in domains))
    of = dataclasses.replace(of, recipients=tuple(f"{name}@{name}.example" for name in domains))
    return (await relay(work(tools, of), tools)).work


async def test_a_pause_that_ends_while_another_part_is_sent_keeps_nobody():
    ses = Resuming(other=())  # the walk of that resume finds the message leased
    ended = await relayed_while_pauses_change(ses, "paused", "other", paused=0)
    assert sent(ses) == ["other", "paused"]
    assert (ended.message.states, ended.delay) == ((SENT, SENT), None)


async def test_who_stays_paused_waits_until_the_end_that_was_told_last():
    ses = Resuming(
        other=(Pause("domain:b.example"),),
        a=(Pause("domain:b.example", NOW_MS + 5000),),  # after those who were resumed had their mail
    )
    ended = await relayed_while_pauses_change(ses, "a", "b", "other", a=0, b=0)
    assert sent(ses) == ["other", "a"]
    assert ended.message.states == (SENT, WAITING, SENT)
    assert (ended.delay.reason, ended.delay.after_seconds) == (PAUSED_DOMAIN, 6.5)


async def test_whose_pause_ends_while_the_route_fails_waits_with_the_others():
    ses = AnsweringSes(of_code("Throttling", "Maximum sending rate exceeded."))
    tools = stand(ses)
    tools.routes.saw(Gate((), 1000, {}, (Pause("domain:paused.example"),)))  # the spool has none any more
    of = dataclasses.replace(of_parts(own("a"), own("b")), recipients=("r0@paused.example", "r1@example.net"))
    ended = (await relay(work(tools, of), tools)).work
    assert sent(ses) == ["r1"]
    assert ended.delay.to == "lane"


# -- who is refused


async def test_a_batch_that_was_refused_before_there_were_parts_condemns_nobody():
    split = attempt(1, tuple(range(8)), outcome="split", code="MessageRejected", reason="Address blacklisted.")
    of = of_parts(Part((0, 1, 2, 3)), Part((4, 5, 6, 7), headers=(("X-A", "1"),)), attempts=(split,))
    tools = stand(AnsweringSes(*(Accepted(str(n)) for n in range(8))))
    ended = (await relay(work(tools, of), tools)).work
    assert set(ended.message.states) == {SENT}


# -- where it waits


async def test_a_paused_lane_keeps_no_part_of_another_lane():
    tools = stand(AnsweringSes())
    tools.spool.denials = [Denied("paused", 10), Denied("queue", 10)]
    tools.routes.saw(Gate((), 1000, {"default": RouteView("default")}, (Pause("lane:express"),)))
    of = of_parts(Part(()), Part((), lane="bulk"))
    ended = (await relay(work(tools, of), tools)).work
    assert (ended.delay.reason, ended.seat.lane, ended.queued) == (IN_LANE, "bulk", 1)
    assert ended.delay.after_seconds == 600


async def test_a_part_that_no_route_allows_holds_no_other_part():
    ses = AnsweringSes(Accepted("1"), Accepted("2"))
    tools = stand(ses, routes={"one": {"from_domains": ["example.com"]}})
    tools.spool.contents.kept["file:u"] = FOREIGN
    of = of_parts(own("a"), Part((), content_ref="file:u"), own("b"))
    ended = (await relay(work(tools, of), tools)).work
    assert sent(ses) == ["r0", "r2"]
    assert (ended.delay.to, ended.delay.reason) == ("held", NO_ROUTE)


# -- what fails here


async def test_a_content_that_cannot_be_had_keeps_its_part_only():
    ses = AnsweringSes(Accepted("1"))
    tools = stand(ses)
    tools.spool.contents = Away(ContentUnavailable("the content is lost", detail="file:u"))
    of = of_parts(Part((), content_ref="file:u"), own("b"))
    with capture_logs() as logs:
        ended = (await relay(work(tools, of), tools)).work
    assert sent(ses) == ["r1"]
    assert [(line["event"], line["step"]) for line in logs if line["event"] == "message.failed"] == [
        ("message.failed", "relay")
    ]
    assert await finish(ended, tools) == Stop("parked")
    end = tools.spool.settlements[-1]
    assert (end.to, end.reason, end.rounds) == ("parked", "the content is lost", 1)
    assert end.states == (WAITING, SENT)


async def test_a_bug_in_one_part_stops_the_message_after_the_others_were_sent():
    ses = AnsweringSes(Accepted("1"))
    tools = stand(ses)
    tools.spool.contents = Away(ZeroDivisionError())
    with pytest.raises(StepFailed) as failed:
        await relay(work(tools, of_parts(Part((), content_ref="file:u"), own("b"))), tools)
    assert isinstance(failed.value.__cause__, ZeroDivisionError)
    assert failed.value.work.message.states == (WAITING, SENT)


async def test_a_call_that_ended_in_a_bug_stays_open_while_the_others_are_sent():
    class Broken(AnsweringSes):
        async def send(self, call, may_send):
            if not self.calls:
                self.calls.append(call)
                raise ZeroDivisionError
            return await super().send(call, may_send)

    tools = stand(Broken(Accepted("1")))
    with pytest.raises(StepFailed) as failed:
        await relay(work(tools, of_parts(own("a"), own("b"))), tools)
    assert failed.value.work.message.states == (SENDING, SENT)
    assert [one.outcome for one in failed.value.work.message.attempts] == [None, "accepted"]


async def test_a_store_that_is_away_stops_all_parts():
    ses = AnsweringSes()
    tools = stand(ses)
    tools.spool.contents = Away(StoreUnavailable("gone"))
    with pytest.raises(StepFailed):
        await relay(work(tools, of_parts(Part((), content_ref="file:u"), own("b"))), tools)
    assert ses.calls == []


# -- what was decided


async def test_a_message_whose_verdict_cannot_be_read_is_held_and_nothing_is_sent():
    tools = stand(AnsweringSes())
    of = message(2, is_verdict_unreadable=True, attempts=(attempt(1, (0,)),), states=(SENDING, WAITING))
    assert await load(work(tools, of), tools) == Stop("held")
    (end,) = tools.spool.settlements
    assert (end.to, end.reason, end.states, end.verdict) == ("held", UNREADABLE_VERDICT, of.states, None)
    assert end.counts == {"held_messages": 1}


def test_the_places_of_a_part_are_found_once_for_all_its_batches():
    tools = stand()
    of = of_parts(Part((0, 2), lane="bulk"), Part((1, 3)))
    passage = passage_of(of, b"", tools.settings, tools.routes, of.verdict.parts[0])
    assert passage.places == {0: 0, 2: 1}
