"""What `mailsluice show` tells of a real message that rules and a function decided about."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from spool.states import Place
from tests.line import Line, wait_until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

RULES = """
[[rule]]
name = "spam"
recipients = ["spam.example"]
action = { type = "DROP" }

[[rule]]
name = "closed"
recipients = ["closed.example"]
action = { type = "BOUNCE", message = "This mailbox is closed." }

[[rule]]
name = "team"
recipients = ["partner.example"]
actions = [{ type = "ADD_HEADER", name = "X-Team", value = "a" }, { type = "LANE", lane = "bulk" }]

[[rule]]
name = "slow"
recipients = ["asked.example"]
action = { type = "RUN_LAMBDA", mode = "sync", function = "file:failing.py:handler", timeout_minutes = 60 }
"""
TO = ["a@spam.example", "b@closed.example", "c@partner.example", "d@asked.example", "e@example.net"]


@pytest.fixture
def line() -> Iterator[Line]:
    with Line() as line:
        (line.folder / "failing.py").write_text("def handler(event, context):\n    raise ValueError('not today')\n")
        (line.folder / "rules.toml").write_text(RULES)
        line.environment["SLUICE_RULES_FILE"] = str(line.folder / "rules.toml")
        yield line


def said(line: Line, *arguments: str) -> str:
    command = line.start(*arguments, wait=False)
    assert command.process.wait(60) == 0, command.log()
    return command.log_path.read_text("utf-8")


def shown(line: Line, *arguments: str) -> str:
    return said(line, "show", *arguments)


def told(line: Line, message_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shown(line, message_id, "--json"))
    return found


def waiting_with_error(story: dict[str, Any]) -> dict[str, Any]:
    """The story at a time when its one function has failed and will be asked again; else nothing."""
    (call,) = story["function_calls"]
    return story if call["error"] and call["state"] == "waits" else {}


def test_every_recipient_has_its_rule_and_what_waits_says_for_what(line: Line) -> None:
    line.worker()
    (message_id,) = line.submit(1, recipients=TO)
    line.wait_for([message_id], Place.PARKED)
    # It is asked again and again; every look is at a time when it waits for that.
    story = wait_until(lambda: waiting_with_error(told(line, message_id)), "the function was asked once")
    dropped, bounced, partner, asked, other = story["recipients"]
    assert (dropped["state"], dropped["action"], dropped["rule"]) == ("dropped", "DROP", "spam")
    assert "spam.example" in dropped["because"]
    assert (bounced["state"], bounced["action"], bounced["reason"]) == (
        *("rejected", "BOUNCE"),
        "This mailbox is closed.",
    )
    assert (partner["state"], partner["action"]) == ("sent", "DEFAULT")
    assert asked["state"] == "waiting"
    assert asked["rule"] == "slow"
    assert asked["waits_for_function"].endswith("failing.py:handler")
    assert (other["state"], other["rule"], other["is_added"]) == ("sent", "", False)
    assert any(part["lane"] == "bulk" and part["headers"] == ["X-Team"] for part in story["parts"])
    (call,) = story["function_calls"]
    assert call["state"] == "waits"
    assert call["tries"] >= 1
    assert call["next_at"]
    text = wait_until(lambda: "waits for function" in (found := shown(line, message_id)) and found, "it waits again")
    assert f"rules       version {story['rules_version']}" in text
    assert "DROP by rule spam" in text
    waits = "1 waits for a function: slow; next at"
    text = wait_until(lambda: waits in (found := said(line, "queue")) and found, "the queue tells it too")
    assert "1 message waits for the function of rule slow, the oldest accepted" in text
    assert f"mailsluice show {message_id} tells its error" in text
