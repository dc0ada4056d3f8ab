"""SMTP users in a JSON file (mode 0600): name, scrypt hash of the password, allowed sender patterns.

Written whole and atomically under a lock file, so that two commands at once lose nothing and a running gateway never
reads half a file. Read again when it changes. It does not keep passwords and does not log names.
"""

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from config.errors import Refused
from smtp_gateway.addresses import punycode

# 16 MiB and some 50 ms a try (OWASP's second scrypt row, https://cheatsheetseries.owasp.org, Password Storage).
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**14, 8, 1
MAX_PASSWORD_BYTES = 1024

_NAME = re.compile(r"[\x21-\x7e]{1,128}")
_SENDER_PATTERN = re.compile(r"\*|(?:\*\.|[^\s@*]+@)?[^\s@*]+\.?[^\s@*]*")


@dataclass(frozen=True, slots=True)
class User:
    """One SMTP user. `senders` are patterns: user@domain, domain, *.domain, * for all."""

    name: str
    senders: tuple[str, ...]
    #: scrypt$n$r$p$salt$key, the last two in hex.
    password_hash: str = field(repr=False)


class WrongUser(Refused):
    """A name, password or pattern that cannot be used, or a file that cannot be read."""


class UserFile:
    """The file; a missing one has no users."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[tuple[int, int, int] | None, dict[str, User]] = (None, {})

    def add(self, name: str, password: str, senders: Sequence[str] = ("*",)) -> User:
        """Adds a user or replaces it. Raises WrongUser."""
        if not _NAME.fullmatch(name):
            raise WrongUser("a user name has 1 to 128 visible ASCII characters and no space")
        if not 0 < len(password.encode()) <= MAX_PASSWORD_BYTES:
            raise WrongUser(f"a password has 1 to {MAX_PASSWORD_BYTES} bytes")
        patterns = {pattern: _as_compared(pattern) for pattern in senders}
        wrong = [pattern for pattern, compared in patterns.items() if compared is None]
        if wrong or not senders:
            raise WrongUser(f"sender patterns are user@domain, domain, *.domain or *, not {', '.join(wrong)!r}")
        user = User(name, tuple(compared for compared in patterns.values() if compared), hashed(password))
        self._change(lambda users: users.update({name: user}))
        return user

    def remove(self, name: str) -> bool:
        """Removes a user; False when there was none."""
        return self._change(lambda users: users.pop(name, None)) is not None

    def list(self) -> list[User]:
        """All users by name. Raises WrongUser when the file cannot be read."""
        return sorted(self._users().values(), key=lambda user: user.name)

    def find(self, name: str) -> User | None:
        """One user as the file has it now."""
        return self._users().get(name)

    def verify(self, name: str, password: str) -> User | None:
        """The user when the password is right. Takes as long for an unknown name; run it in a thread."""
        user = self.find(name)
        is_right = matches(password, user.password_hash if user else _NOBODY)
        return user if user and is_right else None

    def _users(self) -> dict[str, User]:
        seen, users = self._seen
        now = _signature(self.path)
        if now != seen:
            users = _read(self.path) if now else {}
            self._seen = (now, users)
        return users

    def _change(self, change: Callable[[dict[str, User]], Any]) -> Any:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self.path.with_name(self.path.name + ".lock")):
            users = _read(self.path) if self.path.exists() else {}
            result = change(users)
            _write(self.path, users)
        return result


def _as_compared(pattern: str) -> str | None:
    """A pattern in the form in which senders are known: the domain as punycode. None = it could never match."""
    if not _SENDER_PATTERN.fullmatch(pattern):
        return None
    if pattern.isascii():
        return pattern
    begin = 2 if pattern.startswith("*.") else pattern.find("@") + 1
    before, ascii_domain = pattern[:begin], punycode(pattern[begin:])
    return before + ascii_domain if ascii_domain and before.isascii() else None


def hashed(password: str) -> str:
    """A fresh scrypt hash with its parameters."""
    salt = secrets.token_bytes(16)
    key = _scrypt(password, salt, SCRYPT_N, SCRYPT_R, SCRYPT_P)
    return f"scrypt${SCRYPT_N}${SCRYPT_R}${SCRYPT_P}${salt.hex()}${key.hex()}"


def matches(password: str, password_hash: str) -> bool:
    """Whether a password belongs to a hash, compared in constant time."""
    _, n, r, p, salt, key = password_hash.split("$")
    given = _scrypt(password, bytes.fromhex(salt), int(n), int(r), int(p))
    return hmac.compare_digest(given, bytes.fromhex(key))


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    secret = password.encode("utf-8", "surrogateescape")[: MAX_PASSWORD_BYTES + 1]
    return hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32)


# Compared with when the name is unknown, so that a stranger cannot tell names by the time it takes.
_NOBODY = f"scrypt${SCRYPT_N}${SCRYPT_R}${SCRYPT_P}${'00' * 16}${'00' * 32}"


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WrongUser(f"{path}: cannot be read: {error.strerror}") from error
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(path: Path) -> dict[str, User]:
    try:
        values = json.loads(path.read_text("utf-8"))
        return {one["name"]: User(one["name"], tuple(one["senders"]), one["password_hash"]) for one in values["users"]}
    except OSError as error:
        raise WrongUser(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise WrongUser(f"{path}: is no file of SMTP users: {error}") from error


def _write(path: Path, users: dict[str, User]) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".new")  # made with mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"users": [asdict(user) for user in users.values()]}, file, indent=1)
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
