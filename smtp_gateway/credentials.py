"""Verifies user names and passwords without blocking the event loop.

scrypt runs in two threads of its own: a flood of wrong passwords costs other sessions nothing but those threads, and
beyond MAX_WAITING tries the answer is "later". A password that was right is remembered as an HMAC under a key that
only this process knows, bound to the stored hash: an application that logs in on every connection pays scrypt once,
and a changed or removed user is verified anew.
"""

import asyncio
import hashlib
import hmac
import secrets
from concurrent.futures import ThreadPoolExecutor

from config.errors import TryLater
from smtp_gateway.users import User, UserFile, WrongUser

THREADS = 2
MAX_WAITING = 64


class TooManyLogins(TryLater):
    """More passwords wait to be verified than this process takes on."""


class Credentials:
    """The users as the gateway asks for them. Close it at the end."""

    def __init__(self, users: UserFile) -> None:
        self._users = users
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="scrypt")
        self._key = secrets.token_bytes(32)
        self._remembered: dict[str, tuple[str, bytes]] = {}
        self._waiting = 0

    def exist(self) -> bool:
        """Whether there is any user. A broken file has some: they are told "later", not "never"."""
        try:
            return bool(self._users.list())
        except WrongUser:
            return True

    async def verify(self, name: str, password: str) -> User | None:
        """The user, or None for a wrong name or password. Raises TooManyLogins, and WrongUser for a broken file."""
        user = self._users.find(name)
        mac = hmac.digest(self._key, password.encode("utf-8", "surrogateescape"), hashlib.sha256)
        stored, remembered = self._remembered.get(name, ("", b""))
        if user and stored == user.password_hash and hmac.compare_digest(mac, remembered):
            return user
        if self._waiting >= MAX_WAITING:
            raise TooManyLogins("too many logins at once")
        self._waiting += 1
        try:
            verified = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._users.verify, name, password
            )
        finally:
            self._waiting -= 1
        if verified:
            self._remembered[name] = (verified.password_hash, mac)
        return verified

    def current(self, user: User) -> User | None:
        """One who logged in before, as the file has it now; None when it is gone or has another password.

        While the file cannot be read, who is logged in stays.
        """
        try:
            now = self._users.find(user.name)
        except WrongUser:
            return user
        return now if now and now.password_hash == user.password_hash else None

    def close(self) -> None:
        """Lets the threads go; a running try ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
