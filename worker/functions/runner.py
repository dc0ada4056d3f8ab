"""Runs one handler as AWS Lambda does: `python -u runner.py`, by path, in any Python from 3.8 on, of any environment.

Speaks with its worker on descriptor 3: frames of four bytes length (big-endian) and JSON. A request is a head and a
body: first what to load, then, for ever, the request's id and deadline and the event. The reply is a head with the
outcome and, if that is "answer", the answer; it repeats `call` of the request's head, so that nothing is taken for the
answer to another request. Standard output and error are the handler's own.

Whatever the handler does to this process, exit, closed descriptors, a fork that returns: either a whole reply is
written or the process ends, and the worker sees which. Imports nothing of ours and nothing beyond Python's own.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import time
import traceback
from json import dumps, loads  # by name: a handler may take json's functions away
from typing import Any

CHANNEL = 3
#: The worker hides values of the environment in a text and cuts it shorter: what is cut here, it cannot recognise.
MESSAGE_CHARACTERS = 4096
TYPE_CHARACTERS = 100
EXIT_NO_CHANNEL = 70


class Channel:
    """The descriptor to the worker. Nothing is written when the handler has closed it or put another in its place."""

    def __init__(self) -> None:
        os.set_inheritable(CHANNEL, False)
        self._identity = self._look()

    def read(self) -> bytes:
        """The next frame; ends the process when the worker went."""
        return self._read_exactly(int.from_bytes(self._read_exactly(4), "big"))

    def write(self, *frames: bytes) -> None:
        text = memoryview(b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames))
        if self._look() != self._identity:
            os._exit(EXIT_NO_CHANNEL)
        try:
            while text:
                text = text[os.write(CHANNEL, text) :]
        except OSError:
            os._exit(EXIT_NO_CHANNEL)

    def _look(self) -> tuple[int, int]:
        try:
            state = os.fstat(CHANNEL)
        except OSError:
            os._exit(EXIT_NO_CHANNEL)
        return state.st_dev, state.st_ino

    def _read_exactly(self, size_bytes: int) -> bytes:
        pieces: list[bytes] = []
        while size_bytes:
            try:
                piece = os.read(CHANNEL, min(size_bytes, 1 << 20))
            except OSError:
                os._exit(EXIT_NO_CHANNEL)
            if not piece:
                os._exit(0)
            pieces.append(piece)
            size_bytes -= len(piece)
        return b"".join(pieces)


class Context:
    """What Lambda gives a Python handler beside the event."""

    identity = None
    client_context = None

    def __init__(self, start: dict[str, Any], head: dict[str, Any]) -> None:
        self.aws_request_id: str = head["request_id"]
        self.function_name: str = start["function_name"]
        self.function_version = "$LATEST"
        self.invoked_function_arn: str = start["arn"]
        self.memory_limit_in_mb: int = start["memory_megabytes"]
        self.log_group_name: str = start["log_group"]
        self.log_stream_name: str = start["log_stream"]
        self._deadline_ms: int = head["deadline_ms"]

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the worker ends this process."""
        return max(0, self._deadline_ms - int(time.time() * 1000))

    def log(self, text: object) -> None:
        """Writes to standard output."""
        sys.stdout.write(str(text))


def load(start: dict[str, Any]) -> tuple[Any, str]:
    """The handler and the file of its module. Whatever the module raises, goes through."""
    process = os.getpid()
    try:
        module = load_file(start["path"]) if start["path"] else importlib.import_module(start["module"])
    finally:
        leave_copy(process)
    handler = getattr(module, start["handler"], None)
    if not callable(handler):
        raise TypeError("it has no function named " + start["handler"])
    return handler, getattr(module, "__file__", None) or ""


def load_file(path: str) -> Any:
    """The module in a file, under the file's name where that is free: json.py must not become everybody's json."""
    name = os.path.splitext(os.path.basename(path))[0]  # noqa: PTH119, PTH122 - pathlib costs a start 5 ms
    if name in sys.modules or name in getattr(sys, "stdlib_module_names", ()):
        name = "function_" + name
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def failure(error: BaseException) -> dict[str, str]:
    """Type and text of an error; some cannot even say what they are."""
    try:
        message = str(error)[:MESSAGE_CHARACTERS]
    except BaseException:  # noqa: BLE001 - the handler's own __str__
        message = "(its text cannot be shown)"
    return {"outcome": "error", "type": type(error).__name__[:TYPE_CHARACTERS], "message": message}


def show(error: BaseException) -> None:
    """The traceback below the handler, to standard error."""
    with contextlib.suppress(BaseException):
        trace = error.__traceback__
        traceback.print_exception(type(error), error, trace.tb_next if trace else None)


def leave(reason: SystemExit) -> None:
    """sys.exit() of the handler: at once, whatever threads still run."""
    code = reason.code
    if isinstance(code, str):
        with contextlib.suppress(BaseException):
            sys.stderr.write(code + "\n")
    flush()
    os._exit(code & 0xFF if isinstance(code, int) else int(code is not None))


def leave_copy(process: int) -> None:
    """Ends a fork of the handler that came back: one process alone speaks on the channel."""
    if os.getpid() != process:
        flush()
        os._exit(0)


def flush() -> None:
    """What the handler printed goes out before its answer does."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()


def encode(value: object) -> bytes:
    """JSON; half a surrogate pair becomes the escape that JSON has for it."""
    return dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


def run(handler: Any, event: bytes, context: Context, limit_bytes: int) -> tuple[dict[str, Any], tuple[bytes, ...]]:
    """One invocation: head and body of its reply."""
    process = os.getpid()
    try:
        answer = encode(handler(loads(event), context))
        if len(answer) <= limit_bytes:
            reply: tuple[dict[str, Any], tuple[bytes, ...]] = ({"outcome": "answer"}, (answer,))
        else:
            reply = ({"outcome": "too large"}, ())
    except SystemExit as error:
        leave(error)
        raise
    except BaseException as error:  # noqa: BLE001 - also KeyboardInterrupt: it ends the invocation and nothing else
        show(error)
        reply = (failure(error), ())
    finally:
        leave_copy(process)
    flush()
    return reply


def main() -> None:
    """Loads, then answers until the worker went."""
    sys.path[:] = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]  # noqa: PTH100, PTH120 - as above
    channel = Channel()
    call, start = loads(channel.read())["call"], loads(channel.read())
    sys.path.insert(0, start["folder"])
    sys.argv = [start["path"] or start["module"]]
    os.environ.setdefault("AWS_EXECUTION_ENV", "AWS_Lambda_python{}.{}".format(*sys.version_info))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        handler, file = load(start)
    except BaseException as error:  # noqa: BLE001 - whatever the module did: it is not loaded
        show(error)
        flush()
        channel.write(encode({"call": call, **failure(error)}))
        os._exit(1)
    flush()
    channel.write(encode({"call": call, "outcome": "ready", "file": file}))
    while True:
        head = loads(channel.read())
        reply, body = run(handler, channel.read(), Context(start, head), start["limit_bytes"])
        channel.write(encode({"call": head["call"], **reply}), *body)


if __name__ == "__main__":
    main()
