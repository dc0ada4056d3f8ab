import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from spool.verdicts import FunctionCall, Part, Verdict
from tests.unit.worker.stand import Rules, message, rule, stand
from worker.functions.answer import Fates
from worker.rules.answers import answered, direction_of, fallen_back, function_of, merged
from worker.rules.records import Decide, Function, RunLambda

PARTS = (Part((0, 1), lane="bulk"), Part((2, 3), headers=(("X-Team", "a"),)))
CALL = FunctionCall("ask", "f", "sync", "0" * 32, (0, 1, 2, 3), PARTS, tries=2, fallback="BOUNCE", fallback_text="no")
VERDICT = Verdict("v", calls=(CALL,))
DEFAULT, DROP, JUNK = Decide("DEFAULT"), Decide("DROP"), Decide("MOVE_TO_JUNK")


def test_whoever_is_delivered_goes_as_the_template_says_and_with_the_content_that_the_function_left():
    fates = Fates(((DEFAULT, (0, 2), "said so"), (DROP, (1,), "said so"), (JUNK, (3,), "said so")))
    found = answered(VERDICT, CALL, fates, 4, content_ref="file:x", content_bytes=9)
    updated = {"content_ref": "file:x", "content_bytes": 9}
    junk = (("X-Team", "a"), ("X-Sluice-Action", "MOVE_TO_JUNK"), ("X-Spam-Flag", "YES"))
    assert found.parts == (
        Part((0,), lane="bulk", **updated),
        Part((2,), headers=(("X-Team", "a"),), **updated),
        Part((3,), headers=junk, **updated),
    )
    assert [(one.action, one.recipients, one.rule) for one in found.decisions] == [
        ("DEFAULT", (0, 2), "ask"),
        ("DROP", (1,), "ask"),
        ("MOVE_TO_JUNK", (3,), "ask"),
    ]
    assert found.calls == (dataclasses.replace(CALL, state="answered", parts=()),)
    assert found.undecided == frozenset()


def test_added_recipients_come_after_all_others_and_share_the_way_of_the_call():
    fates = Fates(((DEFAULT, (0, 1, 2, 3), ""),), (("new@x.example", DEFAULT), ("not@x.example", DROP)))
    found = answered(dataclasses.replace(VERDICT, added=("tee@x.example",)), CALL, fates, 4)
    assert found.added == ("tee@x.example", "new@x.example")
    assert found.parts[0] == Part((0, 1, 5), lane="bulk")
    assert found.decisions[-1].recipients == (5,)


def test_the_fallback_decides_about_everybody_and_says_why():
    found = fallen_back(VERDICT, dataclasses.replace(CALL, error="it raised"), 4)
    (decision,) = found.decisions
    assert (decision.action, decision.text, decision.recipients) == ("BOUNCE", "no", (0, 1, 2, 3))
    assert decision.because == "fallback: the function failed, tries: 2 (it raised)"
    assert (found.parts, found.calls[0].state) == ((), "failed")
    never_asked = fallen_back(VERDICT, dataclasses.replace(CALL, tries=0), 4)
    assert never_asked.decisions[0].because == "fallback: the function had no place for it in time"


def test_parts_that_differ_in_nothing_but_recipients_become_one():
    one, other = Part((3, 1), lane="bulk"), Part((2,), lane="bulk")
    assert merged((one, Part((0,)), other)) == (Part((1, 2, 3), lane="bulk"), Part((0,)))


def test_a_function_is_looked_up_by_its_rule_and_by_what_was_recorded_when_the_rule_is_gone():
    now = Function("new", environment={"A": "b"})
    assert function_of(CALL, Rules(rule("ask", RunLambda(now))).current) is now
    gone = function_of(CALL, Rules(rule("other", RunLambda(now))).current)
    assert (gone.target, gone.environment, gone.fallback) == ("f", {}, "BOUNCE")
    as_async = Function("new", "async")
    assert function_of(CALL, Rules(rule("ask", RunLambda(as_async))).current).target == "f"


def test_the_direction_of_a_call_is_that_of_its_recipients_as_the_rules_saw_them():
    settings = stand(smtp={"local_domains": ["example.net"]}).settings
    of = message(4).judged(Verdict("v", replaced={0: "x@example.org"}))
    assert direction_of(dataclasses.replace(CALL, parts=()), of, settings) == "INBOUND"
    assert direction_of(CALL, of, settings) == "OUTBOUND"


@given(st.lists(st.sampled_from([DEFAULT, DROP, JUNK, Decide("BOUNCE", "x")]), min_size=4, max_size=4))
def test_after_an_answer_everybody_has_one_decision_and_whoever_is_delivered_one_part(decides):
    fates = Fates(tuple((decide, (index,), "") for index, decide in enumerate(decides)))
    found = answered(VERDICT, CALL, fates, 4)
    for index, decide in enumerate(decides):
        assert sum(index in one.recipients for one in found.decisions) == 1
        assert sum(index in one.recipients for one in found.parts) == (decide.action in {"DEFAULT", "MOVE_TO_JUNK"})
