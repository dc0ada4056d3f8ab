"""AUTH PLAIN (RFC 4616) and AUTH LOGIN, with and without an initial response.

A wrong password is answered after a growing pause, the third one closes the connection. Nothing of what a client
sends here is logged, counted by name or repeated in a reply.
"""

import asyncio
import base64
import binascii
from typing import TYPE_CHECKING

from config.logs import get_log
from smtp_gateway.credentials import TooManyLogins
from smtp_gateway.replies import Reply
from smtp_gateway.users import WrongUser

if TYPE_CHECKING:
    from smtp_gateway.session import SmtpSession

MOST_FAILED_LOGINS = 3


async def auth(session: "SmtpSession", argument: str) -> Reply:
    """The command AUTH."""
    refusal = _refusal(session)
    if refusal:
        return refusal
    mechanism, _, initial = argument.partition(" ")
    try:
        match mechanism.upper():
            case "PLAIN":
                name, password = await _plain(session, initial.strip())
            case "LOGIN":
                name, password = await _login(session, initial.strip())
            case "":
                return Reply.BAD_ARGUMENTS
            case _:
                return Reply.AUTH_UNKNOWN_MECHANISM
    except _Ended as ended:
        return ended.reply
    return await _verified(session, name, password)


class _Ended(Exception):  # noqa: N818 - an exchange that ended early, no error of ours
    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.name)
        self.reply = reply


def _refusal(session: "SmtpSession") -> Reply | None:
    if not session.session.extended_smtp:
        return Reply.HELLO_FIRST
    if session.user:
        return Reply.AUTH_TWICE
    if session.is_in_transaction:
        return Reply.AUTH_INSIDE_TRANSACTION
    if not session.door.may_authenticate(has_tls=session.has_tls):
        return Reply.AUTH_NEEDS_TLS
    return None if session.door.credentials.exist() else Reply.AUTH_NOT_OFFERED


async def _plain(session: "SmtpSession", initial: str) -> tuple[str, str]:
    response = _decoded(initial) if initial else await _challenge(session, b"")
    parts = response.split(b"\0")
    if len(parts) != 3:
        raise _Ended(Reply.AUTH_MALFORMED)
    # The authorization identity (parts[0]) is not used: who logs in acts as itself.
    return _text(parts[1]), _text(parts[2])


async def _login(session: "SmtpSession", initial: str) -> tuple[str, str]:
    name = _decoded(initial) if initial else await _challenge(session, b"Username:")
    password = await _challenge(session, b"Password:")
    return _text(name), _text(password)


async def _challenge(session: "SmtpSession", text: bytes) -> bytes:
    await session.send(b"334 " + base64.b64encode(text) + b"\r\n")
    line = await session.next_line()
    if line is None:
        raise ConnectionAbortedError("the client left during AUTH")
    if len(line) > session.door.settings.max_command_line_bytes:
        raise _Ended(Reply.AUTH_MALFORMED)
    if line.strip() == b"*":
        raise _Ended(Reply.AUTH_CANCELLED)
    return _decoded(line.strip().decode("ascii", "replace"))


def _decoded(text: str) -> bytes:
    if text == "=":  # RFC 4954: an initial response of no bytes
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _Ended(Reply.AUTH_MALFORMED) from None


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _Ended(Reply.AUTH_MALFORMED) from None


async def _verified(session: "SmtpSession", name: str, password: str) -> Reply:
    session.is_busy = True
    try:
        session.user = await session.door.credentials.verify(name, password)
        if session.user:
            session.failed_logins = 0
            return Reply.AUTHENTICATED
        session.failed_logins += 1
        await asyncio.sleep(session.door.wrong_login_pause_seconds * session.failed_logins)
    except TooManyLogins:
        return Reply.AUTH_BUSY
    except WrongUser as error:
        get_log().error("gateway.session_failed", client=session.client_address, error=error.detail)
        return Reply.AUTH_BUSY
    finally:
        session.is_busy = False
    return Reply.TOO_MANY_LOGINS if session.failed_logins >= MOST_FAILED_LOGINS else Reply.WRONG_CREDENTIALS
