"""One life of a child: a process group of its own, its output, its readiness and its end.

The process is started through launcher.py and so dies with us. A session of its own keeps a terminal's Ctrl-C away
from it: the supervisor decides in which order things stop. Nothing here waits in a thread: output and readiness are
pipes on the event loop, the end is collected by `reap()`, which the supervisor calls on SIGCHLD.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path

from config.readiness import READY_LINE, READY_VARIABLE
from mailsluice.child import Child
from mailsluice.output import LineJoiner, PassOn

LAUNCHER = str(Path(__file__).with_name("launcher.py"))
PIPE_BYTES = 1024 * 1024
CHUNK_BYTES = 256 * 1024
#: Pause between two reads: a busy child's lines come in larger pieces, and passing them on costs next to nothing.
READ_PAUSE_SECONDS = 0.02
TAIL_LINES = 12


class ChildProcess:
    """A started process. Built inside a running event loop."""

    def __init__(self, child: Child, pass_on: PassOn) -> None:
        self._loop = asyncio.get_running_loop()
        self._name = child.name
        self._pass_on = pass_on
        self._lines = LineJoiner()
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._again: asyncio.TimerHandle | None = None
        self.told_ready = asyncio.Event()
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self._ready_pipe, ready_end = _pipe()
        self._output_pipe, output_end = _pipe()
        try:
            self._process = _start(child, ready_end, output_end)
        except OSError:
            os.close(self._ready_pipe)
            os.close(self._output_pipe)
            raise
        finally:
            os.close(ready_end)
            os.close(output_end)
        self._loop.add_reader(self._ready_pipe, self._on_ready_pipe)
        self._loop.add_reader(self._output_pipe, self._on_output)

    @property
    def pid(self) -> int:
        """Process id, which is the id of the process group too."""
        return self._process.pid

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The end of what it wrote."""
        return tuple(self._tail)

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process; SIGKILL goes to its whole group."""
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if number is signal.SIGKILL else os.kill)(self.pid, number)

    def reap(self) -> None:
        """Collects the end of the process if it came. Whatever it left in its group is ended with it."""
        if self._process.returncode is not None:
            return
        # First a look that leaves the zombie: until it is collected nobody else can get its process group's id.
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        returncode = self._process.wait()
        self._close()
        self.exited.set_result(returncode)

    def _on_ready_pipe(self) -> None:
        line = os.read(self._ready_pipe, len(READY_LINE))
        self._loop.remove_reader(self._ready_pipe)
        if line:
            self.told_ready.set()

    def _on_output(self) -> None:
        self._loop.remove_reader(self._output_pipe)
        if self._read_output() != b"":
            self._again = self._loop.call_later(READ_PAUSE_SECONDS, self._listen)

    def _listen(self) -> None:
        self._again = None
        self._loop.add_reader(self._output_pipe, self._on_output)

    def _read_output(self) -> bytes | None:
        """Passes on one chunk and returns it; None = nothing now, empty = the end."""
        try:
            chunk = os.read(self._output_pipe, CHUNK_BYTES)
        except BlockingIOError:
            return None
        lines = self._lines.add(chunk) if chunk else self._lines.end()
        if lines:
            last = lines[-8192:].decode("utf-8", "replace").splitlines()
            self._tail.extend(line for line in last[-TAIL_LINES:] if line.strip())
            self._pass_on(self._name, lines)
        return chunk

    def _close(self) -> None:
        if self._again is not None:
            self._again.cancel()
        for pipe in (self._ready_pipe, self._output_pipe):
            self._loop.remove_reader(pipe)
        while self._read_output():
            pass
        if rest := self._lines.end():
            self._pass_on(self._name, rest)
        os.close(self._ready_pipe)
        os.close(self._output_pipe)


def _pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    return reading, writing


def _start(child: Child, ready_end: int, output_end: int) -> subprocess.Popen[bytes]:
    with contextlib.suppress(OSError):  # more room is a favour, not a need
        fcntl.fcntl(output_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return subprocess.Popen(  # noqa: S603 - the commands are our own table
        (sys.executable, "-I", "-S", LAUNCHER, str(os.getpid()), *child.command),
        stdin=subprocess.DEVNULL,
        stdout=output_end,
        stderr=output_end,
        env={**child.environ, READY_VARIABLE: str(ready_end)},
        pass_fds=(ready_end, *child.kept_descriptors),
        start_new_session=True,
    )
