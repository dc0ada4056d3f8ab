"""Keeps a copy of the last rules file that could be used, for a worker that starts while the file cannot be.

The copy is whole or not there: written beside, then renamed. It has mode 0600, because rules may hold secrets of
functions. Its first line, a comment, says which file it was, so that relative paths still mean the same, and what its
version is; the rest are the file's bytes. The copy of another file, a damaged one, and one that others could have
written is never used.
Not guaranteed: that it is the newest set anywhere. Each data dir has its own, of the last worker that took a set there.
"""

import json
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from config.errors import Refused
from worker.rules.rule_file import MAX_FILE_BYTES, version_of

FILE_NAME = "rules-last-good.toml"
_MAX_FIRST_LINE_BYTES = 64 * 1024


class CopyRefused(Refused):
    """There is a copy, and it must not be used."""


class LastGood:
    """The copy of `file` in a data dir. Other files with the same data dir take its place."""

    def __init__(self, data_dir: Path, file: Path) -> None:
        self.path = data_dir / FILE_NAME
        self._file = str(file.absolute())

    def keep(self, raw: bytes) -> None:
        """Puts these bytes of the file in place of what was kept. Raises OSError."""
        wanted = self._first_line(raw) + raw
        with suppress(OSError, CopyRefused):
            if self._content() == wanted:
                return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(self.path, wanted)

    def read(self) -> bytes | None:
        """The bytes of the file as they were; None = there is no copy. Raises CopyRefused."""
        try:
            content = self._content()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CopyRefused(f"{self.path}: cannot be read: {error.strerror}") from error
        first_line, _, raw = content.partition(b"\n")
        try:
            said = json.loads(first_line.removeprefix(b"#"))
            file, version = str(said["copy_of"]), said["version"]
        except (ValueError, KeyError, TypeError) as error:
            raise CopyRefused(f"{self.path}: is no copy of rules") from error
        if file != self._file:
            raise CopyRefused(f"{self.path}: is a copy of {file}")
        if version != version_of(raw):
            raise CopyRefused(f"{self.path}: is damaged: it is not version {version}")
        return raw

    def _first_line(self, raw: bytes) -> bytes:
        said = {"copy_of": self._file, "version": version_of(raw)}
        return b"# " + json.dumps(said).encode("ascii") + b"\n"

    def _content(self) -> bytes:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._check_own(os.fstat(descriptor))
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(MAX_FILE_BYTES + _MAX_FIRST_LINE_BYTES)
        finally:
            os.close(descriptor)

    def _check_own(self, status: os.stat_result) -> None:
        """Whoever writes rules lets the worker run programs."""
        if not stat.S_ISREG(status.st_mode):
            raise CopyRefused(f"{self.path}: is no file")
        if status.st_uid not in {0, os.geteuid()}:
            raise CopyRefused(f"{self.path}: belongs to another user (uid {status.st_uid})")
        if (mode := stat.S_IMODE(status.st_mode)) & 0o077:
            raise CopyRefused(f"{self.path}: others can read or write it (mode {mode:04o}); chmod 600 it")


def _write(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".new")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
