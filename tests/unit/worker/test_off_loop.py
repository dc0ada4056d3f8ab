"""What takes long about one message is computed in a thread, what does not on the loop."""

import dataclasses
import threading

from tests.unit.worker.stand import AnsweringSes, Rules, message, rule, stand, work
from worker.rules.records import AddHeader, Condition, Decide
from worker.steps.judge import judge
from worker.steps.off_loop import computed, is_large


async def test_only_what_may_take_long_leaves_the_loop():
    here = threading.get_ident()
    assert await computed(threading.get_ident, is_long=False) == here
    assert await computed(threading.get_ident, is_long=True) != here


async def test_a_failure_in_the_thread_is_the_callers():
    def fail() -> None:
        raise LookupError("x")

    for is_long in (False, True):
        try:
            await computed(fail, is_long=is_long)
        except LookupError:
            continue
        raise AssertionError


def test_large_are_long_contents_and_many_recipients():
    tools = stand()
    small = work(tools)
    assert not is_large(small)
    assert is_large(dataclasses.replace(small, content=b"x" * 200_000))
    assert is_large(work(tools, message(101)))


async def test_a_large_message_is_judged_like_a_small_one():
    has_files = (Condition("HAS_ATTACHMENTS", "IS_FALSE"),)
    rules = Rules(
        rule("mark", None, AddHeader("X-A", "1"), conditions=has_files),
        rule("drop", Decide("DROP"), number=1, conditions=(Condition("SUBJECT", "EQUALS", ("X",)),)),
    )
    tools = dataclasses.replace(stand(AnsweringSes()), rules=rules)
    small = work(tools)
    large = dataclasses.replace(small, content=small.content + b"line\r\n" * 50_000)
    assert is_large(large)
    after = [(await judge(one, tools)).work for one in (small, large)]
    assert after[0].message == after[1].message
    assert after[0].unwritten == after[1].unwritten
    assert after[0].message.verdict.decisions[0].action == "DROP"
