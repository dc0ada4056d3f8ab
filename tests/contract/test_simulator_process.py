"""The simulator as a process: it starts, says where it listens, and ends at once when told to."""

import http.client
import signal
import socket
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.processes

PROGRAM = """
import logging, sys
from simulator.server import run
from simulator.settings import SimulatorSettings
logging.basicConfig(level=logging.INFO)
run(SimulatorSettings(port=int(sys.argv[1])))
"""


def start(port):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(port)], stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_within_two_seconds_although_calls_hang(number):
    # What it can do counts: a machine that stands still meanwhile proves nothing.
    assert any(seconds_to_end(number) < 2 for _ in range(5))


def seconds_to_end(number):
    """How long a process takes after this signal, while a call hangs and a reader waits."""
    process = start(0)
    try:
        line = process.stderr.readline()
        port = int(line.rsplit(":", 1)[1])
        control = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        control.request("PUT", "/faults", b'{"kind": "hang_before"}')
        control.getresponse().read()
        hanging = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        hanging.request("POST", "/", b"Action=SendRawEmail&Source=a@x&Destinations.member.1=b@x&RawMessage.Data=")
        hits = b'"hits":0'
        while b'"hits":0' in hits:
            control.request("GET", "/faults")
            hits = control.getresponse().read()
        waiting = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        waiting.request("GET", "/events?wait=30")
        told_at = time.monotonic()
        process.send_signal(number)
        assert process.wait(60) == 0
        seconds = time.monotonic() - told_at
        assert process.stderr.read() == ""
        waiting.close()
        hanging.close()
        control.close()
        return seconds
    finally:
        process.kill()
        process.wait(20)
        process.stderr.close()


def test_a_port_in_use_is_one_clear_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start(taken.getsockname()[1])
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.count("\n") == 1
    assert "cannot listen on 127.0.0.1:" in errors
    assert "SLUICE_SIMULATOR_PORT" in errors
