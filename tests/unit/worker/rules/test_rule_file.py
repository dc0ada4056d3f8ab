"""The rules file: what it may say, and that every mistake is told at once."""

import re
from pathlib import Path

import pytest

from config.settings import Settings
from tests.unit.worker.rules.case import SETTINGS, some_rules
from worker.rules.records import (
    AddHeader,
    AddTags,
    Archive,
    Condition,
    Decide,
    ReplaceRecipient,
    RunLambda,
    StopRules,
    Tee,
    UseConfigurationSet,
    UseLane,
    UseRoute,
)
from worker.rules.rule_file import Known, RulesRefused, read_rules

FULL = """
[[rule]]
name = "disclaimer"
direction = "outbound"
senders = ["*.example.com", "boss@example.org"]
recipients = "partner.example"
unless_senders = []
unless_recipients = "eve@partner.example"
conditions = [
  { attribute = "subject", operator = "contains", values = "invoice" },
  { attribute = "HEADER", header = "X-Team", operator = "EQUALS", values = ["a", "b"] },
  { attribute = "MESSAGE_SIZE", operator = "LESS_THAN", values = 1000 },
  { attribute = "SOURCE_IP", operator = "CIDR_MATCHES", values = ["192.0.2.9/24"] },
  { attribute = "SUBJECT", operator = "MATCHES", values = ["(a+)+$"] },
]
unless = { attribute = "HAS_ATTACHMENTS", operator = "IS_TRUE" }
[rule.action]
type = "run_lambda"
mode = "SYNC"
function = "file:functions/app.py:handler"
timeout_minutes = 2.5
fallback = "bounce"
fallback_message = "Not now."
environment = { BUCKET = "b" }
python = "/opt/venv/bin/python"
timeout_seconds = 3
concurrency = 4
memory_megabytes = 128

[[rule]]
name = "changes"
direction = ["INBOUND", "OUTBOUND"]
actions = [
  { type = "ADD_HEADER", name = "X-Team", value = "a b" },
  { type = "REPLACE_RECIPIENT", addresses = ["new@example.com", "x@bücher.example"] },
  { type = "ARCHIVE", archive = "all-mail" },
  { type = "LANE", lane = "bulk" },
  { type = "ROUTE", route = "second" },
  { type = "CONFIGURATION_SET", name = "news" },
  { type = "TAGS", tags = { campaign = "a.b@c" } },
  { type = "TEE", address = "copy@example.com" },
  { type = "STOP" },
]

[[rule]]
name = "no"
action = { type = "BOUNCE", message = "Not allowed." }
"""


def mistakes_of(folder: Path, text: str | bytes) -> tuple[str, ...]:
    file = folder / "rules.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RulesRefused) as refused:
        read_rules(file, Known.of(SETTINGS))
    assert all(one in refused.value.reason for one in refused.value.mistakes)
    return refused.value.mistakes


def rule_with(line: str, action: str = "action = { type = 'DROP' }") -> str:
    return f"[[rule]]\nname = 'a'\n{line}\n{action}\n"


def test_everything_that_may_be_said(tmp_path):
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "app.py").write_text("def handler(event, context): ...")
    rules = some_rules(tmp_path, FULL)
    first, second, third = rules.rules
    assert (first.number, first.name, first.directions) == (0, "disclaimer", ("OUTBOUND",))
    assert [one.text for one in first.senders] == ["*.example.com", "boss@example.org"]
    assert [one.kind for one in (*first.recipients, *first.unless_recipients)] == ["domain", "address"]
    assert first.unless_senders == ()
    assert first.conditions == (
        Condition("SUBJECT", "CONTAINS", ("invoice",)),
        Condition("HEADER", "EQUALS", ("a", "b"), "X-Team"),
        Condition("MESSAGE_SIZE", "LESS_THAN", (1000,)),
        Condition("SOURCE_IP", "CIDR_MATCHES", ("192.0.2.0/24",)),
        Condition("SUBJECT", "MATCHES", ("(a+)+$",)),
    )
    assert first.unless == (Condition("HAS_ATTACHMENTS", "IS_TRUE"),)
    assert isinstance(first.disposal, RunLambda)
    function = first.disposal.function
    assert function.target == f"file:{(tmp_path / 'functions' / 'app.py').resolve()}:handler"
    assert (function.mode, function.timeout_minutes, function.fallback) == ("sync", 2.5, "BOUNCE")
    assert (function.fallback_text, function.environment) == ("Not now.", {"BUCKET": "b"})
    assert (function.python, function.timeout_seconds) == ("/opt/venv/bin/python", 3)
    assert (function.concurrency, function.memory_megabytes) == (4, 128)
    assert second.directions == ("INBOUND", "OUTBOUND")
    assert second.changes == (
        AddHeader("X-Team", "a b"),
        ReplaceRecipient(("new@example.com", "x@xn--bcher-kva.example")),
        Archive("all-mail"),
        UseLane("bulk"),
        UseRoute("second"),
        UseConfigurationSet("news"),
        AddTags({"campaign": "a.b@c"}),
        Tee("copy@example.com"),
        StopRules(),
    )
    assert third.disposal == Decide("BOUNCE", "Not allowed.")
    assert rules.by_direction == {"INBOUND": 0b110, "OUTBOUND": 0b111}


def test_the_version_is_that_of_the_bytes(tmp_path):
    text = rule_with("")
    first, same, other = (some_rules(tmp_path, one).version for one in (text, text, text + "#\n"))
    assert first == same != other
    assert re.fullmatch("[0-9a-f]{12}", first)


def test_an_empty_file_has_no_rules(tmp_path):
    assert some_rules(tmp_path, "").rules == ()


def test_every_mistake_is_told_at_once_with_rule_and_key(tmp_path):
    text = """
        [[rule]]
        name = "one"
        sender = "a@b.example"
        senders = ["a+b@c.example", "*@c.example"]
        action = { type = "RUN_LAMBDA", function = "f", fallback = "REJECT", timeout_minutes = 241, mode = "soon" }
        [[rule]]
        direction = "SIDEWAYS"
        actions = [ { type = "LANE", lane = "slow" }, { type = "SHRED" }, { type = "DROP" }, { type = "BOUNCE" } ]
        [[rule]]
        name = "One"
    """
    patterns = "allowed: user@domain, domain, *.domain, *"
    types = (
        "DROP, BOUNCE, DEFAULT, MOVE_TO_JUNK, BYPASS_SPAM_CHECK, RUN_LAMBDA, ADD_HEADER, REPLACE_RECIPIENT, ARCHIVE, "
        "LANE, ROUTE, CONFIGURATION_SET, TAGS, TEE, STOP"
    )
    deciding = "DROP, BOUNCE, MOVE_TO_JUNK, DEFAULT, BYPASS_SPAM_CHECK"
    assert mistakes_of(tmp_path, text) == (
        f'rules.toml: rule "one" (1), senders: "a+b@c.example": no + may stand in a pattern; {patterns}',
        f'rules.toml: rule "one" (1), senders: "*@c.example": no such local part can be compared; {patterns}',
        'rules.toml: rule "one" (1), action.mode: "soon" is unknown; allowed: sync, async',
        'rules.toml: rule "one" (1), action.timeout_minutes: 241 is not within the limits; allowed: 0 to 240',
        f'rules.toml: rule "one" (1), action.fallback: "REJECT" is unknown; allowed: {deciding}',
        'rules.toml: rule "one" (1), sender: there is no such key; did you mean senders?',
        "rules.toml: rule (2), name: is missing",
        'rules.toml: rule (2), direction: "SIDEWAYS": allowed: INBOUND, OUTBOUND, or both in a list',
        'rules.toml: rule (2), actions[1].lane: "slow" is unknown; allowed: bulk, express',
        f'rules.toml: rule (2), actions[2].type: "SHRED" is unknown; allowed: {types}',
        "rules.toml: rule (2), actions: has more than one that says whether the mail goes; allowed: one of those",
        'rules.toml: rule "One" (3), action: must be given, or actions, and not both',
        'rules.toml: rule "One" (3), name: "One" is the name of rule 1 already',
    )


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("rules = []", "rules.toml: rules: there is no such key; did you mean rule?"),
        ("rule = 3", "rules.toml: rule: must be tables; allowed: [[rule]]"),
        ("rule = [3]", "rules.toml: rule: must be tables; allowed: [[rule]]"),
        ("[[rule]", "rules.toml: is no TOML: "),
        (b"\n\xff", "rules.toml: line 2 is not UTF-8"),
        ("x = " + "[" * 100_000, "rules.toml: is "),
        ("[[rule]]\nname" + ".a" * 100 + " = 1", "(1), name: a table is no such text"),
        ("[" + ".".join(["'a'"] * 100_000) + "]", "rules.toml: a key has more than 200 parts"),
        ("[[rule]]\nname" + ".a" * 100_000 + " = 1", "rules.toml: a key has more than 200 parts"),
        ("# " + "x" * 1024 * 1024, "is larger than 1,048,576 bytes"),
        ("[[rule]]\n" * 1001, "rules.toml: has 1,001 rules; allowed: 1,000"),
        (rule_with("", "action = 'DROP'"), '(1), action: "DROP" is no table'),
        (rule_with("", "actions = ['DROP']"), '(1), actions[1]: "DROP" is no table'),
        (
            rule_with("", "action = { type = 'DROP' }\nactions = []"),
            "(1), action: must be given, or actions, and not both",
        ),
        (rule_with("name2 = 'x'"), "(1), name2: there is no such key; did you mean name?"),
        (rule_with("zzz = 1"), "(1), zzz: there is no such key; allowed: name, "),
        (rule_with("senders = []"), "(1), senders: is empty; leave it out for all"),
        (rule_with("senders = 3"), "(1), senders: 3: "),
        (rule_with(f"senders = {['a.example'] * 251}"), "(1), senders: has 251 entries; allowed: 250"),
        (rule_with("unless = [ 3 ]"), "(1), unless[1]: 3 is no table"),
        (rule_with("conditions = {}"), "(1), conditions.attribute: is missing; allowed: SUBJECT, HEADER, "),
        (
            rule_with("conditions = { attribute = 'SUBJECT', operator = 'LESS_THAN', values = ['a'] }"),
            '(1), conditions.operator: "LESS_THAN" is unknown; allowed: EQUALS, NOT_EQUALS, ',
        ),
        (rule_with("conditions = { attribute = 'SUBJECT', operator = 'EQUALS' }"), "(1), conditions.values: has none"),
        (
            rule_with("conditions = { attribute = 'SUBJECT', operator = 'EQUALS', values = [3] }"),
            "(1), conditions.values: 3: allowed: a text",
        ),
        (
            rule_with("conditions = { attribute = 'MESSAGE_SIZE', operator = 'EQUALS', values = ['3'] }"),
            '(1), conditions.values: "3": allowed: a number of bytes',
        ),
        (
            rule_with("conditions = { attribute = 'SOURCE_IP', operator = 'CIDR_MATCHES', values = ['10.0.0.0/33'] }"),
            '(1), conditions.values: "10.0.0.0/33": allowed: an IP address or a range',
        ),
        (
            rule_with("conditions = { attribute = 'SUBJECT', operator = 'MATCHES', values = ['(?=a)'] }"),
            '(1), conditions.values: "(?=a)": no pattern of re2: ',
        ),
        (
            rule_with("conditions = { attribute = 'HEADER', operator = 'EQUALS', values = ['a'] }"),
            "(1), conditions.header: is missing",
        ),
        (
            rule_with("conditions = { attribute = 'HEADER', header = 'a b', operator = 'EQUALS', values = ['a'] }"),
            "(1), conditions.header: is no name of a header",
        ),
        (
            rule_with("conditions = { attribute = 'SUBJECT', header = 'a', operator = 'EQUALS', values = ['a'] }"),
            "(1), conditions.header: there is no such key",
        ),
        (
            rule_with("conditions = { attribute = 'HAS_ATTACHMENTS', operator = 'IS_TRUE', values = ['a'] }"),
            "(1), conditions.values: there is no such key",
        ),
    ],
)
def test_what_cannot_be_used_is_told(text, mistake, tmp_path):
    found = mistakes_of(tmp_path, text)
    assert any(mistake in one for one in found), found


@pytest.mark.parametrize(
    ("action", "mistake"),
    [
        ("type = 'BOUNCE', message = ''", 'action.message: "" is no such text'),
        ("type = 'BOUNCE', text = 'x'", "action.text: there is no such key"),
        ("type = 'DROP', message = 'x'", "action.message: there is no such key; allowed: type"),
        ("type = 'ADD_HEADER', name = 'Subject', value = 'x'", 'action.name: "Subject" cannot be added; allowed: X-*'),
        ("type = 'ADD_HEADER', name = 'X-SES-Tag', value = 'x'", 'action.name: "X-SES-Tag" cannot be added'),
        ("type = 'ADD_HEADER', name = 'x-sluice-lane', value = 'x'", 'action.name: "x-sluice-lane" cannot be added'),
        ('type = "ADD_HEADER", name = "X-A", value = "a\\r\\nBcc: b"', "action.value: cannot stand in a header"),
        ("type = 'ADD_HEADER', name = 'X-A', value = 'ü'", "action.value: cannot stand in a header"),
        ("type = 'ADD_HEADER', name = 'X-A'", "action.value: is missing"),
        ("type = 'REPLACE_RECIPIENT', addresses = ['Bob <bob@example.com>']", "allowed: one address without a name"),
        ("type = 'REPLACE_RECIPIENT', addresses = []", "action.addresses: has none that can be used"),
        ("type = 'TEE'", "action.address: has none that can be used"),
        ("type = 'TEE', address = 'a@b.example, c@d.example'", "allowed: one address without a name"),
        ("type = 'ARCHIVE', archive = '-x'", 'action.archive: "-x" is no such name'),
        ("type = 'LANE'", "action.lane: is missing; allowed: bulk, express"),
        ("type = 'ROUTE', route = 'third'", 'action.route: "third" is unknown; allowed: main, second'),
        ("type = 'CONFIGURATION_SET', name = 'a b'", 'action.name: "a b" is no such name'),
        ("type = 'TAGS', tags = {}", "action.tags: must be a table of 1 to 48 tags"),
        ("type = 'TAGS', tags = { a = 'b c' }", "action.tags: 'a' is no tag of SES"),
        ("type = 'TAGS', tags = { a = 1 }", "action.tags: is no table of texts"),
        ("type = 'STOP', lane = 'bulk'", "action.lane: there is no such key"),
        ("type = 'RUN_LAMBDA'", "action.function: is missing"),
        ("type = 'RUN_LAMBDA', function = 'file:nowhere.py:handler'", "action.function: there is no file"),
        (
            "type = 'RUN_LAMBDA', function = 'arn:x'",
            "action.function: 'arn:x' names no function; allowed: ",
        ),
        ("type = 'RUN_LAMBDA', function = 'f', timeout_seconds = 16", "action.timeout_seconds: 16 is not within"),
        (
            "type = 'RUN_LAMBDA', function = 'f', mode = 'async', fallback = 'DROP'",
            "action.fallback: there is no",
        ),
        ("type = 'RUN_LAMBDA', function = 'f', environment = {}", "action.environment: there is no such key"),
        ("type = 'RUN_LAMBDA', function = 'python:a.b', environment = { 'a b' = 'c' }", "'a b' is no variable"),
        ("type = 'RUN_LAMBDA', function = 'f', concurrency = 1.5", "action.concurrency: 1.5 is no whole number"),
        ("type = 'RUN_LAMBDA', function = 'f', concurrency = true", "action.concurrency: True is not within"),
        ("type = 'RUN_LAMBDA', function = 'python:a.b', memory_megabytes = 31", "action.memory_megabytes: 31 is not"),
    ],
)
def test_an_action_that_cannot_be_carried_out_is_told(action, mistake, tmp_path):
    found = mistakes_of(tmp_path, rule_with("", f"action = {{ {action} }}"))
    assert any(mistake in one for one in found), found


@pytest.mark.parametrize(
    ("action", "key"),
    [
        ("type = 'MOVE_TO_JUNK'", "type"),
        ("type = 'BYPASS_SPAM_CHECK'", "type"),
        ("type = 'RUN_LAMBDA', function = 'f', fallback = 'MOVE_TO_JUNK'", "fallback"),
    ],
)
def test_outbound_mail_has_no_junk_folder(action, key, tmp_path):
    (mistake,) = mistakes_of(tmp_path, rule_with("direction = 'OUTBOUND'", f"action = {{ {action} }}"))
    assert f"(1), action.{key}: " in mistake
    for direction in ("direction = 'INBOUND'", ""):
        some_rules(tmp_path, rule_with(direction, f"action = {{ {action} }}"))


def test_limits_of_a_function_that_runs_beside_the_mail(tmp_path):
    text = "action = { type = 'RUN_LAMBDA', function = 'f', mode = 'async', timeout_seconds = 900 }"
    (rule,) = some_rules(tmp_path, rule_with("", text)).rules
    assert isinstance(rule.disposal, RunLambda)
    assert rule.disposal.function.timeout_seconds == 900
    (rule,) = some_rules(tmp_path, rule_with("", text.replace(", timeout_seconds = 900", ""))).rules
    assert isinstance(rule.disposal, RunLambda)
    assert rule.disposal.function.timeout_seconds == 60


def test_a_missing_file_is_a_mistake_that_says_so(tmp_path):
    with pytest.raises(RulesRefused) as refused:
        read_rules(tmp_path / "none.toml", Known.of(SETTINGS))
    assert refused.value.mistakes == (f"{tmp_path / 'none.toml'}: there is no such file",)
    with pytest.raises(RulesRefused, match="cannot be read"):
        read_rules(tmp_path, Known.of(SETTINGS))


@pytest.mark.parametrize(("typo", "meant"), [("acton", "action"), ("acttions", "actions")])
def test_an_action_that_is_mistyped_is_one_mistake(typo, meant, tmp_path):
    found = mistakes_of(tmp_path, f'[[rule]]\nname = "a"\n{typo} = {{ type = "DROP" }}')
    assert found == (f'rules.toml: rule "a" (1), {typo}: there is no such key; did you mean {meant}?',)


def test_an_action_that_is_missing_is_told_beside_another_key_that_is_unknown(tmp_path):
    found = mistakes_of(tmp_path, '[[rule]]\nname = "a"\nsnders = "*"')
    assert [one.partition("(1), ")[2].partition(":")[0] for one in found] == ["action", "snders"]


@pytest.mark.parametrize("name", ["", " a", "a ", "a\\nb", "x" * 65, "\\u202e"])
def test_a_name_is_one_printable_line(name, tmp_path):
    found = mistakes_of(tmp_path, f'[[rule]]\nname = "{name}"\naction = {{ type = "DROP" }}')
    assert any(", name: " in one for one in found)
    assert all(one.isprintable() for one in found)


def test_without_named_routes_there_is_one():
    assert Known.of(Settings()).routes == {"default"}
