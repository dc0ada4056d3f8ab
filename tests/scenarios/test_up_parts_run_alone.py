"""What `mailsluice up` runs, run by hand: each command alone, with the same settings."""

import os
import signal
import smtplib
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.running import FAST, free_ports, wait_until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]


@contextmanager
def running(name: str, folder: Path, **settings: object) -> Iterator[subprocess.Popen[bytes]]:
    """`mailsluice NAME` in a folder; must end with exit code 0 on SIGTERM."""
    environ = {**os.environ, **FAST, **{f"SLUICE_{key}".upper(): str(value) for key, value in settings.items()}}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            (sys.executable, "-P", "-m", "mailsluice", name), cwd=folder, env=environ, stdout=log, stderr=log
        )
    try:
        yield process
        process.terminate()
        assert process.wait(60) == 0, (folder / f"{name}.log").read_text()
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def greets(port: int) -> bool:
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
            return client.noop()[0] == 250
    except OSError:
        return False


def test_the_simulator_runs_alone(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with running("simulator", tmp_path, simulator_port=port):
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/"), "the simulator answers")


def test_the_embedded_server_runs_alone_and_holds_the_data_dir(tmp_path: Path) -> None:
    with running("redis", tmp_path):
        wait_until((tmp_path / "var" / "redis.sock").exists, "the server listens")
        again = subprocess.run(
            (sys.executable, "-P", "-m", "mailsluice", "redis"),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert again.returncode == 2
        assert "is in use by mailsluice redis, process" in again.stderr


def test_a_gateway_of_several_processes_is_one_command_that_ends_them_all(tmp_path: Path, redis_url: str) -> None:
    (port,) = free_ports(1)
    log = tmp_path / "gateway.log"
    with running("gateway", tmp_path, smtp_port=port, smtp_processes=2, redis_url=redis_url):
        wait_until(lambda: log.read_text().count("gateway.started") == 2, "two processes listen")
        wait_until(lambda: greets(port), "one of them answers")
    assert log.read_text().count("gateway.stopped") == 2
    assert not greets(port)


def test_a_killed_gateway_command_leaves_no_process_behind(tmp_path: Path, redis_url: str) -> None:
    (port,) = free_ports(1)
    with running("gateway", tmp_path, smtp_port=port, smtp_processes=2, redis_url=redis_url) as process:
        wait_until(lambda: greets(port), "the gateway listens")
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_until(lambda: not greets(port), "the port is closed")
        with running("gateway", tmp_path, smtp_port=port, redis_url=redis_url) as next_process:
            wait_until(lambda: greets(port), "the next gateway listens")
            assert next_process.poll() is None
        process.returncode = 0  # its end was the test
