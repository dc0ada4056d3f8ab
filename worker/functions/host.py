"""One process of a function: started, spoken with, watched, ended.

It runs below a guard (guard.py), which ends it with everything it started when we close `control`, when we die, or
when it uses too much memory. We know that it went when `control` closes at the guard's side, and not before the guard
is collected: then `gone` is done and no process of it is left. One request at a time; a process that did not answer
as it should is of no more use, and `ask` ends it.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from structlog.typing import FilteringBoundLogger

from worker.functions.failures import InvocationFailed
from worker.functions.launch import MIB, Launch
from worker.functions.output import Output
from worker.functions.raw_answer import MAX_ANSWER_BYTES, too_large

GUARD = str(Path(__file__).with_name("guard.py"))
#: The head of a reply holds a name and 500 characters, six bytes each at most.
HEAD_BYTES = 8192
PIPE_BYTES = 1024 * 1024
#: A guard that is told to end and does not (somebody froze it) is ended by force after this.
FORCE_SECONDS = 7.0
COLLECT_SECONDS = 0.002
#: The guard rests when the process does; it is woken when the process has rested for so long.
WAKE_SECONDS = 0.5

Stamp = tuple[int, int, int]


class FunctionProcess:
    """A started process. Built inside a running event loop; raises OSError when it cannot be started at all."""

    def __init__(self, launch: Launch, log: FilteringBoundLogger) -> None:
        self._loop = asyncio.get_running_loop()
        self._launch = launch
        #: Done when nothing of the process is left.
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self._file = launch.file
        self._stamp = stamp_of(launch.file)
        self._told = b""
        self._is_ending = False
        self._forcing: asyncio.TimerHandle | None = None
        self._used_at = self._loop.time()
        self._writer: asyncio.StreamWriter | None = None
        self._reader: asyncio.StreamReader | None = None
        self._channel, channel_end = socket.socketpair()
        self._control, control_end = socket.socketpair()
        output, output_end = os.pipe()
        os.set_blocking(output, False)
        self._control.setblocking(False)
        try:
            self._guard = _start(launch, control_end, channel_end, output_end)
        except OSError:
            self._control.close()
            self._channel.close()
            os.close(output)
            raise
        finally:
            control_end.close()
            channel_end.close()
            os.close(output_end)
        self._output = Output(output, log, launch.rule)
        self._loop.add_reader(self._control, self._on_control)

    @property
    def is_usable(self) -> bool:
        """Whether it may be asked."""
        return not self._is_ending and not self.gone.done()

    @property
    def is_fit(self) -> bool:
        """Whether an idle process may be used once more: its file is the same, and it has not ended this moment."""
        if not self.is_usable or stamp_of(self._file) != self._stamp:
            return False
        try:
            self._channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:  # nothing to be read, as it should be
            return True
        except OSError:
            return False
        return False

    async def get_ready(self, request_id: str) -> None:
        """Waits until the handler is imported, for the invocation that needs it. Raises InvocationFailed."""
        self._output.begin(request_id)
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._channel)
        head, _ = await self._exchange(self._launch.start)
        if head["outcome"] != "ready":
            self.end()
            raise InvocationFailed(f"{self._launch.name} could not be loaded: {_error(head)}")
        if self._file is None and head["file"]:
            self._file = Path(head["file"])
            self._stamp = stamp_of(self._file)

    async def ask(self, request_id: str, payload: bytes, deadline_ms: int) -> bytes:
        """The handler's answer. Raises InvocationFailed."""
        if self._loop.time() - self._used_at > WAKE_SECONDS:
            with contextlib.suppress(OSError):
                self._control.send(b"w")
        self._output.begin(request_id)
        head, answer = await self._exchange(
            b'{"request_id": "%s", "deadline_ms": %d}' % (request_id.encode(), deadline_ms), payload
        )
        self._used_at = self._loop.time()
        if head["outcome"] == "answer":
            return answer
        if head["outcome"] == "too large":
            raise too_large()
        if head.get("is_last") or head["type"] == "MemoryError":
            self.end()
        if head["type"] == "MemoryError":
            raise InvocationFailed(self._words("memory"))
        raise InvocationFailed(_error(head))

    def end(self) -> None:
        """Ends it with everything it started. `gone` tells when that is done, milliseconds later."""
        if self.is_usable:
            self._is_ending = True
            self._shut(self._control)
            self._forcing = self._loop.call_later(FORCE_SECONDS, self._force)

    async def _exchange(self, *frames: bytes) -> tuple[dict[str, Any], bytes]:
        """Sends frames and reads a reply; whatever goes wrong with that ends the process."""
        assert self._writer
        try:
            self._writer.write(b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames))
            await self._writer.drain()
            head = json.loads(await self._frame(HEAD_BYTES))
            answer = await self._frame(MAX_ANSWER_BYTES) if head["outcome"] == "answer" else b""
        except (OSError, asyncio.IncompleteReadError) as error:
            raise InvocationFailed(await self._how_it_ended()) from error
        except (ValueError, KeyError, TypeError) as error:  # only a handler that writes on the channel gets here
            self.end()
            raise InvocationFailed("its process does not keep to the protocol") from error
        except InvocationFailed:
            self.end()
            raise
        self._output.end()
        return head, answer

    async def _frame(self, limit_bytes: int) -> bytes:
        assert self._reader
        size_bytes = int.from_bytes(await self._reader.readexactly(4), "big")
        if size_bytes > limit_bytes:
            raise too_large()
        return await self._reader.readexactly(size_bytes)

    async def _how_it_ended(self) -> str:
        """The handler may also have closed the channel and live on: the process is ended then."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.gone), 0.5)
        how = self._told.decode("ascii", "replace").split("\n")
        self.end()
        return self._words(next((line for line in how if line and not line.startswith("pid ")), ""))

    def _words(self, how: str) -> str:
        match how.split():
            case ["memory"]:
                return f"it used more than {self._launch.memory_megabytes} MB"
            case ["exit", code]:
                return f"its process ended with exit code {code} instead of an answer"
            case ["signal", number]:
                return f"its process was ended by {_signal_name(int(number))} instead of an answer"
        return "its process ended instead of an answer"

    def _on_control(self) -> None:
        try:
            told = self._control.recv(512)
        except BlockingIOError:
            return
        except OSError:
            told = b""
        if told:
            self._told += told
        else:
            self._loop.remove_reader(self._control)
            self._collect()

    def _collect(self) -> None:
        """The guard has closed its side: it is ending, or has ended."""
        if self._guard.poll() is None:
            self._loop.call_later(COLLECT_SECONDS, self._collect)
            return
        self._end_group()  # nobody is in it, unless the guard was killed
        if self._forcing is not None:
            self._forcing.cancel()
        self._control.close()
        if self._writer is not None:
            self._writer.transport.abort()
        else:
            self._channel.close()
        self._output.close()
        self.gone.set_result(None)

    def _force(self) -> None:
        self._guard.kill()
        self._end_group()

    def _end_group(self) -> None:
        if self._told.startswith(b"pid ") and not self._told.count(b"\n") > 1:  # a second line: all are gone
            with contextlib.suppress(OSError):
                os.killpg(int(self._told.split()[1]), signal.SIGKILL)

    @staticmethod
    def _shut(control: socket.socket) -> None:
        """Tells the guard; what it says about the end can still be read."""
        with contextlib.suppress(OSError):
            control.shutdown(socket.SHUT_WR)


def stamp_of(file: Path | None) -> Stamp | None:
    """Tells one content of a file from another."""
    if file is None:
        return None
    try:
        state = file.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino


def _start(launch: Launch, control: socket.socket, channel: socket.socket, output_end: int) -> subprocess.Popen[bytes]:
    """Not asyncio's way of starting: the loop that waits for children need not be that of the main thread."""
    with contextlib.suppress(OSError):  # more room is a favour, not a need
        fcntl.fcntl(output_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    numbers = (control.fileno(), channel.fileno(), launch.memory_megabytes * MIB, launch.data_bytes)
    return subprocess.Popen(  # noqa: S603 - the command is of the operator's own rules
        (sys.executable, "-I", "-S", GUARD, *map(str, numbers), *launch.command),
        cwd=launch.folder,
        env=dict(launch.environ),
        stdin=subprocess.DEVNULL,
        stdout=output_end,
        stderr=output_end,
        pass_fds=(control.fileno(), channel.fileno()),
        start_new_session=True,
    )


def _error(head: Mapping[str, str]) -> str:
    return f"{head['type']}: {head['message']}" if head["message"] else head["type"]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
