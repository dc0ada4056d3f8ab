"""What `mailsluice up` does when processes die, and when it is told to end."""

import os
import signal

import pytest

from mailsluice.child import FIRST_PAUSE_SECONDS
from tests.running import RunningUp

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]


def who_has_mail(up: RunningUp) -> set[str]:
    """A worker that is killed right after its call makes it again."""
    return {address for entry in up.ledger() for address in entry["destinations"]}


def test_every_child_that_is_killed_comes_back_and_mail_goes_on() -> None:
    with RunningUp() as up:
        for number, name in enumerate(("gateway", "api", "worker", "feedback", "redis", "flower"), start=1):
            old = up.kill(name)
            up.wait_until_back(name, old)
            up.wait_until(lambda: up.fetch("api", "/healthz")[0] == 200, f"healthy after the end of {name}", seconds=60)
            up.send("app@example.com", [f"{name}@example.com"], f"Subject: {name}\r\n\r\n{name}\r\n")
            up.wait_until(lambda n=number: len(who_has_mail(up)) == n, f"mail is sent after the end of {name}")
        up.wait_until_back("simulator", up.kill("simulator"))
        killed = [line["child"] for line in up.log_lines("up.child_exited") if line["reason"] == "signal SIGKILL"]
        assert killed == ["gateway", "api", "worker", "feedback", "redis", "flower", "simulator"]
        restarts = up.log_lines("up.restarting")
        assert len(restarts) == len(killed)
        assert {line["pause_seconds"] for line in restarts} == {FIRST_PAUSE_SECONDS}, "nobody waits for long"
        assert up.stop() == 0


def test_killing_the_supervisor_ends_its_children_and_the_next_one_goes_on() -> None:
    with RunningUp() as up:
        up.send("app@example.com", ["you@example.com"], "Subject: a\r\n\r\na\r\n")
        up.wait_until(up.ledger, "the mail is sent")
        up.crash()
        up.start()
        up.send("app@example.com", ["you@example.com"], "Subject: b\r\n\r\nb\r\n")
        up.wait_until(up.ledger, "the mail is sent")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_starts_ends_it_cleanly(number: signal.Signals) -> None:
    up = RunningUp()
    try:
        up.start(until_ready=False)
        up.wait_until(lambda: "redis" in up.pids(), "the first child runs")
        up.ask_to_stop(number)
        assert up.wait_until_ended() == 0, up.stderr
        assert "Traceback" not in up.stderr
    finally:
        up.close()


def test_a_second_signal_does_not_wait_for_a_frozen_child() -> None:
    with RunningUp(smtp_shutdown_grace_seconds=600) as up:
        os.kill(up.pids()["gateway"], signal.SIGSTOP)
        up.ask_to_stop(signal.SIGINT)
        up.wait_until(lambda: up.log_lines("up.stopping"), "it stops")
        up.ask_to_stop(signal.SIGINT)
        up.wait_until_ended()  # long before the grace is over
        assert up.survivors() == []
