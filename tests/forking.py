"""Processes of ours without their imports: a server that has loaded everything forks one for each request.

A worker imports for a second before it does anything, and the scenarios start a thousand processes. Everything after
the imports is as usual: a process of its own with its own environment, files and signals, ended by whatever ends one.
What is about the start itself, or about memory, starts programs with `executed` or subprocess.Popen.

`Forked` has what subprocess.Popen has and a test needs. The server is one for each test process, begun with its first
request; it ends when that process does. They talk over a socket pair, one JSON object a packet:
    {"command": [...], "environment": {...}, "folder": "...", "files": [1, 2, 17]}, with as many descriptors
    → {"pid": 4}
    and whenever a process has ended: {"pid": 4, "status": 9}.
"""

import contextlib
import fcntl
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

HOUSE = Path(__file__).resolve().parents[1]
_PACKET_BYTES = 200_000
_MAX_FILES = 16
# Above everything that a request names.
_HIGH_DESCRIPTOR = 600
_START_SECONDS = 60.0

# What the commands load when they run, also late: all but worker.app, which reads the settings when it is loaded.
LOADED = (
    "aiobotocore.session",
    "aws_api.process",
    "billiard.pool",
    "celery.app.amqp",
    "celery.app.control",
    "celery.app.events",
    "celery.app.log",
    "celery.app.trace",
    "celery.concurrency.thread",
    "celery.events.dispatcher",
    "celery.loaders.app",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.control",
    "celery.worker.pidbox",
    "celery.worker.request",
    "celery.worker.worker",
    "config.readiness",
    "kombu.pidbox",
    "kombu.transport.redis",
    "mailsluice.command",
    "mailsluice.queue",
    "mailsluice.show",
    "simulator.server",
    "smtp_gateway.process",
    "worker.feedback.process",
    "worker.process",
    "worker.start",
    "worker.tasks",
)


# -- in the tests


class Forked:
    """One process, running when the constructor returns. `files`: descriptors it gets under the same numbers."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        output: int,
        files: Sequence[int] = (),
    ) -> None:
        self.returncode: int | None = None
        self._server = _server()
        self.pid = self._server.fork(
            {"command": command, "environment": environment, "folder": str(folder), "files": [1, 2, *files]},
            [output, output, *files],
        )

    def poll(self) -> int | None:
        """The exit code, below nought for a signal; None while it runs."""
        if self.returncode is None:
            self.returncode = self._server.code_of(self.pid, 0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        if self.poll() is None:
            self.returncode = self._server.code_of(self.pid, timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Nothing happens to one that has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Started = Forked | subprocess.Popen[bytes]


def executed(
    command: Sequence[str], *, environment: Mapping[str, str], folder: Path, output: int, files: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """The same process started as a user does: with its imports, in memory of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "mailsluice", *command],
        env=environment,
        cwd=folder,
        pass_fds=files,
        stdout=output,
        stderr=output,
    )


class _Server:
    """The forking process, seen from the tests; may be used by several threads."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forking", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=HOUSE,
                env={name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "AWS_"))},
            )
        self._lock = threading.Lock()
        self._codes: dict[int, int] = {}

    def fork(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> int:
        """The pid."""
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(request).encode()], descriptors)
            limit = time.monotonic() + _START_SECONDS
            while (pid := self._receive(limit - time.monotonic())) is None:
                assert time.monotonic() < limit, "the forking server does not answer"
            self._codes.pop(pid, None)  # of an earlier process of that number
            return pid

    def code_of(self, pid: int, timeout: float | None) -> int | None:
        """The exit code of a process; None when it runs on after so many seconds."""
        limit = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                while self._receive(0.0) is not None or self._has_more:
                    pass
                if pid in self._codes:
                    return self._codes[pid]
            if limit is not None and time.monotonic() >= limit:
                return None
            time.sleep(0.01)

    _has_more = False

    def _receive(self, timeout: float) -> int | None:
        """Reads one packet, if there is one in time; the pid of an answer to `fork`."""
        self._has_more = bool(select.select([self._socket], [], [], max(0.0, timeout))[0])
        if not self._has_more:
            return None
        packet = self._socket.recv(_PACKET_BYTES)
        assert packet, f"the forking server ended with {self._process.wait()}"
        told = json.loads(packet)
        if "status" not in told:
            return int(told["pid"])
        self._codes[told["pid"]] = os.waitstatus_to_exitcode(told["status"])
        return None


_servers: list[_Server] = []


def _server() -> _Server:
    if not _servers:
        _servers.append(_Server())
    return _servers[0]


# -- the forking process


def _serve(connection: socket.socket) -> None:
    """Forks until the tests end. Returns in the forked process only, which is to run the command of sys.argv."""
    waking, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        readable, _, _ = select.select([connection, waking], [], [])
        if waking in readable:
            os.read(waking, 4096)
            _tell_ended(connection)
        if connection not in readable:
            continue
        packet, descriptors, _, _ = socket.recv_fds(connection, _PACKET_BYTES, _MAX_FILES)
        if not packet:
            sys.exit()
        pid = os.fork()
        if pid == 0:
            _become(json.loads(packet), descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        connection.send(json.dumps({"pid": pid}).encode())


def _tell_ended(connection: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            connection.send(json.dumps({"pid": ended[0], "status": ended[1]}).encode())


def _become(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Takes the files, the environment, the folder and the signals of a process that was just started."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    high = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, _HIGH_DESCRIPTOR) for one in descriptors]
    os.closerange(3, _HIGH_DESCRIPTOR)
    for one, wanted in zip(high, request["files"], strict=True):
        os.dup2(one, wanted)
        os.close(one)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = ["mailsluice", *request["command"]]


def _main() -> NoReturn:
    connection = socket.socket(fileno=int(sys.argv[1]))
    for name in LOADED:
        __import__(name)
    assert threading.active_count() == 1, "what is forked may have no threads"
    gc.collect()
    gc.freeze()
    _serve(connection)
    connection.detach()  # closed already
    from mailsluice.command import main  # after the fork

    main()
    sys.exit(0)


if __name__ == "__main__":
    _main()
