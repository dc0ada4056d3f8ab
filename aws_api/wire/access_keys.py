"""Keys of the AWS API in a JSON file: access key id, secret, name, sender patterns (for operations that send).

The secret must be readable here, because a signature is checked by making it again. So the file must belong to the
process's user or to root and be closed to everybody else (mode 0600), or none of it is used. It is written whole and
atomically under a lock file, and read again when it changes. A missing file has no keys. No secret is in a repr, a
list or a log line; `add` returns it once.
"""

import fcntl
import json
import os
import re
import secrets
import stat
import string
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from config.errors import Refused

#: Not AKIA: nobody shall take them for keys of an AWS account.
ID_BEGINNING: Final = "MSKEY"
_ID_ALPHABET: Final = string.ascii_uppercase + "234567"
_SECRET_ALPHABET: Final = string.ascii_letters + string.digits
_NAME: Final = re.compile(r"[\x21-\x7e]{1,128}")
_SENDER_PATTERN: Final = re.compile(r"\*|(?:\*\.|[^\s@*]+@)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")

_Stamp = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class AccessKey:
    """One key. `senders` are patterns: user@domain, domain, *.domain, * for all."""

    access_key_id: str
    name: str
    senders: tuple[str, ...] = ("*",)
    secret: str = field(default="", repr=False)


class WrongKey(Refused):
    """A name or pattern that cannot be used, or a file that cannot be read or must not be trusted."""


class AccessKeyFile:
    """The file; a missing one has no keys."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[_Stamp | None, dict[str, AccessKey]] = (None, {})

    def find(self, access_key_id: str) -> AccessKey | None:
        """The key with this id, as the file has it now. Raises WrongKey when the file cannot be used."""
        return self._keys().get(access_key_id)

    def list(self) -> list[AccessKey]:
        """All keys by name. Raises WrongKey when the file cannot be used."""
        return sorted(self._keys().values(), key=lambda key: key.name)

    def add(self, name: str, senders: Sequence[str] = ("*",)) -> AccessKey:
        """Makes a key. Raises WrongKey, also when there is one of this name: its secret would be lost."""
        if not _NAME.fullmatch(name):
            raise WrongKey("a key's name has 1 to 128 visible ASCII characters and no space")
        if wrong := [pattern for pattern in senders if not _SENDER_PATTERN.fullmatch(pattern)]:
            raise WrongKey(f"sender patterns are user@domain, domain, *.domain or *, not {', '.join(wrong)}")
        key = AccessKey(
            ID_BEGINNING + "".join(secrets.choice(_ID_ALPHABET) for _ in range(15)),
            name,
            tuple(senders) or ("*",),
            "".join(secrets.choice(_SECRET_ALPHABET) for _ in range(40)),
        )

        def put(keys: dict[str, AccessKey]) -> None:
            if any(one.name == name for one in keys.values()):
                raise WrongKey(f"there is a key named {name}; remove it first, or choose another name")
            keys[key.access_key_id] = key

        self._change(put)
        return key

    def remove(self, name_or_id: str) -> AccessKey | None:
        """Removes a key by its name or its id; None when there was none."""

        def take(keys: dict[str, AccessKey]) -> AccessKey | None:
            found = next((key for key in keys.values() if name_or_id in {key.name, key.access_key_id}), None)
            return keys.pop(found.access_key_id) if found else None

        removed: AccessKey | None = self._change(take)
        return removed

    def _keys(self) -> dict[str, AccessKey]:
        now = _stamp(self.path)
        if now != self._seen[0]:
            keys = _read(self.path) if now else {}
            self._seen = (now, keys)
        return self._seen[1]

    def _change(self, change: Callable[[dict[str, AccessKey]], Any]) -> Any:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path.with_name(self.path.name + ".lock")):
                keys = _read(self.path) if self.path.exists() else {}
                result = change(keys)
                _write(self.path, keys)
        except OSError as error:
            raise WrongKey(f"{self.path}: cannot be written: {error.strerror}") from error
        return result


def _stamp(path: Path) -> _Stamp | None:
    """What changes with the file; its mode and owner too, so that a mended one is read again."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WrongKey(f"{path}: cannot be read: {error.strerror}") from error
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode, status.st_uid


def _read(path: Path) -> dict[str, AccessKey]:
    try:
        with path.open(encoding="utf-8") as file:
            _check_closed(path, os.fstat(file.fileno()))
            values = json.load(file)
        keys = [
            AccessKey(_text(one["access_key_id"]), _text(one["name"]), tuple(one["senders"]), _text(one["secret"]))
            for one in values["access_keys"]
        ]
    except OSError as error:
        raise WrongKey(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        # The error's own text may show what the file holds.
        raise WrongKey(f"{path}: is no file of access keys: {type(error).__name__}") from None
    return {key.access_key_id: key for key in keys}


def _check_closed(path: Path, status: os.stat_result) -> None:
    """Whoever can read it has all keys, whoever can write it makes their own."""
    allowed = {0, os.geteuid()} if os.geteuid() else {0, path.parent.stat().st_uid}
    if status.st_uid not in allowed:
        raise WrongKey(f"{path}: belongs to another user (uid {status.st_uid}); it must be the process's own")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise WrongKey(f"{path}: others can read or write it (mode {stat.S_IMODE(status.st_mode):04o}); chmod 600 it")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("not a text")
    return value


def _write(path: Path, keys: dict[str, AccessKey]) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".new")  # made with mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if not os.geteuid():  # root makes keys for the user that the folder belongs to
                folder = path.parent.stat()
                os.fchown(descriptor, folder.st_uid, folder.st_gid)
            json.dump({"access_keys": [asdict(key) for key in keys.values()]}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
