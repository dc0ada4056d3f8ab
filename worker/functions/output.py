"""What a function's process prints: always read, so that no print ever blocks, and logged as `function.output`.

An invocation has room for 100 lines and 64 KB; what is beyond is read and forgotten. Lines between two invocations
count as the earlier one's. A reader that has only to forget looks less often: printing costs the worker next to
nothing then.
"""

import asyncio
import os

from structlog.typing import FilteringBoundLogger

MOST_LINES = 100
MOST_BYTES = 64 * 1024
CHUNK_BYTES = 64 * 1024
FORGET_BYTES = 1024 * 1024
FORGET_PAUSE_SECONDS = 0.005
#: So much is taken at the end of an invocation, before its answer is given: more than a pipe holds.
LAST_BYTES = 2 * 1024 * 1024
LEFT_OUT = "… more lines left out"


class Output:
    """The reading end of a pipe, on the event loop. `descriptor` must not block and is closed by `close()`."""

    def __init__(self, descriptor: int, log: FilteringBoundLogger, rule: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._log = log
        self._rule = rule
        self._request_id = ""
        self._lines_left = MOST_LINES
        self._bytes_left = MOST_BYTES
        self._rest = b""
        self._again: asyncio.TimerHandle | None = None
        self._is_full = False
        self._is_open = True
        self._loop.add_reader(descriptor, self._on_readable)

    def begin(self, request_id: str) -> None:
        """From here on lines belong to this invocation."""
        self._request_id, self._lines_left, self._bytes_left = request_id, MOST_LINES, MOST_BYTES
        self._is_full = False

    def end(self) -> None:
        """Takes what was printed before the answer; a line that is not ended yet is one too."""
        taken = 0
        while self._is_open and taken < LAST_BYTES and (size_bytes := self._read()) > 0:
            taken += size_bytes
        rest, self._rest = self._rest, b""
        if rest:
            self._take(rest)

    def close(self) -> None:
        """The last lines, and no more."""
        if self._is_open:
            self.end()
            self._is_open = False
            self._loop.remove_reader(self._descriptor)
            if self._again is not None:
                self._again.cancel()
            os.close(self._descriptor)

    def _on_readable(self) -> None:
        size_bytes = self._read()
        if size_bytes == 0 or self._is_full:
            self._loop.remove_reader(self._descriptor)
        if size_bytes != 0 and self._is_full:
            self._again = self._loop.call_later(FORGET_PAUSE_SECONDS, self._listen)

    def _listen(self) -> None:
        self._again = None
        self._loop.add_reader(self._descriptor, self._on_readable)

    def _read(self) -> int:
        """One chunk's size; 0 = the end, -1 = nothing now."""
        try:
            chunk = os.read(self._descriptor, FORGET_BYTES if self._is_full else CHUNK_BYTES)
        except OSError:
            return -1
        if not self._is_full:
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            if len(self._rest) > self._bytes_left:
                lines.append(self._rest)
            for line in lines:
                self._take(line)
        return len(chunk)

    def _take(self, line: bytes) -> None:
        if self._is_full:
            return
        if self._lines_left and self._bytes_left:
            self._write_down(line[: self._bytes_left].decode("utf-8", "replace").rstrip("\r"))
        if not self._lines_left or len(line) > self._bytes_left:
            self._is_full, self._rest = True, b""
            self._write_down(LEFT_OUT)
        self._lines_left -= 1
        self._bytes_left -= len(line)

    def _write_down(self, text: str) -> None:
        self._log.info("function.output", rule=self._rule, request_id=self._request_id, line=text)
