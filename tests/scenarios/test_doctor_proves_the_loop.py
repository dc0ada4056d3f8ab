"""`mailsluice doctor` beside `mailsluice up`: from a mail to SES's events and back, as real processes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import RunningUp

README = Path(__file__).parents[2] / "README.md"

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]


def types_of(up: RunningUp, message_id: str) -> set[str]:
    """Types of the events that the file has of a message."""
    return {event["eventType"] for event in up.events() if event["mail"]["messageId"] == message_id}


def sent_as_the_readme_shows(up: RunningUp) -> str:
    """Runs the five lines of boto3 against this API; the id that they print."""
    lines = re.search(r"```python\n(import boto3\n.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert lines is not None
    text = lines[1].replace("http://127.0.0.1:2580", up.url("api").rstrip("/"))
    done = subprocess.run((sys.executable, "-c", text), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_doctor_proves_the_loop_and_an_api_client_hears_of_its_bounce() -> None:
    with RunningUp() as up:
        well = up.run("doctor", "--wait", "45")
        assert well.returncode == 0, well.stdout + well.stderr
        assert re.search(r"^feedback loop proven in \d+\.\d s$", well.stdout, re.MULTILINE)
        for event in ("Send", "Delivery", "Bounce", "Complaint"):
            assert re.search(rf"^ok +{event} +came back after", well.stdout, re.MULTILINE)
        assert "fail" not in well.stdout
        listed = up.run("suppression", "list")
        assert "doctor-" not in listed.stdout, "the addresses of the proof do not stay on the list"

        message_id = sent_as_the_readme_shows(up)
        up.wait_until(lambda: "Bounce" in types_of(up, message_id), "the Bounce is told to the application")
        bounce = next(
            one for one in up.events() if one["eventType"] == "Bounce" and one["mail"]["messageId"] == message_id
        )
        assert bounce["bounce"]["bounceType"] == "Permanent"
        (bounced,) = bounce["bounce"]["bouncedRecipients"]
        assert bounced["emailAddress"] == "bounce@simulator.amazonses.com"

        made = up.run("doctor", "--fix", "--no-send", "--json")
        assert made.returncode == 0, made.stdout + made.stderr
        told = json.loads(made.stdout)
        assert told["is_well"]
        assert told["settings_to_write"] == ["[relay]", 'ses_configuration_set = "mailsluice-feedback"']
        assert up.stop() == 0

        nobody = up.run("doctor", "--wait", "1")
        assert nobody.returncode == 1
        assert "start it: `mailsluice up`" in nobody.stdout
        assert "Traceback" not in nobody.stderr


def test_doctor_names_the_part_that_does_not_bring_events_back() -> None:
    with RunningUp(feedback_queue_url="http://127.0.0.1:9/sqs/123456789012/elsewhere") as up:
        # The operator's own queue counts, and nobody answers there: nothing comes back.
        ill = up.run("doctor", "--wait", "300", "--json")
        told = json.loads(ill.stdout)
        assert ill.returncode == 1
        assert told["proven_seconds"] is None
        failed = {one["about"]: one for one in told["findings"] if one["level"] == "fail"}
        assert "queue" in failed
        # No mail is sent, and nothing is waited for, when it is known that nothing can come.
        assert told["findings"][-1]["about"] == "proof"
        assert "left out" in told["findings"][-1]["text"]
