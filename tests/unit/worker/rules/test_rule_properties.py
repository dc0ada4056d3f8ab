"""What is true of every verdict, for any rules and any recipients."""

import dataclasses
import time

from hypothesis import given
from hypothesis import strategies as st

from spool.verdicts import Verdict
from tests.unit.worker.rules.case import CONTENT, LISTED, SETTINGS, a_message, assert_everybody_has_one_fate, judged
from worker.rules.choice import first_verdict
from worker.rules.facts import Facts
from worker.rules.matching import Matching
from worker.rules.outcomes import outcome_of
from worker.rules.patterns import parse_pattern
from worker.rules.records import (
    AddHeader,
    AddTags,
    Condition,
    Decide,
    Function,
    ReplaceRecipient,
    Rule,
    RuleSet,
    RunLambda,
    StopRules,
    Tee,
    UseLane,
)

DOMAINS = ("a.example", "sub.a.example", "b.example", "example.com", "in.example.com")
ADDRESSES = tuple(f"{local}@{domain}" for local in ("x", "y", "Z") for domain in DOMAINS)

patterns = st.lists(
    st.sampled_from([*ADDRESSES, *DOMAINS, *(f"*.{domain}" for domain in DOMAINS), "*"]).map(parse_pattern), max_size=3
).map(tuple)
conditions = st.lists(
    st.sampled_from(
        [
            Condition("SUBJECT", "CONTAINS", ("invoice",)),
            Condition("SUBJECT", "EQUALS", ("other",)),
            Condition("HAS_ATTACHMENTS", "IS_FALSE"),
        ]
    ),
    max_size=2,
).map(tuple)
disposals = st.none() | st.one_of(
    st.sampled_from(["DROP", "BOUNCE", "MOVE_TO_JUNK", "DEFAULT", "BYPASS_SPAM_CHECK"]).map(Decide),
    st.sampled_from(["sync", "async"]).map(lambda mode: RunLambda(Function("f", mode))),
)
changes = st.lists(
    st.one_of(
        st.sampled_from(["bulk", "express"]).map(UseLane),
        st.sampled_from(ADDRESSES).map(Tee),
        st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=3, unique=True).map(
            lambda addresses: ReplaceRecipient(tuple(addresses))
        ),
        st.just(AddHeader("X-A", "1")),
        st.just(AddTags({"a": "1"})),
        st.just(StopRules()),
    ),
    max_size=3,
).map(tuple)
rules = st.lists(
    st.builds(
        Rule,
        number=st.just(0),
        name=st.just(""),
        directions=st.sampled_from([(), ("INBOUND",), ("OUTBOUND",), ("INBOUND", "OUTBOUND")]),
        senders=patterns,
        recipients=patterns,
        conditions=conditions,
        unless_senders=st.just(()) | patterns,
        unless_recipients=st.just(()) | patterns,
        unless=st.just(()) | conditions,
        disposal=disposals,
        changes=changes,
    ),
    max_size=8,
).map(lambda found: tuple(dataclasses.replace(one, number=n, name=f"r{n}") for n, one in enumerate(found)))
recipients = st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=10, unique=True)
contents = st.sampled_from(
    [CONTENT, b"From: x@a.example\r\n\r\n", b"Sender: y@b.example\r\nFrom: x@a.example\r\nSubject: other\r\n\r\n", b""]
)


@given(rules, recipients, contents)
def test_every_recipient_has_one_decision_or_is_in_one_call_that_waits(some, addresses, content):
    verdict, message = judged(RuleSet("v", some), a_message(*addresses), content)
    if verdict.decisions or verdict.calls:
        assert_everybody_has_one_fate(verdict, message)
    else:
        assert verdict == Verdict("v")


@given(rules, recipients, contents)
def test_a_recipient_alone_is_judged_as_among_others(some, addresses, content):
    rule_set = RuleSet("v", some)
    together, _ = judged(rule_set, a_message(*addresses), content)
    if together.added or together.replaced:
        return  # then it matters who else is a recipient
    for index, address in enumerate(addresses):
        alone, _ = judged(rule_set, a_message(address), content)
        mine, theirs = alone.decision_of(0), together.decision_of(index)
        if alone.calls or mine is None or theirs is None:
            assert (index in together.undecided) is (0 in alone.undecided)
            continue
        assert dataclasses.replace(mine, recipients=()) == dataclasses.replace(theirs, recipients=())


@given(rules, recipients, contents)
def test_the_verdict_is_the_same_every_time(some, addresses, content):
    message = a_message(*addresses)
    first = first_verdict(RuleSet("v", some), Facts(message, content), message, SETTINGS)
    assert first == first_verdict(RuleSet("v", some), Facts(message, content), message, SETTINGS)


@given(rules, st.sampled_from(ADDRESSES), contents, st.sampled_from([SETTINGS, LISTED]))
def test_the_index_finds_what_one_look_at_every_pattern_finds(some, address, content, settings):
    from worker.rules.directions import local_domains

    rule_set, message = RuleSet("v", some), a_message(address)
    facts = Facts(message, content)
    matching = Matching(rule_set, facts, local_domains(settings))
    ((likeness, _),) = matching.alike([address]).items()
    found = [match.rule.number for match in matching.matches(likeness)]
    senders = senders_that_count(some, facts, likeness.direction)
    assert found == [one.number for one in some if fits_plainly(one, facts, senders, address, likeness.direction)]
    outcome_of(matching.matches(likeness), likeness.direction, settings.rules.outbound_precedence)


def senders_that_count(some, facts, direction):
    named = [
        pattern
        for rule in some
        if not rule.directions or direction in rule.directions
        for pattern in rule.senders
        if pattern.kind != "all" and any(fits(pattern, sender) for sender in facts.sender_addresses)
    ]
    if direction == "INBOUND" and named:
        return facts.sender_addresses
    return [*facts.sender_addresses, *facts.from_addresses] or [facts.envelope_sender]


def fits_plainly(rule, facts, senders, address, direction):
    from worker.rules.conditions import why_true

    excepted = [*facts.sender_addresses, *facts.from_addresses] or [facts.envelope_sender]
    return (
        (not rule.directions or direction in rule.directions)
        and (not rule.senders or any(fits(one, sender) for one in rule.senders for sender in senders))
        and (not rule.recipients or any(fits(one, address) for one in rule.recipients))
        and not any(fits(one, sender) for one in rule.unless_senders for sender in excepted)
        and not any(fits(one, address) for one in rule.unless_recipients)
        and all(why_true(one, facts) for one in rule.conditions)
        and not any(why_true(one, facts) for one in rule.unless)
    )


def fits(pattern, address):
    address = address.lower()
    domain = address.rpartition("@")[2]
    match pattern.kind:
        case "all":
            return True
        case "address":
            return address == pattern.text
        case "domain":
            return domain == pattern.text
    return f".{domain}".endswith(pattern.text[1:])


def cpu_seconds(rule_set, message):
    began = time.process_time()
    first_verdict(rule_set, Facts(message, CONTENT), message, SETTINGS)
    return time.process_time() - began


def test_ten_thousand_recipients_and_a_thousand_rules_take_moments():
    addresses = [f"u{number}@d{number % 5000}.example.net" for number in range(10_000)]
    named = RuleSet(
        "v",
        tuple(
            Rule(n, f"r{n}", (), recipients=tuple(map(parse_pattern, addresses[n::1000])), disposal=Decide("DROP"))
            for n in range(1000)
        ),
    )
    assert cpu_seconds(named, a_message(*addresses)) < 5
    copies = [Rule(n, f"r{n}", (), changes=(UseLane("bulk"), Tee(f"c{n}@x.example"))) for n in range(999)]
    others = ReplaceRecipient(tuple(f"n{number}@y.example" for number in range(50)))
    moved = RuleSet("v", (*copies, Rule(999, "move", (), changes=(others,))))
    assert cpu_seconds(moved, a_message(*addresses)) < 5
