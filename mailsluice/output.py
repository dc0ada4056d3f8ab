"""Passes on what children write, whole lines only, in the form that the reader of our stderr expects.

Terminal: every line gets the child's name in front. Otherwise stderr is one JSON object a line: lines that are JSON
already pass unchanged and unread (this is on the way of every log line of the service, so it costs one look at
the first byte), and other lines (Flower, a traceback) become the text of an `up.output` event.
"""

import sys
from collections.abc import Callable
from itertools import groupby

from config.logs import get_log
from config.settings import LogSettings

Write = Callable[[bytes], None]
PassOn = Callable[[str, bytes], None]

_CONTROL = {code: f"\\x{code:02x}" for code in [*range(9), *range(10, 32), *range(127, 160)]}


def is_console(settings: LogSettings) -> bool:
    """Whether people read our stderr as it comes."""
    return settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())


def write_to_stderr(text: bytes) -> None:
    """Writes at once; a reader that went away is no reason to stop the service."""
    try:
        sys.stderr.buffer.write(text)
        sys.stderr.buffer.flush()
    except OSError:
        return


def with_names(write: Write, width: int) -> PassOn:
    """For a terminal: `gateway  | line`."""

    def pass_on(name: str, lines: bytes) -> None:
        shown = [_printable(line) for line in lines.splitlines()]
        write("".join(f"{name:{width}} | {line}\n" for line in shown if line.strip()).encode())

    return pass_on


def as_json(write: Write) -> PassOn:
    """For a log collector: JSON stays as it is, the rest becomes `up.output`."""

    def pass_on(name: str, lines: bytes) -> None:
        for is_ours, group in groupby(lines.splitlines(keepends=True), _is_object):
            if is_ours:
                write(b"".join(group))
            elif text := "\n".join(_printable(line) for line in group).strip("\n"):
                get_log().info("up.output", child=name, text=text)

    return pass_on


class LineJoiner:
    """Cuts a stream of bytes into whole lines. A line longer than the limit is cut."""

    def __init__(self, longest_bytes: int = 1024 * 1024) -> None:
        self._longest_bytes = longest_bytes
        self._rest = b""

    def add(self, chunk: bytes) -> bytes:
        """The whole lines that are complete now."""
        text = self._rest + chunk
        end = text.rfind(b"\n") + 1
        if len(text) - end > self._longest_bytes:
            self._rest = b""
            return text + b"\n"
        self._rest = text[end:]
        return text[:end]

    def end(self) -> bytes:
        """What is left when the stream ends, as a line."""
        rest, self._rest = self._rest, b""
        return rest + b"\n" if rest else b""


def _is_object(line: bytes) -> bool:
    return line.startswith(b"{")


def _printable(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r\n").translate(_CONTROL)
