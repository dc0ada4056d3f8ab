"""The loop over the steps: what is kept when one of them fails, and how much of the content store a message holds."""

import dataclasses
import time

from spool.records import Lease
from spool.states import RecipientState
from spool.store import Claimed
from spool.verdicts import Part, Verdict
from tests.unit.worker.stand import AnsweringFunctions, AnsweringSes, RememberingFlow, Rules, message, rule, stand
from worker.pipeline import STEPS, process_message
from worker.relay.outcomes import Accepted
from worker.room import Room
from worker.rules.records import Decide, Function, RunLambda


def claimed(tools, of):
    lease = Lease(of.message_id, 1, time.monotonic() + 30)
    tools.leases.take(lease)
    return Claimed(of, lease)


def test_the_steps_are_in_the_order_in_which_a_message_takes_them():
    assert [name for name, _ in STEPS] == ["load", "judge", "relay", "rest", "tell", "finish"]


async def test_a_message_without_rules_needs_one_intent_and_its_end():
    tools = stand(AnsweringSes(Accepted("1")))
    assert await process_message(claimed(tools, message()), tools) == "done"
    assert [(one.to, one.verdict) for one in tools.spool.settlements] == [(None, None), ("done", None)]


async def test_what_was_decided_is_written_although_a_later_step_failed():
    tools = stand(AnsweringSes())  # it has no answer, so the relay fails
    tools = dataclasses.replace(tools, rules=Rules(rule("drop", Decide("DROP"), recipients=["r0@example.net"])))
    assert await process_message(claimed(tools, message()), tools) == "parked"
    end = tools.spool.settlements[-1]
    assert end.states[0] is RecipientState.DROPPED
    assert any(one.verdict is not None for one in tools.spool.settlements)
    assert sum(one.counts.get("dropped_recipients", 0) for one in tools.spool.settlements) == 1


async def test_an_async_function_goes_on_when_its_message_is_given_back():
    tools = stand(AnsweringSes())
    function = RunLambda(Function("file:f.py:handler", "async"))
    tools = dataclasses.replace(
        tools,
        rules=Rules(rule("note", function)),
        functions=AnsweringFunctions(b""),
        flow=RememberingFlow(),
    )
    assert await process_message(claimed(tools, message()), tools) == "parked"
    assert [one.verdict.calls[0].tries for one in tools.spool.settlements if one.verdict] == [1]
    assert len(tools.left) + len(tools.functions.calls) >= 1


async def test_a_message_holds_room_for_its_content_and_the_largest_of_those_that_functions_made():
    asked = []

    class Counting(Room):
        def places(self, wanted):
            asked.append(wanted)
            return super().places(wanted)

    tools = dataclasses.replace(stand(AnsweringSes(Accepted("1"), Accepted("2"))), content_room=Counting(1_000_000))
    parts = (Part((0,), content_ref="file:a", content_bytes=500), Part((1,), content_ref="file:b", content_bytes=300))
    of = message(2, verdict=Verdict("v", parts=parts), content_ref="file:c", size_bytes=100)
    tools.spool.contents.kept = {"file:a": b"\r\n", "file:b": b"\r\n"}
    assert await process_message(claimed(tools, of), tools) == "done"
    assert asked == [600]
