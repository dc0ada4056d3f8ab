"""Destination `file`: events as NDJSON, appended to one file that only its owner may read.

Theory of operation
1. For each part: open (create), lock, cut off a torn tail, one write, fdatasync, close. Opening anew costs a few
   microseconds and makes every kind of rotation work: rename, remove, copytruncate.
2. A crash in the middle of the write leaves a line without an end. The cursor did not move, so its record comes
   again: the torn tail is cut off before the next write. What does not look like a record of ours is ended with a
   line end instead, as it may be somebody's.
3. A write that fails half-way (disk full) is cut back to the size before it; if the cut fails too, 2 repairs it.
4. The lock (flock) keeps a process that was frozen in the middle and one that took over from mixing their writes.
Invariant: between two parts every line of the file is one whole record.
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from config.errors import TryLater

# What every record starts with; a torn tail is a piece of a record, or zeros after a power failure.
_RECORD_START = b'{"eventType":'
_BLOCK = 65536


class FileDestination:
    """Appends to `path`, in one thread of its own: a hanging disk holds up nothing else."""

    def __init__(self, path: Path, name: str = "file") -> None:
        self.name = name
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="events-file")

    async def take(self, records: Sequence[bytes]) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, _append, self._path, b"\n".join((*records, b"")))
        except BlockingIOError as error:
            raise TryLater("another process is writing the events file", detail=str(error)) from error
        except OSError as error:
            reason = f"the events file cannot be written: {os.strerror(error.errno or 0)}"
            raise TryLater(reason, detail=str(error)) from error


def _append(path: Path, lines: bytes) -> None:
    descriptor = _opened(path)
    try:
        size = _repaired(descriptor)
        try:
            _write(descriptor, lines)
            os.fdatasync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):  # the next part repairs it
                os.ftruncate(descriptor, size)
            raise
        if size == 0:
            _sync_folder(path.parent)
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """The file, locked; opened again when it was rotated away between the opening and the lock."""
    while True:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                return descriptor
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _repaired(descriptor: int) -> int:
    """Makes the file end with a whole line; returns its size."""
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    line_start = _last_line_start(descriptor, size)
    tail = os.pread(descriptor, len(_RECORD_START), line_start)
    if _RECORD_START.startswith(tail) or not tail.strip(b"\0"):
        os.ftruncate(descriptor, line_start)
        return line_start
    _write(descriptor, b"\n")
    return size + 1


def _last_line_start(descriptor: int, size: int) -> int:
    end = size
    while end > 0:
        start = max(0, end - _BLOCK)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _write(descriptor: int, lines: bytes) -> None:
    left = memoryview(lines)
    while left:  # one write, unless the kernel took a part: the rest then tells why
        left = left[os.write(descriptor, left) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
