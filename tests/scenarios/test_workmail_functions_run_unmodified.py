"""Functions as they are written for Amazon WorkMail, with boto3 and AWS_ENDPOINT_URL_…, in the whole line.

Their shape is that of the public WorkMail Lambda templates: LF-only updates, "true" as text, empty lists, errors on
purpose. S3 is moto's, so that nothing of ours is between the function and its bucket.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.running import RunningUp

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

UPDATE_EMAIL = """
import email, os, uuid
import boto3

workmail_message_flow = boto3.client("workmailmessageflow")
s3 = boto3.client("s3")

def update_handler(event, context):
    print("received", event["messageId"], context.aws_request_id)
    message_id = event["messageId"]
    from_domain = event["envelope"]["mailFrom"]["address"].split("@")[1]
    if all(one["address"].split("@")[1] == from_domain for one in event["envelope"]["recipients"]):
        return {"actions": [{"action": {"type": "DEFAULT"}, "allRecipients": "true"}]}
    raw = workmail_message_flow.get_raw_message_content(messageId=message_id)
    parsed = email.message_from_bytes(raw["messageContent"].read())
    parsed.replace_header("Subject", "[External] " + parsed["Subject"])
    for part in parsed.walk():
        if part.get_content_type() == "text/plain":
            part.set_payload(part.get_payload() + "\\nDISCLAIMER\\n")
    key = str(uuid.uuid4())
    s3.put_object(Body=parsed.as_bytes(), Bucket=os.environ["UPDATED_EMAIL_BUCKET"], Key=key)
    reference = {"s3Reference": {"bucket": os.environ["UPDATED_EMAIL_BUCKET"], "key": key}}
    try:
        workmail_message_flow.put_raw_message_content(messageId=message_id, content=reference)
    except workmail_message_flow.exceptions.MessageFrozen:
        print("frozen")
    return {"actions": [{"action": {"type": "DEFAULT"}, "allRecipients": "true"}]}
"""

GATEWAY_FILTER = """
import email, os, re
import boto3

def handler(event, context):
    flow = boto3.client("workmailmessageflow")
    raw = flow.get_raw_message_content(messageId=event["messageId"])["messageContent"].read()
    value = email.message_from_bytes(raw)[os.environ["FILTER_HEADER_NAME"]] or ""
    kind = "MOVE_TO_JUNK" if re.search(os.environ["FILTER_HEADER_REGEX"], value) else "BYPASS_SPAM_CHECK"
    return {"actions": [{"allRecipients": True, "action": {"type": kind}}]}
"""

RESTRICTED = """
import os

def handler(event, context):
    recipients = [one["address"] for one in event["envelope"]["recipients"]]
    restricted = [one for one in recipients if one.startswith("restricted")]
    secret = [one for one in recipients if one.startswith("secret")]
    return {"actions": [
        {"recipients": restricted, "action": {"type": "BOUNCE", "parameters": {"bounceMessage": "Not for you."}}},
        {"recipients": secret, "action": {"type": "DROP"}},
        {"recipients": [os.environ["REPORT_MAILBOX_ADDRESS"]], "allRecipients": True, "action": {"type": "DEFAULT"}},
    ]}
"""

STATE_MACHINE = '''
import os, pathlib, uuid
import boto3

def handler(event, context):
    """Raises until its execution is done; until then it also leaves a half-made update behind."""
    flow, s3 = boto3.client("workmailmessageflow"), boto3.client("s3")
    raw = flow.get_raw_message_content(messageId=event["messageId"])["messageContent"].read()
    with open(os.environ["EXECUTIONS"], "a") as executions:
        executions.write(f"{event['invocationId']} {raw.count(b'X-Try')}\\n")
    key = str(uuid.uuid4())
    s3.put_object(Body=b"X-Try: 1\\r\\n" + raw, Bucket="updated", Key=key)
    flow.put_raw_message_content(
        messageId=event["messageId"], content={"s3Reference": {"bucket": "updated", "key": key}})
    if len(pathlib.Path(os.environ["EXECUTIONS"]).read_text().splitlines()) < 2:
        raise Exception("the execution is RUNNING")
    return {"actions": [{"allRecipients": "True", "action": {"type": "DEFAULT"}}]}
'''

HELLO_WITHOUT_ITS_VARIABLE = """
import os

def handler(event, context):
    if not os.getenv("UPDATED_EMAIL_S3_BUCKET"):
        print("UPDATED_EMAIL_S3_BUCKET not set")
        return
"""

RULES = """
[[rule]]
name = "update-email"
senders = ["update.example"]
[rule.action]
type = "RUN_LAMBDA"
function = "file:update_email.py:update_handler"
environment = { UPDATED_EMAIL_BUCKET = "updated" }
timeout_minutes = 5
fallback = "BOUNCE"

[[rule]]
name = "filter"
direction = "INBOUND"
senders = ["filter.example"]
[rule.action]
type = "RUN_LAMBDA"
function = "file:gateway_filter.py:handler"
environment = { FILTER_HEADER_NAME = "X-Upstream", FILTER_HEADER_REGEX = "spam" }

[[rule]]
name = "restricted"
senders = ["restricted.example"]
[rule.action]
type = "RUN_LAMBDA"
function = "file:restricted.py:handler"
environment = { REPORT_MAILBOX_ADDRESS = "report@house.example" }

[[rule]]
name = "state-machine"
senders = ["state.example"]
[rule.action]
type = "RUN_LAMBDA"
function = "file:state_machine.py:handler"
environment = { EXECUTIONS = "EXECUTIONS_FILE" }
timeout_minutes = 5
fallback = "DROP"

[[rule]]
name = "hello"
senders = ["hello.example"]
[rule.action]
type = "RUN_LAMBDA"
function = "file:hello.py:handler"
fallback = "DROP"
"""


@pytest.fixture
def bucket_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=url)
    client.create_bucket(Bucket="updated")
    client.close()
    yield url
    server.stop()


@pytest.fixture
def up(tmp_path: Path, bucket_url: str) -> Iterator[RunningUp]:
    for name, text in (
        ("update_email", UPDATE_EMAIL),
        ("gateway_filter", GATEWAY_FILTER),
        ("restricted", RESTRICTED),
        ("state_machine", STATE_MACHINE),
        ("hello", HELLO_WITHOUT_ITS_VARIABLE),
    ):
        (tmp_path / f"{name}.py").write_text(text)
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES.replace("EXECUTIONS_FILE", str(tmp_path / "executions")))
    environ = {"AWS_ENDPOINT_URL_S3": bucket_url}
    with RunningUp(environ=environ, rules_file=rules, smtp_local_domains="house.example") as running:
        yield running


def mail(domain: str, *lines: str) -> str:
    head = (f"From: Ann <ann@{domain}>", "To: you@elsewhere.example", "Subject: hello", *lines)
    return "\r\n".join((*head, f"Message-ID: <1@{domain}>", "Date: Mon, 1 Jan 2029 00:00:00 +0000", "", "Hello.", ""))


def states(up: RunningUp, message_id: str) -> dict[str, str]:
    """Address → state, as `show` tells it."""
    shown = up.run("show", message_id, "--json")
    assert shown.returncode == 0, shown.stderr
    return {one["address"]: one["state"] for one in json.loads(shown.stdout)["recipients"]}


def sent_to(up: RunningUp, address: str, count: int = 1, *, seconds: float = 60) -> bytes:
    """The bytes that the simulated SES took for a recipient, who got exactly so many mails."""

    def calls() -> list[dict[str, object]]:
        return [one for one in up.ledger() if address in one["destinations"]]

    up.wait_until(lambda: len(calls()) >= count, f"{address} has got the mail", seconds=seconds)
    assert len(calls()) == count
    status, raw = up.fetch("simulator", f"/messages/{calls()[0]['ses_message_id']}")
    assert status == 200
    return raw


def test_update_email_changes_subject_and_body_for_everybody(up: RunningUp, bucket_url: str) -> None:
    client = boto3.client("s3", endpoint_url=bucket_url)
    before = client.list_objects_v2(Bucket="updated")["KeyCount"]
    up.send("ann@update.example", ["you@elsewhere.example", "me@elsewhere.example"], mail("update.example"))
    raw = sent_to(up, "you@elsewhere.example")
    assert sent_to(up, "me@elsewhere.example") == raw
    assert b"\r\nSubject: [External] hello\r\n" in raw
    assert raw.endswith(b"Hello.\r\n\r\nDISCLAIMER\r\n")
    assert raw.count(b"\n") == raw.count(b"\r\n")
    assert b"From: Ann <ann@update.example>\r\n" in raw
    assert client.list_objects_v2(Bucket="updated")["KeyCount"] == before + 1
    client.close()
    up.wait_until(lambda: up.log_lines("function.output"), "what the function printed is in the log")


def test_a_filter_moves_inbound_mail_to_junk_or_past_the_spam_check(up: RunningUp) -> None:
    up.send("x@filter.example", ["ann@house.example"], mail("filter.example", "X-Upstream: spam, surely"))
    up.send("x@filter.example", ["bob@house.example"], mail("filter.example", "X-Upstream: clean"))
    up.send("x@filter.example", ["you@elsewhere.example"], mail("filter.example", "X-Upstream: spam"))
    junk, clean = sent_to(up, "ann@house.example"), sent_to(up, "bob@house.example")
    assert b"X-Sluice-Action: MOVE_TO_JUNK\r\n" in junk
    assert b"X-Spam-Flag: YES\r\n" in junk
    assert b"X-Spam-Flag: NO\r\n" in clean
    assert b"X-Spam-Flag" not in sent_to(up, "you@elsewhere.example")


def test_a_restricted_group_bounces_drops_and_reports(up: RunningUp) -> None:
    recipients = ["restricted@elsewhere.example", "secret@elsewhere.example", "you@elsewhere.example"]
    message_id = up.send("ann@restricted.example", recipients, mail("restricted.example"))
    assert sent_to(up, "report@house.example") == sent_to(up, "you@elsewhere.example")
    assert b"Not for you." in sent_to(up, "ann@restricted.example")
    unfinished = {"waiting", "sending"}
    up.wait_until(lambda: not unfinished & set(states(up, message_id).values()), "everybody has an end")
    assert states(up, message_id) == {
        "restricted@elsewhere.example": "rejected",
        "secret@elsewhere.example": "dropped",
        "you@elsewhere.example": "sent",
        "report@house.example": "sent",
    }
    wanted = {"sluice:RuleApplied", "sluice:Bounced"}
    up.wait_until(lambda: {event.get("eventType") for event in up.events()} >= wanted, "the events tell it")


def test_a_function_that_raises_is_asked_again_with_the_same_id_and_the_mail_as_it_came(
    up: RunningUp, tmp_path: Path
) -> None:
    up.send("ann@state.example", ["you@elsewhere.example"], mail("state.example"))
    raw = sent_to(up, "you@elsewhere.example")
    assert raw.count(b"X-Try: 1") == 1, "the update of the try that failed is forgotten"
    tries = [line.split() for line in (tmp_path / "executions").read_text().splitlines()]
    assert len(tries) == 2
    assert len({invocation_id for invocation_id, _ in tries}) == 1
    assert len(tries[0][0]) == 32
    assert [number for _, number in tries] == ["0", "0"]


def test_no_answer_is_a_failure_and_the_fallback_decides(up: RunningUp) -> None:
    message_id = up.send("ann@hello.example", ["you@elsewhere.example"], mail("hello.example"))
    up.wait_until(lambda: states(up, message_id) == {"you@elsewhere.example": "dropped"}, "the fallback has decided")
    assert up.ledger() == []
