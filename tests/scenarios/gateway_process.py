"""One gateway as a real process on a free port, for scenarios. Its log is read as JSON lines."""

import json
import os
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from spool import keys

LIMIT_SECONDS = 60.0
PROGRAM = (
    "import sys; from config.settings_source import load_settings; from smtp_gateway.process import run; "
    "sys.exit(run(load_settings()))"
)


def until(condition: Callable[[], object]) -> None:
    """Returns when the condition holds; fails after a minute."""
    limit = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.02)


class ReservedPort:
    """A port that only sockets with SO_REUSEPORT can have: bound here, never listened on."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()


class GatewayProcess:
    """Settings as keyword arguments: `smtp_hostname="one"` is SLUICE_SMTP_HOSTNAME."""

    def __init__(self, redis_url: str, *, port: ReservedPort | None = None, failpoints: str = "", **settings: object):
        self.folder = Path(tempfile.mkdtemp(prefix="ms-", dir="/tmp"))
        self._own_port = None if port else ReservedPort()
        self.port = (port or self._own_port).number
        self._redis_url = redis_url
        values = {
            "redis_url": redis_url,
            "data_dir": self.folder,
            "smtp_port": self.port,
            "smtp_hostname": "mx.test",
            "log_format": "json",
            "redis_min_free_disk_bytes": 0,
            **settings,
        }
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")},
            **{f"SLUICE_{name.upper()}": str(value) for name, value in values.items()},
            "SLUICE_FAILPOINTS": failpoints,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        read_end, write_end = os.pipe()
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM],
                env={**self._environment, "MAILSLUICE_READY_FD": str(write_end)},
                pass_fds=[write_end],
                stdout=log,
                stderr=log,
            )
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            self.is_ready = bool(pipe.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()
        if self._own_port:
            self._own_port.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self) -> int:
        """SIGTERM and the exit code."""
        self.signal(signal.SIGTERM)
        return self.exit_code()

    def signal(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def exit_code(self) -> int:
        assert self.process
        return self.process.wait(LIMIT_SECONDS)

    def client(self) -> smtplib.SMTP:
        client = smtplib.SMTP("127.0.0.1", self.port, local_hostname="client.example", timeout=LIMIT_SECONDS)
        client.ehlo()
        return client

    def log(self, event: str = "") -> list[dict[str, Any]]:
        """The lines of the log with this event."""
        text = (self.folder / "log").read_text()
        whole = (line for line in text.splitlines(keepends=True) if line.startswith("{") and line.endswith("\n"))
        lines = [json.loads(line) for line in whole]
        return [line for line in lines if event in {"", line["event"]}]

    def memory_bytes(self, field: str = "VmRSS") -> int:
        """Of /proc/PID/status: VmRSS now, VmHWM the most so far."""
        assert self.process
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split(field + ":")[1].split()[0]) * 1024


def due_ids(redis_url: str) -> set[str]:
    """The messages that wait in the spool."""
    with redis.Redis.from_url(redis_url) as client:
        return {one.decode() for one in client.zrange(keys.DUE, 0, -1)}


def nudges(redis_url: str) -> int:
    """How many process tasks wait."""
    with redis.Redis.from_url(redis_url) as client:
        return int(client.llen("{ms}:process"))


def sent(client: smtplib.SMTP, content: str | bytes = b"Subject: s\r\n\r\nx\r\n") -> tuple[int, bytes]:
    """One message; (code, text) of the last reply, a refusal at MAIL or DATA included."""
    code, text = client.mail("a@example.com")
    if code != 250:
        return code, text
    client.rcpt("b@example.net")
    return client.data(content)
