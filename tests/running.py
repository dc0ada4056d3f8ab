"""`mailsluice up` as a real process, on free ports and in a data dir of its own: for scenario, crash and chaos tests.

    with RunningUp(relay_retry_first_seconds=0.2) as up:
        up.send("app@example.com", ["you@example.com"], "Subject: hello\\r\\n\\r\\nhello")
        up.kill("worker")
        up.wait_until(lambda: len(up.ledger()) == 1, "the mail is sent")

Keyword arguments are settings (`worker_lease_seconds=2` is SLUICE_WORKER_LEASE_SECONDS=2), in front of them FAST below.
Pids come from run.json, which the supervisor keeps. `stop()` is SIGTERM and returns the exit code; leaving the block
ends everything and removes the folder. What it wrote is in `.stdout` and `.stderr` (JSON lines).
"""

import json
import os
import shutil
import signal
import smtplib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from spool import keys
from tests.servers import free_port

READY_SECONDS = 90.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.05
DOORS = ("smtp", "api", "simulator", "flower")

#: Settings that make retries and recoveries a matter of tenths of seconds. Leases and calls are not among them: no
#: process that stops for a few seconds, because the machine is busy, may lose its messages or take an answer for lost.
FAST: dict[str, str] = {
    "SLUICE_WORKER_SWEEP_SECONDS": "0.2",
    "SLUICE_WORKER_LEASE_SECONDS": "15",
    "SLUICE_WORKER_THREADS": "4",
    "SLUICE_RELAY_RETRY_FIRST_SECONDS": "0.2",
    "SLUICE_RELAY_RETRY_MAX_SECONDS": "2",
    "SLUICE_RELAY_CALL_TIMEOUT_SECONDS": "20",
    "SLUICE_RELAY_CONNECT_TIMEOUT_SECONDS": "20",
    "SLUICE_SMTP_SHUTDOWN_GRACE_SECONDS": "15",
    "SLUICE_WORKER_SHUTDOWN_GRACE_SECONDS": "25",
    "SLUICE_REDIS_MIN_FREE_DISK_BYTES": "0",
    "SLUICE_SMTP_HOSTNAME": "mx.example.net",
    "SLUICE_LOG_FORMAT": "json",
}


def free_ports(count: int) -> list[int]:
    """As many different ports."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def wait_until(condition: Callable[[], Any], what: str, *, seconds: float = 60.0) -> Any:
    """Polls until the condition is true and returns its value; fails the test with `what` when it never is."""
    limit = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < limit, f"not within {seconds:g} s: {what}"
        time.sleep(POLL_SECONDS)
    return value


class RunningUp:
    """One supervisor and its children."""

    def __init__(
        self,
        *arguments: str,
        data_dir: Path | None = None,
        ports: Mapping[str, int] | None = None,
        environ: Mapping[str, str] | None = None,
        **settings: object,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ms-", dir="/tmp"))
        self.data_dir = data_dir or self.folder / "var"
        self.arguments = arguments
        self.ports = dict(ports or zip(DOORS, free_ports(len(DOORS)), strict=True))
        self.environ = {
            **os.environ,
            **FAST,
            **{f"SLUICE_{name}_PORT".upper(): str(port) for name, port in self.ports.items()},
            **{f"SLUICE_{name}".upper(): str(value) for name, value in settings.items()},
            **(environ or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.seen_pids: set[int] = set()

    def start(self, *, until_ready: bool = True) -> Self:
        """Starts `mailsluice up`; by default returns when it says that everything is ready."""
        assert self.process is None, "it runs already"
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                (sys.executable, "-P", "-m", "mailsluice", "up", "--data-dir", str(self.data_dir), *self.arguments),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self.environ,
                cwd=self.folder,
                start_new_session=True,
            )
        if until_ready:
            wait_until(self._is_ready_or_ended, "mailsluice up is ready", seconds=READY_SECONDS)
        return self

    def _is_ready_or_ended(self) -> bool:
        assert self.process is not None
        if (code := self.process.poll()) is not None:
            raise AssertionError(f"mailsluice up ended with {code}:\n{self.stderr}")
        return "mailsluice is ready" in self.stdout and bool(self.pids())

    @property
    def stdout(self) -> str:
        """What it printed."""
        return (self.folder / "out").read_text("utf-8", "replace")

    @property
    def stderr(self) -> str:
        """What it and its children logged."""
        return (self.folder / "err").read_text("utf-8", "replace")

    def log_lines(self, event: str = "") -> list[dict[str, Any]]:
        """The JSON lines of stderr, or those of one event."""
        whole = self.stderr.rpartition("\n")[0].splitlines()  # it may be writing
        lines = [json.loads(line) for line in whole if line.startswith("{")]
        return [line for line in lines if not event or line.get("event") == event]

    def children(self) -> dict[str, dict[str, Any]]:
        """Name → state, pid and restarts, as run.json has it now; empty when there is none."""
        try:
            content = json.loads((self.data_dir / "run.json").read_text())
        except FileNotFoundError:
            return {}
        children: dict[str, dict[str, Any]] = content["children"]
        self.seen_pids |= {child["pid"] for child in children.values() if child["pid"]}
        return children

    def pids(self) -> dict[str, int]:
        """Name → pid of the children that run."""
        return {name: child["pid"] for name, child in self.children().items() if child["pid"]}

    def send_signal(self, name: str, number: signal.Signals) -> int:
        """Sends a signal to a child; returns its pid."""
        pid = self.pids()[name]
        os.kill(pid, number)
        return pid

    def kill(self, name: str) -> int:
        """SIGKILL to a child; returns the pid it had. The supervisor starts it again."""
        return self.send_signal(name, signal.SIGKILL)

    def wait_until_back(self, name: str, old_pid: int, *, seconds: float = 60.0) -> int:
        """Waits until the child is ready under another pid and returns that."""

        def is_back() -> bool:
            child = self.children().get(name, {})
            return child.get("state") == "ready" and child.get("pid") not in {None, old_pid}

        wait_until(is_back, f"{name} is back", seconds=seconds)
        return self.pids()[name]

    def end_leases(self) -> None:
        """Whatever a worker held that was killed is free now. No other one may be at work."""
        with redis.Redis(unix_socket_path=str(self.data_dir / "redis.sock")) as client:
            for message_id in client.zrange(keys.LEASED, 0, -1):
                client.zadd(keys.LEASED, {message_id: 0}, xx=True)

    def wait_until(self, condition: Callable[[], Any], what: str, *, seconds: float = 60.0) -> Any:
        """The same as the function; on failure the end of the log is shown."""
        try:
            return wait_until(condition, what, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.stderr[-4000:]}") from None

    def url(self, name: str, path: str = "/") -> str:
        """URL of `api`, `simulator` or `flower`."""
        return f"http://127.0.0.1:{self.ports[name]}{path}"

    def fetch(self, name: str, path: str = "/") -> tuple[int, bytes]:
        """GET: status and body; status 0 when nobody answers."""
        try:
            with urllib.request.urlopen(self.url(name, path), timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError:
            return 0, b""

    def ledger(self) -> list[dict[str, Any]]:
        """What the simulated SES accepted so far."""
        status, body = self.fetch("simulator", "/ledger")
        assert status == 200, body
        return [json.loads(line) for line in body.splitlines()]

    def events(self) -> list[dict[str, Any]]:
        """What events.ndjson has so far (whole lines)."""
        file = self.data_dir / "events.ndjson"
        text = file.read_text("utf-8") if file.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def send(self, sender: str, recipients: Sequence[str], text: str | bytes) -> str:
        """One message over SMTP, again while the gateway says "later"; returns the message id of the answer."""
        content = text.encode() if isinstance(text, str) else text
        limit = time.monotonic() + 60
        while True:
            with smtplib.SMTP("127.0.0.1", self.ports["smtp"], timeout=30) as client:
                client.ehlo_or_helo_if_needed()
                code, answer = client.mail(sender)
                if code == 250:
                    for recipient in recipients:
                        client.rcpt(recipient)
                    code, answer = client.data(content)
            if code == 250:
                return answer.decode().split()[-1]
            assert 400 <= code < 500, answer
            assert time.monotonic() < limit, answer
            time.sleep(0.2)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command of ours in the same setting: `up.run("queue", "--json")`."""
        return subprocess.run(
            (sys.executable, "-P", "-m", "mailsluice", *arguments),
            env={**self.environ, "SLUICE_DATA_DIR": str(self.data_dir)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def ask_to_stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """A signal to the supervisor."""
        assert self.process is not None
        self.children()  # remembers the pids
        self.process.send_signal(number)

    def wait_until_ended(self, *, seconds: float = STOP_SECONDS) -> int:
        """The supervisor's exit code, when it and all its children are gone."""
        assert self.process is not None
        process, self.process = self.process, None
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"mailsluice up did not end within {seconds:g} s:\n{self.stderr[-4000:]}") from None
        wait_until(lambda: not self.survivors(), "every child is gone")
        return code

    def survivors(self) -> list[int]:
        """Children of any time that still run."""
        return [pid for pid in self.seen_pids if is_alive(pid)]

    def stop(self) -> int:
        """SIGTERM; returns the exit code when everything is gone."""
        self.ask_to_stop()
        return self.wait_until_ended()

    def crash(self) -> None:
        """SIGKILL to the supervisor; the kernel ends its children. The data dir stays and `start()` goes on with it."""
        self.ask_to_stop(signal.SIGKILL)
        assert self.wait_until_ended() == -signal.SIGKILL

    def close(self) -> None:
        """Ends whatever still runs and removes the folder."""
        if self.process is not None:
            self.ask_to_stop(signal.SIGKILL)
            self.wait_until_ended()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
