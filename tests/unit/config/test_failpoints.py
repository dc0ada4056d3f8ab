import os
import signal
import subprocess
import sys

import pytest

from config.failpoints import FAILPOINTS, Failpoint, Failpoints


def test_nothing_happens_unless_it_is_asked_for():
    failpoints = Failpoints.from_environment({})
    assert not failpoints
    for name in FAILPOINTS:
        failpoints.reached(name)


def test_raise_happens_at_its_place_as_often_as_asked():
    failpoints = Failpoints.from_environment({"SLUICE_FAILPOINTS": " relay.after_call=raise*2 , "})
    assert failpoints
    failpoints.reached("relay.before_intent")
    for _ in range(2):
        with pytest.raises(Failpoint, match=r"relay\.after_call"):
            failpoints.reached("relay.after_call")
    failpoints.reached("relay.after_call")


def test_without_a_number_it_happens_every_time():
    failpoints = Failpoints("relay.after_call=raise")
    for _ in range(100):
        with pytest.raises(Failpoint):
            failpoints.reached("relay.after_call")


@pytest.mark.parametrize("text", ["nowhere=kill", "relay.after_call", "relay.after_call=dance", "=kill"])
def test_a_misspelt_failpoint_is_an_error_and_no_silent_pass(text: str):
    with pytest.raises(ValueError, match="unknown failpoint"):
        Failpoints(text)


@pytest.mark.parametrize("number", ["x", "-1", "0", "1.5"])
def test_a_wrong_number_of_times_is_an_error(number: str):
    with pytest.raises(ValueError, match="unknown failpoint"):
        Failpoints(f"relay.after_call=raise*{number}")


def _process_at(action: str) -> "subprocess.Popen[bytes]":
    program = "from config.failpoints import Failpoints; Failpoints.from_environment().reached('worker.after_claim')"
    environ = {**os.environ, "SLUICE_FAILPOINTS": f"worker.after_claim={action}"}
    return subprocess.Popen([sys.executable, "-c", program], env=environ)


def test_kill_ends_the_process_without_a_word():
    with _process_at("kill") as process:
        assert process.wait(60) == -signal.SIGKILL


def test_stop_freezes_the_process_until_it_is_continued():
    with _process_at("stop") as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        assert process.wait(60) == 0
