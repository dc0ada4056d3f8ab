"""The tell step: whose failures the sender hears of, and in what words."""

import dataclasses

import pytest

from config.settings import Settings
from spool.states import RecipientState
from spool.verdicts import Decision, Verdict
from tests.unit.worker.stand import AnsweringSes, Rules, attempt, message, rule, stand, work
from worker.bounces import without_addresses
from worker.relay.outcomes import Rejected
from worker.relay.relay import relay
from worker.rules.choice import TWICE
from worker.rules.records import ReplaceRecipient
from worker.steps.judge import judge
from worker.steps.tell import tell, untold_failures

REJECTED, DROPPED, SENT = RecipientState.REJECTED, RecipientState.DROPPED, RecipientState.SENT
EXPIRED, WAITING = RecipientState.EXPIRED, RecipientState.WAITING
SECRET = "secret@hidden.example"


def sharing(*states, added=(), replaced=(0, 1), because=TWICE, text="", **fields):
    """Two recipients whose mail goes to the same address, so the second was dropped."""
    first = Decision("BOUNCE", (0,), "r", "x", text) if text else Decision("DEFAULT", (0,), "r")
    decisions = (first, Decision("DROP", (1,), "r", because))
    verdict = Verdict("v", decisions=decisions, added=added, replaced=dict.fromkeys(replaced, SECRET))
    return dataclasses.replace(message(2, **fields).judged(verdict), states=states)


def fields_of(tools, name):
    (bounce,) = tools.spool.settlements[-1].spawned
    lines = bounce.content.decode().split("\r\n")
    return [line.partition("; ")[2] for line in lines if line.startswith(f"{name}:")]


async def test_who_shares_an_address_shares_its_failure_and_nobody_learns_the_address():
    ses = AnsweringSes(Rejected("MessageRejected", f"Address blacklisted {SECRET}.", "address"))
    tools = dataclasses.replace(stand(ses), rules=Rules(rule("rep", None, ReplaceRecipient((SECRET,)))))
    of = work(tools, message(2))
    for step in (judge, relay, tell):
        of = (await step(of, tools)).work
    assert fields_of(tools, "Final-Recipient") == ["r0@example.net", "r1@example.net"]
    said = "Amazon SES refused it: MessageRejected Address blacklisted (hidden)."
    assert fields_of(tools, "Diagnostic-Code") == [said, said]
    assert b"hidden.example" not in tools.spool.settlements[-1].spawned[0].content
    assert of.message.told == {0, 1}
    assert untold_failures(of.message, Settings()) == []


async def test_it_is_told_for_an_added_address_and_with_the_words_of_a_rule():
    of = sharing(SENT, DROPPED, EXPIRED, added=(SECRET,), replaced=(1,))
    tools = stand()
    await tell(work(tools, of), tools)
    assert fields_of(tools, "Final-Recipient") == ["r1@example.net"]
    assert fields_of(tools, "Diagnostic-Code") == ["it could not be sent in time"]
    await tell(work(tools, sharing(REJECTED, DROPPED, text="not here")), tools)
    assert fields_of(tools, "Diagnostic-Code") == ["not here", "not here"]


@pytest.mark.parametrize(
    "of",
    [
        sharing(SENT, DROPPED),
        sharing(WAITING, DROPPED),
        sharing(DROPPED, DROPPED),
        sharing(SENT, DROPPED, REJECTED, added=(SECRET,)),  # in another part of the message it was taken
        sharing(SENT, DROPPED, REJECTED, added=("other@hidden.example",)),
    ],
)
def test_who_shares_an_address_that_has_not_failed_is_told_nothing(of):
    assert untold_failures(of, Settings()) == []


def test_who_was_dropped_for_another_reason_is_told_nothing():
    assert untold_failures(sharing(REJECTED, DROPPED, because="a function said so"), Settings()) == [0]


def test_a_rules_bounce_is_no_answer_to_a_machine_for_those_who_share_it_either():
    assert untold_failures(sharing(REJECTED, DROPPED, text="no", is_auto_submitted=True), Settings()) == []
    assert untold_failures(sharing(REJECTED, DROPPED, is_auto_submitted=True), Settings()) == [0, 1]


async def test_without_rules_ses_says_what_it_says():
    refused = attempt(1, (0,), outcome="rejected", code="MessageRejected", reason="Illegal address r0@example.net")
    tools = stand()
    await tell(work(tools, message(1, states=(REJECTED,), attempts=(refused,))), tools)
    assert fields_of(tools, "Diagnostic-Code") == [
        "Amazon SES refused it: MessageRejected Illegal address r0@example.net"
    ]


@pytest.mark.parametrize(
    ("text", "is_cut", "left"),
    [
        ("Bad SECRET@Hidden.Example!", False, "Bad (hidden)!"),
        ("Invalid domain name: 'hidden.example'", False, "Invalid domain name: '(hidden)'"),
        ("r0@example.net is fine", False, "r0@example.net is fine"),
        ("not verified: r0@example.net, secret@hid", True, "not verified: r0@example.net, "),
        ("nothing of it", False, "nothing of it"),
    ],
)
def test_addresses_that_the_sender_did_not_write_are_left_out(text, is_cut, left):
    assert (
        without_addresses(text, [SECRET, "r0@example.net"], ["r0@example.net", "r1@example.net"], is_cut=is_cut) == left
    )


class Counted(tuple):
    """Counts who looks for a recipient among those of a decision."""

    __slots__ = ()
    searches = 0

    def __contains__(self, index):
        Counted.searches += 1
        return super().__contains__(index)


async def test_the_decisions_of_many_recipients_are_found_without_a_search_for_each():
    everybody = Counted(range(1000))
    of = message(1000, states=(REJECTED,) * 1000, verdict=Verdict("v", decisions=(Decision("BOUNCE", everybody),)))
    tools = stand()
    told = (await tell(work(tools, of), tools)).work
    assert told.message.told == frozenset(range(1000))
    assert Counted.searches == 0
