"""What each SMTP command does. A command takes the session and its argument and returns the reply.

`None` as a reply: the command has answered by itself (it had values to tell, or the connection changed under it).
"""

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from smtp_gateway.addresses import MailCommand, identity_of, parse_mail, parse_rcpt
from smtp_gateway.authentication import auth
from smtp_gateway.replies import Reply
from smtp_gateway.taking import REFUSALS, data
from spool.sender_patterns import may_send_as

if TYPE_CHECKING:
    from smtp_gateway.session import SmtpSession

Command = Callable[["SmtpSession", str], Awaitable[Reply | None]]

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
# A browser's request to us may carry commands in its body: it is cut off at the first word.
HTTP_VERBS = frozenset({"GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"})


async def obey(session: "SmtpSession", line: bytes) -> Reply | None:
    """Understands a command line and does it."""
    if len(line) > session.door.settings.max_command_line_bytes + 2:
        return Reply.COMMAND_TOO_LONG
    verb_bytes, _, argument_bytes = line.rstrip(b"\r\n").partition(b" ")
    verb = verb_bytes.decode("ascii", "replace").upper()
    if verb in HTTP_VERBS:
        return Reply.NOT_HTTP
    if not line.endswith(b"\r\n") or _CONTROL.search(line, 0, len(line) - 2):
        return Reply.BAD_LINE
    command = COMMANDS.get(verb)
    if command is None:
        return Reply.NOT_IMPLEMENTED if verb in NOT_IMPLEMENTED else Reply.UNKNOWN_COMMAND
    try:
        argument = argument_bytes.decode("utf-8").strip(" ")
    except UnicodeDecodeError:
        return Reply.BAD_LINE
    return await command(session, argument)


async def ehlo(session: "SmtpSession", argument: str) -> Reply | None:
    """EHLO: what this server can do."""
    if not argument:
        return Reply.BAD_ARGUMENTS
    _begin(session, argument, is_extended=True)
    await session.send(session.door.hello(has_tls=session.has_tls))
    return None


async def helo(session: "SmtpSession", argument: str) -> Reply | None:
    """HELO: the old form, without extensions."""
    if not argument:
        return Reply.BAD_ARGUMENTS
    _begin(session, argument, is_extended=False)
    await session.send(Reply.HELLO.line_with(hostname=session.door.settings.hostname))
    return None


def _begin(session: "SmtpSession", name: str, *, is_extended: bool) -> None:
    session.start_afresh()
    session.session.host_name = name
    session.session.extended_smtp = is_extended


async def starttls(session: "SmtpSession", argument: str) -> Reply | None:
    """STARTTLS: from here on under TLS, as if nothing had been said before."""
    if argument:
        return Reply.BAD_ARGUMENTS
    if session.has_tls:
        return Reply.TLS_ALREADY
    if session.door.certificates is None:
        return Reply.NO_TLS
    await session.upgrade_to_tls()
    return None


async def mail(session: "SmtpSession", argument: str) -> Reply:
    """MAIL: may this client send, and so much, now?"""
    refusal = _out_of_place(session)
    if refusal:
        return refusal
    understood = parse_mail(argument, is_extended=session.session.extended_smtp)
    if isinstance(understood, Reply):
        return understood
    refusal = _unwanted(session, understood)
    if refusal:
        return refusal
    session.envelope.mail_from = understood.sender
    session.envelope.smtp_utf8 = understood.is_smtputf8
    session.envelope.commands_before = session.commands - 1
    return Reply.SENDER_OK


def _out_of_place(session: "SmtpSession") -> Reply | None:
    """Whether this client may say MAIL at all now: connections are kept for long, and users may change meanwhile."""
    if session.user:
        session.user = session.door.credentials.current(session.user)
        if session.user is None:  # never as nobody: an allowed network would let it send as everybody
            return Reply.LOGIN_ENDED
    if not session.session.host_name:
        return Reply.HELLO_FIRST
    if session.is_in_transaction:
        return Reply.NESTED_MAIL
    if session.user is None and not session.door.networks.has(session.client_address):
        return session.door.refusal_of_stranger(has_tls=session.has_tls)
    return None


def _unwanted(session: "SmtpSession", understood: MailCommand) -> Reply | None:
    """Whether this message is too large, not the user's to send, or more than we can take now."""
    door = session.door
    if understood.declared_bytes > door.settings.max_message_bytes:
        return Reply.TOO_LARGE
    if session.user and not may_send_as(understood.sender, session.user.senders):
        return Reply.SENDER_NOT_YOURS
    if not door.budget.has_room_for(understood.declared_bytes):
        return Reply.NO_MEMORY
    refusal = door.committer.refusal()
    return REFUSALS[refusal] if refusal else None


async def rcpt(session: "SmtpSession", argument: str) -> Reply | None:
    """RCPT: one more recipient; a second time the same one changes nothing.

    One that is refused is no error of the connection: a list may have many of them. But it stays one of the commands
    that a connection may give, also when the message is accepted.
    """
    reply = await _with_recipient(session, argument)
    if not reply.is_clients_fault:
        return reply
    session.envelope.commands_before += 1
    await session.answer(reply, is_error=False)
    return None


async def _with_recipient(session: "SmtpSession", argument: str) -> Reply:
    transaction = session.envelope
    if not session.is_in_transaction:
        return Reply.MAIL_FIRST
    recipient = parse_rcpt(argument, is_extended=session.session.extended_smtp)
    if isinstance(recipient, Reply):
        return recipient
    identity = identity_of(recipient)
    if identity in transaction.identities:
        return Reply.RECIPIENT_OK
    if len(transaction.rcpt_tos) >= session.door.settings.max_recipients:
        return Reply.TOO_MANY_RECIPIENTS
    if await session.door.suppressed.has(recipient):
        return Reply.SUPPRESSED
    transaction.identities.add(identity)
    transaction.rcpt_tos.append(recipient)
    return Reply.RECIPIENT_OK


async def rset(session: "SmtpSession", argument: str) -> Reply:
    """RSET: as if MAIL had not been said."""
    if argument:
        return Reply.BAD_ARGUMENTS
    session.start_afresh()
    return Reply.OK


async def noop(_: "SmtpSession", __: str) -> Reply:
    """NOOP."""
    return Reply.OK


async def help_(_: "SmtpSession", __: str) -> Reply:
    """HELP."""
    return Reply.HELP


async def vrfy(_: "SmtpSession", argument: str) -> Reply:
    """VRFY: tells nothing about anybody."""
    return Reply.CANNOT_VERIFY if argument else Reply.BAD_ARGUMENTS


async def quit_(_: "SmtpSession", __: str) -> Reply:
    """QUIT."""
    return Reply.GOODBYE


COMMANDS: dict[str, Command] = {
    "EHLO": ehlo,
    "HELO": helo,
    "STARTTLS": starttls,
    "AUTH": auth,
    "MAIL": mail,
    "RCPT": rcpt,
    "DATA": data,
    "RSET": rset,
    "NOOP": noop,
    "HELP": help_,
    "VRFY": vrfy,
    "QUIT": quit_,
}
NOT_IMPLEMENTED = frozenset({"EXPN", "BDAT", "ETRN", "TURN", "SEND", "SOML", "SAML"})
