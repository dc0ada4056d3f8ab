"""What becomes of whom: a row for each sentence of docs/rules.md."""

import dataclasses

import pytest

from spool.verdicts import Part
from tests.unit.worker.rules.case import (
    LISTED,
    a_message,
    assert_everybody_has_one_fate,
    fates,
    judged,
    some_rules,
)
from worker.rules.choice import invocation_id_of
from worker.rules.records import RuleSet


def rule(name: str, action: str, **keys: object) -> str:
    """A rule; `action` is a type of action, or lines of TOML."""
    lines = [f"{key} = {value!r}" for key, value in keys.items()]
    written = f'action = {{ type = "{action}" }}' if action.isupper() else action
    return "\n".join(["[[rule]]", f'name = "{name}"', *lines, written, ""])


DROP, BOUNCE, DEFAULT, LAMBDA = "DROP", "BOUNCE", "DEFAULT", 'action = { type = "RUN_LAMBDA", function = "f" }'
ASYNC = 'action = { type = "RUN_LAMBDA", function = "f", mode = "async" }'
BOB = "bob@partner.example"
LANE = "{ type = 'LANE', lane = '%s' }"


def lane(name: str, *more: str) -> str:
    return f"actions = [ {', '.join([LANE % name, *more])} ]"


ROWS = {
    "an address beats a domain": (
        rule("wide", DROP, senders=["shop.example.com"]) + rule("narrow", DEFAULT, senders=["app@shop.example.com"]),
        {BOB: "DEFAULT narrow"},
    ),
    "a domain beats a wildcard of itself": (
        rule("wide", DROP, senders=["*.shop.example.com"]) + rule("narrow", DEFAULT, senders=["shop.example.com"]),
        {BOB: "DEFAULT narrow"},
    ),
    "a longer wildcard beats a shorter one": (
        rule("wide", DROP, senders=["*.example.com"]) + rule("narrow", DEFAULT, senders=["*.shop.example.com"]),
        {BOB: "DEFAULT narrow"},
    ),
    "a wildcard beats all": (
        rule("wide", DROP, senders=["*"]) + rule("narrow", DEFAULT, senders=["*.com"]),
        {BOB: "DEFAULT narrow"},
    ),
    "no pattern is the same as all": (
        rule("none", DROP) + rule("star", BOUNCE, senders=["*"]),
        {BOB: "DROP none"},
    ),
    "the sender counts before the recipient": (
        rule("by recipient", DROP, recipients=[BOB]) + rule("by sender", DEFAULT, senders=["*.com"]),
        {BOB: "DEFAULT by sender"},
    ),
    "among equal senders the recipient's pattern counts": (
        rule("wide", DROP, recipients=["*.example"]) + rule("narrow", DEFAULT, recipients=["partner.example"]),
        {BOB: "DEFAULT narrow", "eve@other.example": "DROP wide"},
    ),
    "the most specific of a rule's own patterns counts": (
        rule("one", DEFAULT, senders=["*", "app@shop.example.com"]) + rule("two", DROP, senders=["shop.example.com"]),
        {BOB: "DEFAULT one"},
    ),
    "among equals the more restrictive wins": (
        rule("c", DEFAULT) + rule("b", BOUNCE) + rule("a", DROP) + rule("d", LAMBDA),
        {BOB: "DROP a"},
    ),
    "default beats run lambda": (rule("ask", LAMBDA) + rule("no", DEFAULT), {BOB: "DEFAULT no"}),
    "among the same the first in the file wins": (rule("a", DROP) + rule("b", DROP), {BOB: "DROP a"}),
    "a domain does not fit its subdomains": (rule("a", DROP, senders=["example.com"]), None),
    "a wildcard fits the domain itself": (
        rule("a", DROP, recipients=["*.partner.example"]),
        {BOB: "DROP a", "x@sub.partner.example": "DROP a", "x@otherpartner.example": "DEFAULT"},
    ),
    "case does not matter": (rule("a", DROP, recipients=["BOB@Partner.Example"]), {"boB@PARTNER.example": "DROP a"}),
    "an international domain is the same in both spellings": (
        rule("a", DROP, recipients=["*.bücher.example"]),
        {"x@xn--bcher-kva.example": "DROP a", "y@www.bücher.example": "DROP a"},
    ),
    "an excepted sender": (rule("a", DROP, unless_senders=["*.example.com"]), None),
    "an excepted recipient": (
        rule("a", DROP, unless_recipients=["bob@partner.example"]),
        {BOB: "DEFAULT", "eve@partner.example": "DROP a"},
    ),
    "an excepted domain": (
        rule("a", DROP, unless_recipients=["*.partner.example"]),
        {BOB: "DEFAULT", "eve@other.example": "DROP a"},
    ),
    "an excepted domain excepts its addresses from a pattern that names them": (
        rule("a", DROP, recipients=[BOB, "partner.example"], unless_recipients=["*.example"])
        + rule("b", BOUNCE, recipients=[BOB], unless_recipients=["eve@partner.example"]),
        {BOB: "BOUNCE b", "eve@partner.example": "DEFAULT"},
    ),
    "the direction is that of the recipient": (
        rule("in", DROP, direction="INBOUND") + rule("out", BOUNCE, direction="outbound"),
        {BOB: "BOUNCE out", "amy@example.com": "DROP in", "amy@sub.example.com": "DROP in"},
    ),
    "a rule without direction is for both": (rule("a", DROP), {BOB: "DROP a", "amy@example.com": "DROP a"}),
    "junk is for inbound mail": (
        rule("junk", "MOVE_TO_JUNK"),
        {BOB: "DEFAULT junk", "amy@example.com": "MOVE_TO_JUNK junk"},
    ),
    "junk beats default, default beats bypass": (
        rule("c", "BYPASS_SPAM_CHECK") + rule("b", DEFAULT, recipients=["*"]) + rule("a", "MOVE_TO_JUNK", senders="*"),
        {"amy@example.com": "MOVE_TO_JUNK a"},
    ),
    "bypass beats run lambda": (
        rule("ask", LAMBDA) + rule("pass", "BYPASS_SPAM_CHECK"),
        {"amy@example.com": "BYPASS_SPAM_CHECK pass", BOB: "DEFAULT pass"},
    ),
    "rules without a disposal decide nothing": (rule("a", lane("bulk")), {BOB: "DEFAULT"}),
    "stop hides what comes later": (
        rule("a", 'action = { type = "STOP" }', recipients=[BOB]) + rule("b", DROP),
        {BOB: "DEFAULT", "eve@partner.example": "DROP b"},
    ),
    "stop in a rule with a disposal hides what comes later": (
        rule("a", "actions = [ { type = 'BOUNCE' }, { type = 'STOP' } ]") + rule("b", DROP, senders=["*.com"]),
        {BOB: "BOUNCE a"},
    ),
    "a function decides": (rule("ask", LAMBDA), {BOB: "? ask"}),
    "a more specific disposal keeps a function from being asked": (
        rule("ask", LAMBDA) + rule("no", DROP, recipients=[BOB]),
        {BOB: "DROP no", "eve@partner.example": "? ask"},
    ),
    "the first sync function decides": (rule("one", LAMBDA) + rule("two", LAMBDA), {BOB: "? one"}),
    "an async function decides nothing": (rule("ask", ASYNC), {BOB: "DEFAULT ask"}),
    "nothing matches": (rule("a", DROP, senders=["other.example"]), None),
}


@pytest.mark.parametrize("sentence", ROWS)
def test_the_table(sentence, tmp_path):
    text, wanted = ROWS[sentence]
    rules = some_rules(tmp_path, text)
    verdict, message = judged(rules, a_message(*(wanted or {BOB: ""})))
    if wanted is None:
        assert (verdict.version, verdict.decisions, verdict.parts) == (rules.version, (), ())
        return
    assert fates(verdict, message) == wanted
    assert_everybody_has_one_fate(verdict, message)


def test_outbound_default_comes_first_where_the_setting_says_so(tmp_path):
    rules = some_rules(tmp_path, rule("a", DROP) + rule("b", DEFAULT) + rule("c", BOUNCE))
    verdict, message = judged(rules, a_message(BOB, "amy@example.com"), settings=LISTED)
    assert fates(verdict, message) == {BOB: "DEFAULT b", "amy@example.com": "DROP a"}


def test_without_rules_the_verdict_is_a_version(tmp_path):
    verdict, _ = judged(RuleSet(), a_message())
    assert verdict.encode() == b'{"version":""}'


# -- senders

TWO_SENDERS = b"Sender: Bot <bot@a.example>\r\nFrom: boss@b.example, vice@c.example\r\n\r\n"


@pytest.mark.parametrize(
    ("pattern", "content", "because"),
    [
        ("a.example", TWO_SENDERS, "header Sender matches a.example"),
        ("b.example", TWO_SENDERS, "header From matches b.example"),
        ("vice@c.example", TWO_SENDERS, "header From matches vice@c.example"),
        ("*", TWO_SENDERS, "header Sender matches *"),
        ("bounces.example.com", TWO_SENDERS, None),
        ("bounces.example.com", b"From: nobody\r\n\r\n", "envelope sender matches bounces.example.com"),
        ("bounces.example.com", b"", "envelope sender matches bounces.example.com"),
    ],
)
def test_sender_comes_before_from_and_both_before_the_envelope(pattern, content, because, tmp_path):
    verdict, _ = judged(some_rules(tmp_path, rule("a", DROP, senders=[pattern])), a_message(), content)
    assert [one.because for one in verdict.decisions] == ([because] if because else [])


def test_what_sender_matches_hides_a_more_specific_from(tmp_path):
    text = rule("one", DROP, senders=["*.a.example", "boss@b.example"]) + rule("two", DEFAULT, senders=["a.example"])
    verdict, message = judged(some_rules(tmp_path, text), a_message(), TWO_SENDERS)
    assert fates(verdict, message) == {BOB: "DEFAULT two"}


AMY = "amy@example.com"
BY_SENDER = rule("by sender", BOUNCE, senders=["*.a.example"])
BY_FROM = rule("by from", DEFAULT, senders=["boss@b.example"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BY_SENDER + BY_FROM, {AMY: "BOUNCE by sender", BOB: "DEFAULT by from"}),
        (BY_FROM, {AMY: "DEFAULT by from", BOB: "DEFAULT by from"}),
        (BY_FROM + rule("all", DROP, senders=["*"]), {AMY: "DEFAULT by from", BOB: "DEFAULT by from"}),
        (
            BY_SENDER.replace("senders", "direction = 'OUTBOUND'\nsenders") + BY_FROM,
            {AMY: "DEFAULT by from", BOB: "DEFAULT by from"},
        ),
        (
            BY_SENDER.replace("senders", "recipients = 'eve@example.com'\nsenders") + BY_FROM,
            {AMY: "DEFAULT", BOB: "DEFAULT by from"},
        ),
    ],
    ids=["sender is named", "sender is not named", "by a star", "in the other direction", "for another recipient"],
)
def test_inbound_a_from_counts_only_when_no_rule_names_the_sender(text, expected, tmp_path):
    verdict, message = judged(some_rules(tmp_path, text), a_message(AMY, BOB), TWO_SENDERS)
    assert fates(verdict, message) == expected


def test_an_excepted_from_counts_although_there_is_a_sender(tmp_path):
    rules = some_rules(tmp_path, rule("a", DROP, unless_senders=["vice@c.example"]))
    assert judged(rules, a_message(), TWO_SENDERS)[0].decisions == ()


def test_the_null_sender_fits_only_what_fits_everybody(tmp_path):
    rules = some_rules(tmp_path, rule("a", DROP, senders=["*.com"]) + rule("b", BOUNCE, senders=["*"]))
    verdict, message = judged(rules, a_message(sender=""), b"\r\n")
    assert fates(verdict, message) == {BOB: "BOUNCE b"}


# -- changes

TEAM = "{ type = 'ADD_HEADER', name = 'X-Team', value = 'a' }"


def test_changes_of_all_considered_rules_apply_and_the_later_wins(tmp_path):
    text = (
        rule("one", lane("bulk", TEAM, "{ type = 'TAGS', tags = { a = '1', b = '1' } }"))
        + rule("two", lane("express", TEAM, "{ type = 'TAGS', tags = { b = '2' } }"), recipients=["partner.example"])
        + rule("three", "actions = [ { type = 'ROUTE', route = 'second' }, { type = 'ARCHIVE', archive = 'all' } ]")
        + rule("four", "action = { type = 'CONFIGURATION_SET', name = 'news' }")
    )
    verdict, _ = judged(some_rules(tmp_path, text), a_message(BOB, "eve@other.example"))
    way = Part(
        (0,),
        lane="express",
        route="second",
        configuration_set="news",
        tags={"a": "1", "b": "2"},
        headers=(("X-Team", "a"),),
        archives=("all",),
    )
    other = dataclasses.replace(way, recipients=(1,), lane="bulk", tags={"a": "1", "b": "1"})
    assert verdict.parts == (way, other)
    assert [(one.rule, one.recipients, one.actions) for one in verdict.applied] == [
        ("one", (0, 1), "lane bulk, header X-Team, tags a=1, b=1"),
        ("two", (0,), "lane express, header X-Team, tags b=2"),
        ("three", (0, 1), "route second, archive all"),
        ("four", (0, 1), "configuration set news"),
    ]


def test_changes_of_a_rule_with_a_disposal_apply_when_it_wins(tmp_path):
    text = rule("wins", "actions = [ { type = 'DEFAULT' }, { type = 'LANE', lane = 'bulk' } ]", senders=["*.com"])
    text += rule("loses", "actions = [ { type = 'DROP' }, { type = 'ROUTE', route = 'second' } ]")
    verdict, _ = judged(some_rules(tmp_path, text), a_message())
    assert verdict.parts == (Part((0,), lane="bulk"),)


def test_changes_of_every_rule_whose_function_is_called_apply(tmp_path):
    call = "{ type = 'RUN_LAMBDA', function = 'f', mode = '%s' }"
    text = rule("one", f"actions = [ {call % 'sync'}, {{ type = 'LANE', lane = 'bulk' }} ]")
    text += rule("two", f"actions = [ {call % 'async'}, {{ type = 'ROUTE', route = 'second' }} ]")
    text += rule("three", f"actions = [ {call % 'sync'}, {{ type = 'CONFIGURATION_SET', name = 'no' }} ]")
    verdict, _ = judged(some_rules(tmp_path, text), a_message())
    sync = next(call for call in verdict.calls if call.mode == "sync")
    assert sync.parts == (Part((0,), lane="bulk", route="second"),)


def test_who_is_dropped_is_in_no_part_and_only_the_copy_goes(tmp_path):
    text = rule("drop", DROP) + rule("copy", lane("bulk", "{ type = 'TEE', address = 'copy@kept.example' }"))
    verdict, message = judged(some_rules(tmp_path, text), a_message())
    assert fates(verdict, message) == {BOB: "DROP drop", "copy@kept.example": "DEFAULT copy"}
    assert verdict.parts == (Part((1,)),)
    assert [(one.rule, one.actions) for one in verdict.applied] == [("copy", "copy to one more")]


def test_marks_of_junk_and_bypass_are_headers(tmp_path):
    text = rule("junk", "MOVE_TO_JUNK", recipients=["amy@example.com"]) + rule("fine", "BYPASS_SPAM_CHECK")
    verdict, _ = judged(some_rules(tmp_path, text), a_message("amy@example.com", "ann@example.com", BOB))
    assert {part.recipients: part.headers for part in verdict.parts} == {
        (0,): (("X-Sluice-Action", "MOVE_TO_JUNK"), ("X-Spam-Flag", "YES")),
        (1,): (("X-Sluice-Action", "BYPASS_SPAM_CHECK"), ("X-Spam-Flag", "NO")),
        (2,): (),
    }
    assert [part.direction for part in verdict.parts] == ["INBOUND", "INBOUND", "OUTBOUND"]


# -- other recipients


def test_tee_adds_an_address_once(tmp_path):
    tee = "action = { type = 'TEE', address = 'Copy@example.com' }"
    rules = some_rules(tmp_path, rule("one", tee) + rule("two", tee.replace("Copy", "copy")))
    verdict, message = judged(rules, a_message(BOB, "eve@other.example"))
    assert verdict.added == ("Copy@example.com",)
    assert fates(verdict, message)["Copy@example.com"] == "DEFAULT one"
    assert next(part for part in verdict.parts if 2 in part.recipients).direction == "INBOUND"
    assert_everybody_has_one_fate(verdict, message)


def test_tee_adds_nobody_who_is_a_recipient_already(tmp_path):
    rules = some_rules(tmp_path, rule("one", "action = { type = 'TEE', address = 'BOB@partner.example' }"))
    verdict, message = judged(rules, a_message())
    assert verdict.added == ()
    assert_everybody_has_one_fate(verdict, message)


def test_the_copy_of_junk_is_not_marked_and_waits_for_no_function(tmp_path):
    tee = rule("copy", lane("bulk", "{ type = 'TEE', address = 'copy@kept.example' }"))
    for disposal in (rule("junk", "MOVE_TO_JUNK"), rule("ask", LAMBDA)):
        verdict, message = judged(some_rules(tmp_path, tee + disposal), a_message("amy@example.com"))
        assert verdict.parts[-1] == Part((1,), lane="bulk")
        assert_everybody_has_one_fate(verdict, message)


REPLACE = "action = { type = 'REPLACE_RECIPIENT', addresses = ['new@a.example', 'more@b.example'] }"


def test_a_replaced_recipient_keeps_its_place_and_further_ones_are_added(tmp_path):
    rules = some_rules(tmp_path, rule("move", REPLACE, recipients=["partner.example"]))
    verdict, message = judged(rules, a_message("eve@other.example", BOB))
    assert message.recipients == ("eve@other.example", "new@a.example", "more@b.example")
    assert verdict.replaced == {1: "new@a.example"}
    assert verdict.added == ("more@b.example",)
    assert_everybody_has_one_fate(verdict, message)


def test_an_address_that_replaces_many_gets_the_mail_once(tmp_path):
    rules = some_rules(tmp_path, rule("move", REPLACE))
    verdict, message = judged(rules, a_message(*(f"u{number}@partner.example" for number in range(100))))
    assert [part.recipients for part in verdict.parts] == [(0, 100)]
    dropped = next(one for one in verdict.decisions if one.action == "DROP")
    assert (dropped.rule, dropped.recipients) == ("move", tuple(range(1, 100)))
    assert "gets this mail already" in dropped.because
    assert_everybody_has_one_fate(verdict, message)


def test_who_stands_in_for_several_reasons_is_added_once(tmp_path):
    rules = some_rules(tmp_path, rule("move", REPLACE, recipients=["a.example", "b.example"]))
    verdict, message = judged(rules, a_message("x@a.example", "y@b.example"))
    assert len({one.because for one in verdict.applied}) == 2
    assert verdict.added == ("more@b.example",)
    assert [part.recipients for part in verdict.parts] == [(0, 2)]
    assert_everybody_has_one_fate(verdict, message)


def test_who_replaces_somebody_and_stays_gets_the_mail_once(tmp_path):
    text = rule("move", REPLACE.replace("new@a.example", BOB), recipients=["other.example"])
    verdict, message = judged(some_rules(tmp_path, text), a_message("eve@other.example", BOB))
    assert [part.recipients for part in verdict.parts] == [(1, 2)]
    assert_everybody_has_one_fate(verdict, message)


def test_nobody_stands_in_for_who_is_bounced(tmp_path):
    rules = some_rules(tmp_path, rule("no", BOUNCE) + rule("move", REPLACE))
    verdict, message = judged(rules, a_message())
    assert message.recipients == (BOB,)
    assert fates(verdict, message) == {BOB: "BOUNCE no"}


def test_those_who_stand_in_share_the_function_of_who_they_stand_in_for(tmp_path):
    rules = some_rules(tmp_path, rule("ask", LAMBDA, recipients=["partner.example"]) + rule("move", REPLACE))
    verdict, message = judged(rules, a_message("eve@other.example", BOB))
    call = next(iter(verdict.calls))
    assert {message.recipients[index] for index in call.recipients} == {"new@a.example", "more@b.example"}
    assert_everybody_has_one_fate(verdict, message)


# -- functions


def test_a_function_is_called_once_for_a_rule_and_a_direction(tmp_path):
    text = rule("ask", LAMBDA) + rule("fast", lane("bulk"), recipients=["other.example"])
    verdict, _ = judged(
        some_rules(tmp_path, text), a_message(BOB, "amy@example.com", "eve@other.example", "ann@example.com")
    )
    assert [(call.recipients, call.parts[0].direction) for call in verdict.calls] == [
        ((0, 2), "OUTBOUND"),
        ((1, 3), "INBOUND"),
    ]
    assert [(part.recipients, part.lane) for part in verdict.calls[0].parts] == [((0,), ""), ((2,), "bulk")]
    assert verdict.parts == ()
    assert verdict.undecided == {0, 1, 2, 3}
    assert len({call.invocation_id for call in verdict.calls}) == 2


def test_an_invocation_id_is_the_same_in_every_process(tmp_path):
    rules = some_rules(tmp_path, rule("ask", LAMBDA))
    (call,) = judged(rules, a_message())[0].calls
    assert call.invocation_id == invocation_id_of(a_message().message_id, "ask", "OUTBOUND")
    assert call.invocation_id == "d3c3ac61fa42291091a4d4d1e4606121"


def test_async_functions_are_called_beside_the_sync_one_that_decides(tmp_path):
    rules = some_rules(tmp_path, rule("log", ASYNC) + rule("ask", LAMBDA) + rule("two", LAMBDA) + rule("tell", ASYNC))
    verdict, message = judged(rules, a_message())
    assert {(call.rule, call.mode) for call in verdict.calls} == {("ask", "sync"), ("log", "async"), ("tell", "async")}
    assert len(verdict.calls) == 3
    assert_everybody_has_one_fate(verdict, message)


def test_a_less_specific_async_function_is_not_called(tmp_path):
    rules = some_rules(tmp_path, rule("wide", ASYNC) + rule("narrow", LAMBDA, senders=["*.com"]))
    verdict, _ = judged(rules, a_message())
    assert [call.rule for call in verdict.calls] == ["narrow"]


def test_no_function_is_called_when_a_disposal_wins(tmp_path):
    rules = some_rules(tmp_path, rule("log", ASYNC) + rule("no", DEFAULT))
    assert judged(rules, a_message())[0].calls == ()


def test_a_call_knows_its_limits_and_its_fallback(tmp_path):
    text = """
        [[rule]]
        name = "ask"
        action = { type = "RUN_LAMBDA", function = "f", timeout_minutes = 5, fallback = "move_to_junk" }
        """
    verdict, _ = judged(some_rules(tmp_path, text), a_message(BOB, "amy@example.com"))
    outbound, inbound = verdict.calls
    assert (outbound.function, outbound.timeout_minutes, outbound.fallback) == ("f", 5, "DEFAULT")
    assert inbound.fallback == "MOVE_TO_JUNK"


# -- reasons


def test_a_decision_says_what_matched(tmp_path):
    text = """
        [[rule]]
        name = "strict"
        senders = ["*.example.com"]
        recipients = ["partner.example"]
        conditions = [ { attribute = "SUBJECT", operator = "CONTAINS", values = ["order", "INVOICE"] },
                       { attribute = "HEADER", header = "To", operator = "ENDS_WITH", values = ["example"] } ]
        action = { type = "BOUNCE", message = "Not this." }
        """
    verdict, _ = judged(some_rules(tmp_path, text), a_message())
    (decision,) = verdict.decisions
    assert decision.text == "Not this."
    assert decision.because == (
        "header From matches *.example.com; recipient matches partner.example; "
        'SUBJECT CONTAINS "INVOICE" and HEADER To ENDS_WITH "example"'
    )


def test_a_function_that_decides_has_its_reason_in_what_applied(tmp_path):
    verdict, _ = judged(some_rules(tmp_path, rule("ask", LAMBDA, senders=["*"])), a_message())
    (applied,) = verdict.applied
    assert (applied.rule, applied.because, applied.actions) == ("ask", "header From matches *", "runs f (sync)")


def test_a_reason_is_one_short_line_whatever_the_rules_say(tmp_path):
    value = "\\n".join(["invoice", "x" * 2000])
    condition = f'{{ attribute = "HEADER", header = "Subject", operator = "NOT_EQUALS", values = ["{value}"] }}'
    text = rule("a", f"conditions = [ {', '.join([condition] * 40)} ]\naction = {{ type = 'DROP' }}")
    (decision,) = judged(some_rules(tmp_path, text), a_message())[0].decisions
    assert decision.because.isprintable()
    assert len(decision.because) <= 400


def test_recipients_whom_no_rule_matches_have_one_decision_that_says_so(tmp_path):
    rules = some_rules(tmp_path, rule("a", DROP, recipients=[BOB]))
    verdict, _ = judged(rules, a_message("eve@other.example", BOB, "ann@third.example", "amy@example.com"))
    left = next(one for one in verdict.decisions if not one.rule)
    assert (left.action, left.recipients, left.because) == ("DEFAULT", (0, 2, 3), "no rule matches")


def test_conditions_and_unless(tmp_path):
    condition = '{ attribute = "SUBJECT", operator = "CONTAINS", values = ["invoice"] }'
    never = '{ attribute = "SUBJECT", operator = "CONTAINS", values = ["order"] }'
    action = "action = { type = 'DROP' }"
    for conditions, unless, has_match in (
        ([condition], [], True),
        ([condition, never], [], False),
        ([condition], [never], True),
        ([condition], [never, condition], False),
    ):
        text = f"conditions = [ {', '.join(conditions)} ]\nunless = [ {', '.join(unless)} ]\n{action}"
        verdict, _ = judged(some_rules(tmp_path, rule("a", text)), a_message())
        assert bool(verdict.decisions) is has_match
