"""One process of a function: started, spoken with, watched, ended.

It runs below a guard (guard.py), which ends it with everything it started when we close `control`, when we die, or
when it uses too much memory. We know that it went when `control` closes at the guard's side, and not before the guard
is collected: then `gone` is done and no process of it is left. One request at a time; a process that did not answer
as it should is of no more use, and `ask` ends it.

The handler shares its process with the runner and can write on the channel: it can forge its own answer, and be it by
changing itself. What is left of one call must never answer another one, about another message. So each request has a
name of its own (`call`: the request's id and a random text) that the reply has to repeat, there has to be nothing to
read before a request and nothing behind a reply, and one mismatch ends the process.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from config.settings import MIB
from worker.functions.channel import Channel
from worker.functions.failures import InvocationFailed
from worker.functions.hiding import hide
from worker.functions.launch import Launch
from worker.functions.output import Output
from worker.functions.raw_answer import MAX_ANSWER_BYTES, too_large
from worker.functions.reply import MAX_HEAD_BYTES, MESSAGE_CHARACTERS, TYPE_CHARACTERS, Reply, reply_of

GUARD = str(Path(__file__).with_name("guard.py"))
PIPE_BYTES = 1024 * 1024
#: A guard that is told to end and does not (somebody froze it) is ended by force after this.
FORCE_SECONDS = 7.0
COLLECT_SECONDS = 0.002
#: The guard rests when the process does; it is woken when the process has rested for so long.
WAKE_SECONDS = 0.5

Stamp = tuple[int, int, int]


class FunctionProcess:
    """A started process. Built inside a running event loop; raises InvocationFailed when it cannot be started."""

    def __init__(self, launch: Launch, log: FilteringBoundLogger) -> None:
        self._loop = asyncio.get_running_loop()
        self._launch = launch
        #: Done when nothing of the process is left.
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self._file = launch.file
        self._stamp = stamp_of(launch.file)
        #: What the guard wrote.
        self._report = b""
        self._is_ending = False
        self._forcing: asyncio.TimerHandle | None = None
        self._used_at = self._loop.time()
        try:
            self._guard, self._control, channel, output = _start(launch)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the environment, a name that is none
            words = getattr(error, "strerror", None) or "its environment cannot be given to a process"
            raise InvocationFailed(f"its process could not be started: {words}") from error
        self._channel = Channel(channel)
        self._output = Output(output, log, launch.rule)
        self._loop.add_reader(self._control, self._on_control)

    @property
    def is_usable(self) -> bool:
        """Whether it may be asked."""
        return not self._is_ending and not self.gone.done()

    @property
    def is_fit(self) -> bool:
        """Whether an idle process may be used once more: its file is the same, and it did nothing since its answer."""
        return self.is_usable and stamp_of(self._file) == self._stamp and self._channel.is_quiet

    async def get_ready(self, request_id: str) -> None:
        """Waits until the handler is imported, for the invocation that needs it. Raises InvocationFailed."""
        reply, _ = await self._exchange(request_id, {}, self._launch.start, ("ready", "error"))
        if reply.outcome == "error":
            self.end()
            raise InvocationFailed(f"{self._launch.name} could not be loaded: {self._error(reply)}")
        if self._file is None and reply.file:
            self._file = Path(reply.file)
            self._stamp = stamp_of(self._file)

    async def ask(self, request_id: str, payload: bytes, deadline_ms: int) -> bytes:
        """The handler's answer. Raises InvocationFailed."""
        if self._loop.time() - self._used_at > WAKE_SECONDS:
            with contextlib.suppress(OSError):
                self._control.send(b"w")
        head = {"request_id": request_id, "deadline_ms": deadline_ms}
        reply, answer = await self._exchange(request_id, head, payload, ("answer", "too large", "error"))
        self._used_at = self._loop.time()
        if reply.outcome == "answer":
            return answer
        if reply.outcome == "too large":
            raise too_large()
        if reply.is_last or reply.type == "MemoryError":
            self.end()
        if reply.type == "MemoryError":
            raise InvocationFailed(self._words("memory"))
        raise InvocationFailed(self._error(reply))

    def end(self) -> None:
        """Ends it with everything it started. `gone` tells when that is done, milliseconds later."""
        if self.is_usable:
            self._is_ending = True
            self._shut(self._control)
            self._forcing = self._loop.call_later(FORCE_SECONDS, self._force)

    async def _exchange(
        self, request_id: str, head: dict[str, object], body: bytes, expected: tuple[str, ...]
    ) -> tuple[Reply, bytes]:
        """Sends a request and reads its reply; whatever goes wrong with that ends the process."""
        self._output.begin(request_id)
        try:
            reply, answer = await self._speak(f"{request_id} {secrets.token_hex(16)}", head, body, expected)
        except OSError as error:
            raise InvocationFailed(await self._how_it_ended()) from error
        except ValueError as error:  # only a handler that writes on the channel gets here
            self.end()
            raise InvocationFailed("its process does not keep to the protocol") from error
        except InvocationFailed:
            self.end()
            raise
        self._output.end()
        return reply, answer

    async def _speak(
        self, call: str, head: dict[str, object], body: bytes, expected: tuple[str, ...]
    ) -> tuple[Reply, bytes]:
        """Raises OSError when the process went, ValueError for what is no reply to this request."""
        if self._channel.has_more:
            raise ValueError("something was written before the request")
        await self._channel.send(json.dumps({"call": call, **head}).encode(), body)
        reply = reply_of(await self._channel.receive(MAX_HEAD_BYTES))
        if reply.call != call or reply.outcome not in expected:
            raise ValueError("the reply is to something else")
        answer = await self._channel.receive(MAX_ANSWER_BYTES) if reply.outcome == "answer" else b""
        if self._channel.has_more:
            raise ValueError("something was written behind the reply")
        return reply, answer

    async def _how_it_ended(self) -> str:
        """The handler may also have closed the channel and live on: the process is ended then."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.gone), 2)
        how = self._report.decode("ascii", "replace").split("\n")
        self.end()
        return self._words(next((line for line in how if line and not line.startswith("pid ")), ""))

    def _error(self, reply: Reply) -> str:
        """The handler's error, without values of its environment."""
        hidden = self._launch.hidden
        name = hide(reply.type, hidden, is_cut=len(reply.type) >= TYPE_CHARACTERS) or "Error"
        message = hide(reply.message, hidden, is_cut=len(reply.message) >= MESSAGE_CHARACTERS)
        return f"{name}: {message}" if message else name

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
            news = self._control.recv(512)
        except BlockingIOError:
            return
        except OSError:
            news = b""
        if news:
            self._report += news
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
        self._channel.close()
        self._output.close()
        self.gone.set_result(None)

    def _force(self) -> None:
        self._guard.kill()
        self._end_group()

    def _end_group(self) -> None:
        if self._report.startswith(b"pid ") and not self._report.count(b"\n") > 1:  # a second line: all are gone
            with contextlib.suppress(OSError):
                os.killpg(int(self._report.split()[1]), signal.SIGKILL)

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
    except (OSError, ValueError):  # ValueError: a NUL in its name
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino


def _start(launch: Launch) -> tuple[subprocess.Popen[bytes], socket.socket, socket.socket, int]:
    """The guard, and our ends of control, channel and output. Raises OSError, ValueError; nothing is open then."""
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        control, control_end = (
            stack.enter_context(end) for stack, end in zip((ours, theirs), socket.socketpair(), strict=True)
        )
        channel, channel_end = (
            stack.enter_context(end) for stack, end in zip((ours, theirs), socket.socketpair(), strict=True)
        )
        output, output_end = os.pipe()
        ours.callback(os.close, output)
        theirs.callback(os.close, output_end)
        os.set_blocking(output, False)
        control.setblocking(False)
        guard = _start_guard(launch, control_end, channel_end, output_end)
        ours.pop_all()
    return guard, control, channel, output


def _start_guard(
    launch: Launch, control: socket.socket, channel: socket.socket, output_end: int
) -> subprocess.Popen[bytes]:
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


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
