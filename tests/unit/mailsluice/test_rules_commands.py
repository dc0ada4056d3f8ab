"""`mailsluice rules`: what it prints, and that it needs nothing but the files."""

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from config.errors import Refused
from config.settings import Settings
from mailsluice import rules_checking, rules_testing
from mailsluice.rules_testing import Trial

RULES = """
[[rule]]
name = "team"
conditions = { attribute = "SUBJECT", operator = "CONTAINS", values = "invoice" }
actions = [
  { type = "ADD_HEADER", name = "X-Team", value = "a" },
  { type = "LANE", lane = "bulk" },
  { type = "ROUTE", route = "default" },
  { type = "CONFIGURATION_SET", name = "news" },
  { type = "TAGS", tags = { campaign = "may" } },
  { type = "ARCHIVE", archive = "all" },
  { type = "TEE", address = "copy@kept.example" },
]

[[rule]]
name = "no"
recipients = "dan@partner.example"
action = { type = "BOUNCE", message = "Not to him." }

[[rule]]
name = "ask"
senders = "*.example.com"
recipients = "*.partner.example"
action = { type = "RUN_LAMBDA", function = "file:app.py:handler" }

[[rule]]
name = "junk"
direction = "INBOUND"
action = { type = "MOVE_TO_JUNK" }
"""
FUNCTION = """
def handler(event, context):
    print("asked about", len(event["envelope"]["recipients"]))
    if event["subject"] == "fail: invoice":
        raise RuntimeError("not today")
    if event["subject"] == "null: invoice":
        return None
    bounce = {"type": "BOUNCE", "parameters": {"bounceMessage": "No " + event["flowDirection"]}}
    return {"actions": [
        {"action": bounce, "recipients": ["bob@partner.example"]},
        {"action": {"type": "DEFAULT"}, "recipients": ["new@other.example"], "allRecipients": "true"},
    ]}
"""
BOB, DAN, EVE = "bob@partner.example", "dan@partner.example", "eve@a.partner.example"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.toml").write_text(RULES)
    (tmp_path / "app.py").write_text(FUNCTION)
    (tmp_path / "mail.eml").write_text("From: App <app@shop.example.com>\nSubject: invoice\n\nHello\n")
    return tmp_path


def settings_of(folder: Path, **sections: object) -> Settings:
    return Settings.model_validate({"rules": {"file": folder / "rules.toml"}, "data": {"dir": folder}, **sections})


def tried(folder, capsys, *recipients, subject="invoice", settings=None, as_json=True, **trial):
    (folder / "mail.eml").write_text(f"From: App <app@shop.example.com>\nSubject: {subject}\n\nHello\n")
    wanted = Trial(folder / "mail.eml", "app@example.com", recipients, **trial)
    settings = settings or settings_of(folder)
    assert rules_testing.run(settings, wanted, None, is_invoking=False, as_json=as_json) == 0
    said = capsys.readouterr().out
    return json.loads(said) if as_json else said


def test_a_right_file_is_counted(folder, capsys):
    assert rules_checking.run(settings_of(folder), None) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("rules.toml is right: version " + lines[0].split()[-3] + " 4 rules")
    assert lines[1:] == [
        "  INBOUND   4 rules",
        "  OUTBOUND  3 rules",
        "  1 rule with a function",
        "  note: [smtp] local_domains is empty, so no mail is INBOUND",
        '  note: ARCHIVE ("team") only names an archive; nothing is archived yet',
    ]
    assert rules_checking.run(settings_of(folder, smtp={"local_domains": "example.com"}), None) == 0
    assert "local_domains" not in capsys.readouterr().out


def test_only_rules_that_use_archive_are_told_that_there_is_none(folder, capsys):
    archiving = '[[rule]]\nname = "keep {}"\naction = {{ type = "ARCHIVE", archive = "all" }}\n'
    (folder / "rules.toml").write_text("".join(archiving.format(number) for number in range(7)))
    assert rules_checking.run(settings_of(folder), None) == 0
    assert '("keep 0", "keep 1", "keep 2", "keep 3", "keep 4" and 2 other rules)' in capsys.readouterr().out
    (folder / "rules.toml").write_text('[[rule]]\nname = "a"\naction = { type = "DROP" }\n')
    assert rules_checking.run(settings_of(folder), None) == 0
    assert "ARCHIVE" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("unknown", "mapped", "is_noted"),
    [
        ("confirm", "own-set", True),
        ("confirm", "other", False),
        ("resend", "own-set", False),
        ("auto", "own-set", False),
    ],
)
def test_a_set_whose_events_nobody_reads_is_noted_where_they_confirm_calls(unknown, mapped, is_noted, folder, capsys):
    own = '[[rule]]\nname = "own"\naction = { type = "CONFIGURATION_SET", name = "own-set" }\n'
    (folder / "rules.toml").write_text(own)
    settings = settings_of(folder, relay={"unknown": unknown, "configuration_sets": {mapped: "of-ses"}})
    assert rules_checking.run(settings, None) == 0
    assert ('note: CONFIGURATION_SET ("own"): [relay]' in capsys.readouterr().out) is is_noted


def test_every_mistake_of_another_file_is_printed(folder, capsys):
    wrong = folder / "wrong.toml"
    wrong.write_text('[[rule]]\nname = "a"\nfrom = "x"\naction = { type = "LANE", lane = "slow" }\n')
    assert rules_checking.run(settings_of(folder), wrong) == 1
    said = capsys.readouterr()
    keys = (
        "name, direction, senders, recipients, conditions, unless_senders, unless_recipients, unless, action, actions"
    )
    assert said.out == ""
    assert said.err.splitlines() == [
        'wrong.toml: rule "a" (1), action.lane: "slow" is unknown; allowed: bulk, express',
        f'wrong.toml: rule "a" (1), from: there is no such key; allowed: {keys}',
        "2 mistakes",
    ]


def test_without_a_file_it_says_how_to_name_one():
    with pytest.raises(Refused, match=r"SLUICE_RULES_FILE"):
        rules_checking.run(Settings(), None)


def test_each_recipient_has_its_action_and_the_reason(folder, capsys):
    found = tried(folder, capsys, BOB, DAN, EVE)
    bob, dan, eve, copy = found["recipients"]
    assert (bob["action"], bob["rule"], bob["direction"]) == ("RUN_LAMBDA", "ask", "OUTBOUND")
    assert bob["because"] == "header From matches *.example.com; recipient matches *.partner.example"
    assert (bob["lane"], bob["route"], bob["configuration_set"]) == ("bulk", "default", "news")
    assert (bob["headers"], bob["tags"], bob["archives"]) == ([["X-Team", "a"]], {"campaign": "may"}, ["all"])
    assert (dan["action"], dan["rule"]) == ("RUN_LAMBDA", "ask")
    assert eve["action"] == "RUN_LAMBDA"
    assert (copy["address"], copy["action"], copy["rule"], copy["is_added"]) == (
        *("copy@kept.example", "DEFAULT", "team", True),
    )
    (call,) = found["calls"]
    assert call["recipients"] == [BOB, DAN, EVE]
    assert call["function"] == f"file:{(folder / 'app.py').resolve()}:handler"
    assert call["was_called"] is False


def test_without_a_match_all_is_ordinary(folder, capsys):
    found = tried(folder, capsys, "x@third.example", subject="other")
    (only,) = found["recipients"]
    assert (only["action"], only["rule"], only["because"], only["applied"]) == ("DEFAULT", "", "no rule matches", [])


def test_people_read_the_same(folder, capsys):
    said = tried(folder, capsys, BOB, as_json=False)
    assert f"\n{BOB}\n  action   RUN_LAMBDA, OUTBOUND\n  rule     ask\n  because  header From matches" in said
    for line in ("lane     bulk", "route    default", "set      news", "tag      campaign=may", "header   X-Team: a"):
        assert f"\n  {line}\n" in said
    assert "\n  archive  all\n" in said
    assert "copy@kept.example (added)" in said
    assert "would be asked (--invoke asks it) by rule ask, sync, about 1 recipient; fallback DEFAULT" in said


def test_inbound_mail_is_judged_as_such(folder, capsys):
    settings = settings_of(folder, smtp={"local_domains": ["local.example"]})
    (only, *_) = tried(folder, capsys, "amy@local.example", settings=settings)["recipients"]
    assert (only["direction"], only["action"]) == ("INBOUND", "MOVE_TO_JUNK")
    assert only["headers"][1:] == [["X-Sluice-Action", "MOVE_TO_JUNK"], ["X-Spam-Flag", "YES"]]


def test_user_and_source_can_be_said(folder, capsys):
    (folder / "rules.toml").write_text(
        '[[rule]]\nname = "a"\nconditions = [ { attribute = "SMTP_USER", operator = "EQUALS", values = "shop" },\n'
        '{ attribute = "SOURCE_IP", operator = "CIDR_MATCHES", values = "192.0.2.0/24" } ]\n'
        'action = { type = "DROP" }\n'
    )
    assert tried(folder, capsys, BOB)["recipients"][0]["action"] == "DEFAULT"
    found = tried(folder, capsys, BOB, user="shop", source_ip="192.0.2.9")
    assert found["recipients"][0]["because"] == 'SMTP_USER EQUALS "shop" and SOURCE_IP CIDR_MATCHES 192.0.2.0/24'


def mailsluice(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-P", "-m", "mailsluice", *arguments)
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def invoked(folder: Path, *recipients: str, subject: str) -> dict[str, Any]:
    (folder / "mail.eml").write_text(f"From: App <app@shop.example.com>\nSubject: {subject}\n\nHello\n")
    to = [word for address in recipients for word in ("--to", address)]
    options = ("--from", "app@example.com", *to, "--rules", "rules.toml", "--invoke", "--json")
    said = mailsluice("rules", "test", "mail.eml", *options, cwd=folder)
    assert said.returncode == 0, said.stderr
    assert "asked about" in said.stderr
    return json.loads(said.stdout)


def test_invoke_asks_the_function_and_says_what_follows(folder):
    found = invoked(folder, BOB, EVE, subject="invoice")
    fates = {one["address"]: (one["action"], one["text"], one["lane"]) for one in found["recipients"]}
    assert fates == {
        BOB: ("BOUNCE", "No OUTBOUND", ""),
        EVE: ("DEFAULT", "", "bulk"),
        "copy@kept.example": ("DEFAULT", "", "bulk"),
        "new@other.example": ("DEFAULT", "", "bulk"),
    }
    (call,) = found["calls"]
    assert call["was_called"] is True
    assert json.loads(call["answer"])["actions"]


@pytest.mark.parametrize(("subject", "error"), [("fail: invoice", "not today"), ("null: invoice", "null")])
def test_a_function_that_fails_shows_its_error_and_the_fallback(subject, error, folder):
    found = invoked(folder, EVE, subject=subject)
    assert error in found["calls"][0]["error"]
    assert found["recipients"][0]["action"] == "DEFAULT"
    assert found["recipients"][0]["because"].startswith("fallback: ")


def test_a_message_that_is_not_there_is_told(folder):
    with pytest.raises(Refused, match=r"nowhere\.eml cannot be read"):
        rules_testing.run(
            settings_of(folder), Trial(folder / "nowhere.eml", "", (BOB,)), None, is_invoking=False, as_json=False
        )


def test_nothing_reaches_the_terminal_as_it_came(folder, capsys):
    with pytest.raises(Refused, match=r'--to "\\x1b\[31mx@third.example" is no address'):
        tried(folder, capsys, "\x1b[31mx@third.example")
    said = "\n".join(rules_testing.told({"version": "", "recipients": [], "calls": [{**CALL, "answer": "\x1b[31m"}]}))
    assert "\x1b" not in said
    assert "answer   \\x1b[31m" in said


CALL = {"function": "f", "was_called": True, "rule": "a", "mode": "async", "recipients": [BOB], "error": ""}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--to", "not an address"), '--to "not an address" is no address; allowed: one address'),
        (("--to", "bob@[192.0.2.1]"), '--to "bob@[192.0.2.1]" is no address; allowed: one address'),
        (("--from", "nobody"), '--from "nobody" is no address; allowed: one address'),
        (("--source-ip", "foo"), '--source-ip "foo" is no IP address; allowed: one such as 192.0.2.1'),
    ],
)
def test_what_is_no_address_is_refused(options, said, folder):
    some = ("--from", "app@example.com", "--to", BOB, *options)
    tested = mailsluice("rules", "test", "mail.eml", *some, "--rules", "rules.toml", cwd=folder)
    assert (tested.returncode, tested.stdout) == (2, "")
    assert said in tested.stderr
    assert "Traceback" not in tested.stderr


def test_a_message_of_short_lines_takes_few_times_its_size(folder, capsys):
    lines = b"From: app@example.com\n\n" + b"a\n" * 1_000_000
    (folder / "short.eml").write_bytes(lines)
    tracemalloc.start()
    try:
        trial = Trial(folder / "short.eml", "", (BOB,))
        rules_testing.run(settings_of(folder), trial, None, is_invoking=False, as_json=True)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8 * len(lines)


def test_the_command_line_takes_it_all(folder):
    options = ("--from", "<>", "--to", BOB, "--to", DAN, "--user", "shop", "--source-ip", "192.0.2.1", "--json")
    said = mailsluice("rules", "test", "mail.eml", *options, "--rules", "rules.toml", cwd=folder)
    assert said.returncode == 0, said.stderr
    assert [one["address"] for one in json.loads(said.stdout)["recipients"]] == [BOB, DAN, "copy@kept.example"]
    assert not (folder / "var").exists()


def test_the_command_line_says_what_is_wrong_with_the_rules(folder):
    (folder / "rules.toml").write_text("[[rule]]\n")
    checked = mailsluice("rules", "check", "rules.toml", cwd=folder)
    assert (checked.returncode, checked.stdout) == (1, "")
    assert checked.stderr.splitlines()[-1] == "2 mistakes"
    tested = mailsluice("rules", "test", "mail.eml", "--from", "a@b", "--to", BOB, "--rules", "rules.toml", cwd=folder)
    assert tested.returncode == 2
    assert "rules.toml: rule (1), name: is missing" in tested.stderr
    assert "Traceback" not in tested.stderr
