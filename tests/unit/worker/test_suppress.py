"""Recipients on the suppression list before a message is relayed, and what its sender is told of them."""

import dataclasses
import inspect

import pytest

from sending_events.records import EventRecord
from spool.scripts import StoreUnavailable
from spool.states import RecipientState
from spool.suppression import Entry, Suppression
from tests.unit.worker.stand import AnsweringSes, RememberingSpool, message, stand, work
from worker.relay.outcomes import Accepted
from worker.relay.relay import relay
from worker.steps.tell import tell
from worker.work import Continue

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
        return not self.addresses

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
