"""Updates by functions: who gets which bytes when several functions, a redirect or a kill come together."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import RunningUp

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

FUNCTIONS = '''
import os, pathlib, time, uuid
import boto3

flow, s3 = boto3.client("workmailmessageflow"), boto3.client("s3")
DEFAULT = {"actions": [{"action": {"type": "DEFAULT"}, "allRecipients": True}]}

def put(event, header):
    raw = flow.get_raw_message_content(messageId=event["messageId"])["messageContent"].read()
    key = str(uuid.uuid4())
    s3.put_object(Bucket="updated", Key=key, Body=header.encode() + b"\\n" + raw)
    flow.put_raw_message_content(
        messageId=event["messageId"], content={"s3Reference": {"bucket": "updated", "key": key}})

def handler(event, context):
    put(event, os.environ["HEADER"])
    return DEFAULT

def frozen(event, context):
    try:
        put(event, os.environ["HEADER"])
    except flow.exceptions.MessageFrozen:
        print("it is frozen")
    return DEFAULT

def waits_for_a_sign(event, context):
    """Puts, leaves a mark, and answers when the sign is there."""
    put(event, os.environ["HEADER"])
    folder = pathlib.Path(os.environ["FOLDER"])
    with (folder / "invocations").open("a") as file:
        file.write(event["invocationId"] + "\\n")
    while not (folder / "sign").exists():
        time.sleep(0.05)
    return DEFAULT
'''

RULES = """
[[rule]]
name = "a"
recipients = ["a.example"]
action = { type = "RUN_LAMBDA", function = "file:functions.py:handler", environment = { HEADER = "X-Told: a" } }

[[rule]]
name = "b"
recipients = ["b.example"]
action = { type = "RUN_LAMBDA", function = "file:functions.py:handler", environment = { HEADER = "X-Told: b" } }

[[rule]]
name = "redirect"
recipients = ["redirected.example"]
action = { type = "REPLACE_RECIPIENT", addresses = ["new@elsewhere.example"] }

[[rule]]
name = "frozen"
recipients = ["redirected.example"]
action = { type = "RUN_LAMBDA", function = "file:functions.py:frozen", environment = { HEADER = "X-Told: frozen" } }

[[rule]]
name = "waits"
recipients = ["waits.example"]
[rule.action]
type = "RUN_LAMBDA"
function = "file:functions.py:waits_for_a_sign"
environment = { HEADER = "X-Told: waits", FOLDER = "FOLDER_OF_THE_TEST" }
timeout_minutes = 5
fallback = "DROP"
"""
MAIL = "From: app@example.com\r\nTo: all@example.com\r\nSubject: hello\r\n\r\n" + "Hello.\r\n" * 30_000


@pytest.fixture
def up(tmp_path: Path) -> Iterator[RunningUp]:
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    (tmp_path / "rules.toml").write_text(RULES.replace("FOLDER_OF_THE_TEST", str(tmp_path)))
    with RunningUp(rules_file=tmp_path / "rules.toml") as running:
        yield running


def told(up: RunningUp, address: str) -> list[bytes]:
    """The X-Told headers of the one mail that this recipient got."""
    calls = up.wait_until(
        lambda: [one for one in up.ledger() if address in one["destinations"]], f"{address} has mail", seconds=60
    )
    assert len(calls) == 1
    head, _, body = up.fetch("simulator", f"/messages/{calls[0]['ses_message_id']}")[1].partition(b"\r\n\r\n")
    assert body == b"Hello.\r\n" * 30_000
    return [line for line in head.split(b"\r\n") if line.startswith(b"X-Told")]


def test_each_function_changes_the_mail_of_its_own_recipients_only(up: RunningUp) -> None:
    up.send("app@example.com", ["1@a.example", "2@b.example", "3@c.example", "4@a.example"], MAIL)
    assert told(up, "1@a.example") == told(up, "4@a.example") == [b"X-Told: a"]
    assert told(up, "2@b.example") == [b"X-Told: b"]
    assert told(up, "3@c.example") == []


def test_a_redirected_message_is_frozen(up: RunningUp) -> None:
    up.send("app@example.com", ["x@redirected.example"], MAIL)
    assert told(up, "new@elsewhere.example") == []
    up.wait_until(lambda: up.log_lines("function.output"), "what it printed is in the log")
    assert [line["line"] for line in up.log_lines("function.output")] == ["it is frozen"]


def test_a_worker_killed_while_its_function_runs_costs_a_try_and_no_second_update(
    up: RunningUp, tmp_path: Path
) -> None:
    invocations = tmp_path / "invocations"
    up.send("app@example.com", ["x@waits.example"], MAIL)
    up.wait_until(lambda: invocations.exists() and invocations.read_text(), "the function runs")
    up.wait_until_back("worker", up.kill("worker"))
    up.end_leases()
    up.wait_until(lambda: len(invocations.read_text().split()) >= 2, "it is asked again")
    assert up.ledger() == []
    (tmp_path / "sign").touch()
    assert told(up, "x@waits.example") == [b"X-Told: waits"]
    assert len(set(invocations.read_text().split())) == 1
