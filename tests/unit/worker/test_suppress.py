"""Recipients on the suppression list before a message is relayed, and what its sender is told of them."""

import dataclasses
import inspect

import pytest

from sending_events.records import EventRecord
from spool.scripts import StoreUnavailable
from spool.sending_quota import Denied, Pause
from spool.states import RecipientState
from spool.suppression import Entry, Suppression
from spool.verdicts import Decision, Part, Verdict
from tests.unit.worker.stand import NOW_MS, SEAT, AnsweringSes, RememberingSpool, message, stand, work
from worker.relay.outcomes import Accepted
from worker.relay.relay import relay
from worker.steps.tell import tell
from worker.work import Continue, StepFailed

SENT, REJECTED = RecipientState.SENT, RecipientState.REJECTED


class List:
    """A suppression list in memory; counts who asks."""

    def __init__(self, *addresses: str, is_known_empty: bool = False, error: Exception | None = None) -> None:
        self.addresses = addresses
        self.is_known_empty = is_known_empty
        self.error = error
        self.asked: list[tuple[str, ...]] = []

    async def is_empty(self) -> bool:
        if self.error:
            raise self.error
        self.asked.append(())
        self.is_known_empty = not self.addresses
        return self.is_known_empty

    async def among(self, addresses) -> dict[str, Entry]:
        self.asked.append(tuple(addresses))
        return {one: Entry(one, "BOUNCE", "feedback", 1) for one in addresses if one in self.addresses}


def tools_with(suppression: List | None, *outcomes, **settings):
    tools = stand(AnsweringSes(*outcomes), RememberingSpool(), **settings)
    return dataclasses.replace(tools, suppression=suppression)


async def relayed(tools, of=None):
    step = await relay(work(tools, of), tools)
    assert isinstance(step, Continue)
    return step.work


def test_the_fake_has_the_signatures_of_what_it_stands_for():
    for name in ("is_empty", "among"):
        assert [*inspect.signature(getattr(List, name)).parameters] == [
            *inspect.signature(getattr(Suppression, name)).parameters
        ]


async def test_a_suppressed_recipient_gets_no_mail_and_the_others_do():
    tools = tools_with(List("r1@example.net"), Accepted("ses-1"))
    done = await relayed(tools)
    assert done.message.states == (SENT, REJECTED, SENT)
    assert done.message.suppressed == {1}
    [call] = tools.routes.ses("default").calls
    assert list(call.recipients) == ["r0@example.net", "r2@example.net"]


async def test_that_is_written_with_the_intent_of_the_call():
    tools = tools_with(List("r1@example.net"), Accepted("ses-1"))
    await relayed(tools)
    first = tools.spool.settlements[0]
    assert first.suppressed == {1}
    assert first.counts == {"rejected_recipients": 1, "suppressed_recipients": 1}
    [event] = [EventRecord.decode(one) for one in first.events]
    assert (event.kind, event.recipients) == ("suppressed", (1,))


async def test_a_message_whose_every_recipient_is_suppressed_makes_no_call():
    tools = tools_with(List("r0@example.net"))
    done = await relayed(tools, message(recipients=1))
    assert done.message.states == (REJECTED,)
    assert tools.routes.ses("default").calls == []
    assert done.delay is None


@pytest.mark.parametrize("suppression", [None, List("r0@example.net", is_known_empty=True)])
async def test_nothing_is_asked_while_the_list_is_empty_or_not_used(suppression):
    tools = tools_with(suppression, Accepted("ses-1"))
    assert (await relayed(tools)).message.states == (SENT, SENT, SENT)
    assert suppression is None or suppression.asked == []


async def test_an_empty_list_is_not_asked_about_recipients():
    suppression = List()
    await relayed(tools_with(suppression, Accepted("ses-1")))
    assert suppression.asked == [()]


# -- within a round, which may take minutes


class Meanwhile(AnsweringSes):
    """SES takes a while for the first call, and `happening` is what happens then."""

    def __init__(self, happening) -> None:
        super().__init__()
        self.happening = happening

    async def send(self, call, may_send):
        if not self.calls:
            self.happening()
        self.calls.append(call)
        return Accepted(f"ses-{len(self.calls)}")

    @property
    def mailed(self) -> set[str]:
        return {one for call in self.calls for one in call.recipients}


class Entering:
    """A list, and a clock beside it; an address enters and `ms` pass."""

    def __init__(self, suppression: List, *addresses: str, ms: int = 1000, error: Exception | None = None) -> None:
        self.suppression, self.addresses, self.ms, self.error = suppression, addresses, ms, error
        self.now_ms = NOW_MS

    def __call__(self) -> None:
        self.now_ms += self.ms
        self.suppression.addresses += self.addresses
        self.suppression.error = self.error
        if self.ms >= 1000:
            self.suppression.is_known_empty = False

    async def relayed(self, of, spool=None):
        """What becomes of the message, and SES."""
        ses = Meanwhile(self)
        tools = stand(ses, spool or RememberingSpool())
        tools = dataclasses.replace(tools, suppression=self.suppression, now_ms=lambda: self.now_ms)
        tools.routes.saw_pauses(tools.spool.pauses)
        return await relayed(tools, of), ses


@pytest.mark.parametrize("others", [(), ("other@example.net",)])
async def test_who_enters_the_list_gets_no_later_batch_of_the_round(others):
    entering = Entering(List(*others), "r110@example.net", "r119@example.net")
    done, ses = await entering.relayed(message(120))
    assert [len(call.recipients) for call in ses.calls] == [50, 50, 18]
    assert ses.mailed.isdisjoint(entering.addresses)
    assert done.message.suppressed == {110, 119}
    assert done.message.states.count(SENT) == 118


async def test_a_batch_that_is_gone_altogether_makes_no_call():
    everybody = [f"r{number}@example.net" for number in range(50, 60)]
    done, ses = await Entering(List(), *everybody).relayed(message(60))
    assert len(ses.calls) == 1
    assert done.message.states == (SENT,) * 50 + (REJECTED,) * 10


async def test_who_enters_while_another_part_is_sent_gets_no_mail():
    untouched, tagged = Part((0,)), Part((1,), headers=(("X-Part", "b"),))
    changed = Part((2,), content_ref="file:gone")  # a part without anybody left is not looked at at all
    decisions = (Decision("DEFAULT", (0, 1, 2), "r"),)
    of = message(3, verdict=Verdict("v", decisions=decisions, parts=(untouched, tagged, changed)))
    done, ses = await Entering(List(), "r1@example.net", "r2@example.net").relayed(of)
    assert ses.mailed == {"r0@example.net"}
    assert (done.message.states, done.delay) == ((SENT, REJECTED, REJECTED), None)


async def test_who_enters_while_the_domain_is_paused_keeps_the_message_no_longer():
    parts = tuple(Part((n,), headers=(("X-Part", str(n)),)) for n in range(3))
    of = message(3, verdict=Verdict("v", decisions=(Decision("DEFAULT", (0, 1, 2), "r"),), parts=parts))
    of = dataclasses.replace(of, recipients=("r0@paused.example", *of.recipients[1:]))
    spool = RememberingSpool()
    spool.pauses = (Pause("domain:paused.example"),)
    done, ses = await Entering(List(), "r0@paused.example").relayed(of, spool)
    assert ses.mailed == {"r1@example.net", "r2@example.net"}
    assert (done.message.states, done.delay) == ((REJECTED, SENT, SENT), None)


async def test_who_enters_while_tokens_are_waited_for_gets_no_mail():
    entering = Entering(List("other@example.net"), "r1@example.net")

    class SlowTokens(RememberingSpool):
        async def intend(self, settlement, take):
            if entering.now_ms == NOW_MS:
                entering()
                return Denied("rate", 1)
            return await super().intend(settlement, take)

    done, ses = await entering.relayed(message(2, turn=2, seat=SEAT), SlowTokens())
    assert ses.mailed == {"r0@example.net"}
    assert done.message.states == (SENT, REJECTED)


async def test_an_answer_is_good_for_a_second():
    entering = Entering(List("other@example.net"), "r110@example.net", ms=999)
    _, ses = await entering.relayed(message(120))
    assert len(entering.suppression.asked) == 2  # whether it is empty, and who is on it, once each
    assert [len(call.recipients) for call in ses.calls] == [50, 50, 20]


async def test_a_clock_that_is_set_back_makes_no_answer_young():
    entering = Entering(List("other@example.net"), "r110@example.net", ms=-60_000)
    _, ses = await entering.relayed(message(120))
    assert "r110@example.net" not in ses.mailed


async def test_no_batch_of_a_round_asks_while_the_list_is_known_to_be_empty():
    suppression = List(is_known_empty=True)
    done, _ = await Entering(suppression, ms=500).relayed(message(120))
    assert done.message.states == (SENT,) * 120
    assert suppression.asked == []


async def test_a_list_that_cannot_be_asked_again_lets_no_batch_go_and_forgets_none():
    entering = Entering(List("other@example.net"), error=StoreUnavailable("away"))
    with pytest.raises(StepFailed) as failed:
        await entering.relayed(message(60))
    assert isinstance(failed.value.__cause__, StoreUnavailable)
    assert failed.value.work.message.states == (SENT,) * 50 + (RecipientState.WAITING,) * 10


async def test_a_bounce_goes_to_a_suppressed_address():
    tools = tools_with(List("r0@example.net"), Accepted("ses-1"))
    assert (await relayed(tools, message(recipients=1, door="bounce", sender=""))).message.states == (SENT,)


async def test_a_store_that_is_away_sends_nobody_anything():
    tools = tools_with(List("r0@example.net", error=StoreUnavailable("away")))
    with pytest.raises(StoreUnavailable):
        await relayed(tools)
    assert tools.routes.ses("default").calls == []


async def test_the_sender_is_told_with_status_5_1_1():
    tools = tools_with(List("r1@example.net"), Accepted("ses-1"))
    told = await tell(await relayed(tools), tools)
    assert isinstance(told, Continue)
    [bounce] = tools.spool.settlements[-1].spawned
    assert b"Final-Recipient: rfc822; r1@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n" in bounce.content
    assert b"suppression list" in bounce.content
    assert b"r0@example.net" not in bounce.content


@pytest.mark.parametrize(("bounce_mail", "bounces"), [(False, 0), (True, 1)])
async def test_the_sender_of_api_mail_gets_the_event_alone_unless_bounce_mail_is_on(bounce_mail, bounces):
    tools = tools_with(List("r1@example.net"), Accepted("ses-1"), feedback={"bounce_mail": bounce_mail})
    done = await relayed(tools, message(door="api"))
    told = await tell(done, tools)
    assert isinstance(told, Continue)
    assert sum(len(one.spawned) for one in tools.spool.settlements) == bounces
    assert [EventRecord.decode(one).kind for one in tools.spool.settlements[0].events] == ["suppressed"]


async def test_other_failures_of_api_mail_are_told_without_the_suppressed():
    tools = tools_with(List())
    of = message(door="api", recipients=3, states=(REJECTED, REJECTED, SENT), suppressed=frozenset({0}))
    await tell(work(tools, of), tools)
    [bounce] = tools.spool.settlements[-1].spawned
    assert b"r1@example.net" in bounce.content
    assert b"r0@example.net" not in bounce.content


async def test_whoever_holds_the_message_next_knows_why_it_was_refused():
    tools = tools_with(List())
    of = message(recipients=2, states=(REJECTED, SENT), suppressed=frozenset({0}))
    await tell(work(tools, of), tools)
    [bounce] = tools.spool.settlements[-1].spawned
    assert b"Status: 5.1.1\r\n" in bounce.content
