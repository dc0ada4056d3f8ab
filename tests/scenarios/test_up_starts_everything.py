"""`mailsluice up`: the two commands of a first day, as real processes."""

import json
import os
import subprocess

import pytest

from tests.running import RunningUp

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

CHILDREN = {"redis", "gateway", "api", "simulator", "worker", "feedback", "flower"}


def printed_line(up: RunningUp) -> str:
    return next(line for line in up.stdout.splitlines() if line.strip().startswith("python3 -c"))


def test_the_printed_line_sends_a_mail_that_is_seen_everywhere_but_in_a_real_account() -> None:
    real = {"AWS_PROFILE": "production", "AWS_SESSION_TOKEN": "real", "AWS_ENDPOINT_URL_SES": "http://192.0.2.1"}
    with RunningUp(environ=real) as up:
        assert set(up.pids()) == CHILDREN
        for name in ("smtp", "api", "simulator", "flower"):
            assert f"127.0.0.1:{up.ports[name]}" in up.stdout
        assert str(up.data_dir) in up.stdout

        subprocess.run(printed_line(up), shell=True, check=True, timeout=90)
        up.wait_until(up.ledger, "the simulator has the mail")
        assert up.ledger()[0]["destinations"] == ["you@example.com"]
        assert b"First mail" in up.fetch("simulator", "/")[1]
        up.wait_until(lambda: any(event.get("eventType") == "Send" for event in up.events()), "events.ndjson has it")
        up.wait_until(lambda: up.fetch("api", "/healthz")[0] == 200, "the api says that all is well")
        up.wait_until(lambda: up.fetch("flower", "/healthcheck")[0] == 200, "Flower is well")
        assert up.stop() == 0
        assert up.survivors() == []
        assert not (up.data_dir / "run.json").exists()


def test_a_second_start_finds_the_mail_of_the_first() -> None:
    with RunningUp() as up:
        message_id = up.send("app@example.com", ["you@example.com"], "Subject: kept\r\n\r\nkept\r\n")
        up.wait_until(up.ledger, "the simulator has the mail")
        assert up.stop() == 0
        up.start()
        shown = up.run("show", message_id, "--json")
        assert shown.returncode == 0, shown.stderr
        assert json.loads(shown.stdout)["state"] == "done"


def test_the_real_ses_without_credentials_is_a_warning_that_says_what_to_set() -> None:
    nothing = {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), ""),
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    }
    with RunningUp("--upstream", "aws", environ=nothing) as up:
        [warning] = up.log_lines("up.no_credentials")
        assert warning["level"] == "warning"
        assert "set AWS_ACCESS_KEY_ID" in warning["problem"]
        assert "simulator" not in up.pids()
        assert up.stop() == 0


def test_several_gateways_and_workers_share_the_work() -> None:
    with RunningUp("--workers", "2", smtp_processes=2) as up:
        assert {"gateway-1", "gateway-2", "worker-1", "worker-2"} <= set(up.pids())
        ids = {up.send("app@example.com", ["you@example.com"], f"Subject: {n}\r\n\r\n{n}\r\n") for n in range(20)}
        assert len(ids) == 20
        up.wait_until(lambda: len(up.ledger()) == 20, "every mail is sent once")
        assert up.stop() == 0
        assert len(up.log_lines("gateway.started")) == 2


def test_two_directories_run_side_by_side_with_other_ports() -> None:
    with RunningUp() as one, RunningUp() as other:
        one.send("app@example.com", ["one@example.com"], "Subject: one\r\n\r\none\r\n")
        other.send("app@example.com", ["other@example.com"], "Subject: other\r\n\r\nother\r\n")
        for up, recipient in ((one, "one@example.com"), (other, "other@example.com")):
            up.wait_until(lambda up=up: up.ledger(), "the mail is sent")
            assert [line["destinations"] for line in up.ledger()] == [[recipient]]
