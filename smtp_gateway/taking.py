"""DATA: reads the message, judges it, makes it safe, says so, and tells the workers. In this order.

A refusal always comes after the final dot: a reply in mid-DATA would make the rest of the message commands.
"""

import time
from typing import TYPE_CHECKING

from config.logs import get_log
from sending_events.records import EventRecord
from smtp_gateway.admission import Reservation
from smtp_gateway.data_reader import DataReader
from smtp_gateway.headers import header_facts, protocol_name, received_line, shown_client_name
from smtp_gateway.replies import Reply
from spool.commit import Refusal
from spool.idempotency import KEY_SECONDS, once_of
from spool.records import NewMessage, new_message_id
from spool.send_parameters import SMTP_OPERATION
from spool.ses_headers import idempotency_key_of, parameters_of

if TYPE_CHECKING:
    from smtp_gateway.session import SmtpSession


#: Why the spool does not take a message now → what the client hears.
REFUSALS: dict[Refusal, Reply] = {
    "not_safe": Reply.STORE_NOT_SAFE,
    "full": Reply.STORE_FULL,
    "silent": Reply.STORE_SILENT,
}


async def data(session: "SmtpSession", argument: str) -> Reply | None:
    """DATA: reads the message, makes it safe, and says so."""
    if argument:
        return Reply.BAD_ARGUMENTS
    if not session.is_in_transaction:
        return Reply.MAIL_FIRST
    if not session.envelope.rcpt_tos:
        await session.answer(Reply.NO_RECIPIENTS, is_error=False)  # all were refused, and told so
        return None
    await session.send(Reply.GO_AHEAD.line)
    memory = Reservation(session.door.budget)
    message_id = new_message_id()
    received = _received_line(session, message_id)
    try:
        reader = await _read(session, memory, received)
        message = reader.fault or _message(session, message_id, reader.content(), below=len(received) + 2)
    except BaseException:
        memory.release()
        raise
    if isinstance(message, Reply):
        memory.release()
        return _refused(session, message)
    return await _commit(session, message, memory)


async def _read(session: "SmtpSession", memory: Reservation, received_line: bytes) -> DataReader:
    settings = session.door.settings
    reader = DataReader(
        max_message_bytes=settings.max_message_bytes,
        max_line_bytes=settings.max_line_bytes,
        received_line=received_line,
    )
    rest = None
    while rest is None:
        rest = reader.feed(await session.next_chunk())
        if not memory.hold(reader.kept_bytes):
            reader.refuse(Reply.NO_MEMORY)
            memory.release()
    session.put_back(rest)
    return reader


def _received_line(session: "SmtpSession", message_id: str) -> bytes:
    """Our Received line without its last CRLF, with the time at which the message began to come."""
    said = session.session
    return received_line(
        client_name=said.host_name or "",
        client_address=session.client_address,
        hostname=session.door.settings.hostname,
        protocol=protocol_name(
            is_extended=said.extended_smtp,
            is_smtputf8=session.envelope.smtp_utf8,
            has_tls=session.has_tls,
            is_authenticated=session.user is not None,
        ),
        message_id=message_id,
        now=time.time(),
    )


def _message(session: "SmtpSession", message_id: str, content: bytes, *, below: int) -> NewMessage | Reply:
    """The message as the spool takes it, or why it is refused after all. The client's own part begins at `below`."""
    transaction = session.envelope
    facts = header_facts(content, start=below, max_bytes=session.door.settings.max_header_bytes)
    if facts.is_too_long:
        return Reply.HEADER_TOO_LONG
    if facts.received_lines > session.door.settings.max_received_headers:
        return Reply.TOO_MANY_HOPS
    sender, recipients, user = transaction.mail_from or "", tuple(transaction.rcpt_tos), session.user
    headers = content[below : facts.end]
    parameters, key = parameters_of(headers, SMTP_OPERATION), idempotency_key_of(headers)
    accepted = EventRecord(
        "accepted", message_id, int(time.time() * 1000), configuration_set=parameters.configuration_set
    )
    return NewMessage(
        message_id=message_id,
        sender=sender,
        recipients=recipients,
        content=content,
        door="smtp",
        header_message_id=facts.header_message_id,
        user=user.name if user else "",
        client_address=session.client_address,
        helo=shown_client_name(session.session.host_name or ""),
        event=accepted.encode(),
        is_auto_submitted=facts.is_auto_submitted,
        parameters=parameters,
        once=once_of(("user", user.name) if user else ("from", sender), key, recipients),
        once_seconds=KEY_SECONDS if key else 0,
    )


async def _commit(session: "SmtpSession", message: NewMessage, memory: Reservation) -> Reply | None:
    door, began = session.door, session.loop.time()
    session.is_busy = True
    try:
        committed = await door.committer.commit(message, memory)
    finally:
        session.is_busy = False
    if committed.refusal:
        return _refused(session, REFUSALS[committed.refusal])
    door.tally.observe("smtp:commit", session.loop.time() - began)
    door.tally.count("smtp_accepted")
    if committed.message_id != message.message_id:
        get_log().info("message.repeated", message_id=committed.message_id, client=session.client_address)
    else:
        get_log().info(
            "message.accepted",
            message_id=message.message_id,
            recipients=len(message.recipients),
            bytes=len(message.content),
            client=session.client_address,
        )
    session.commands = session.envelope.commands_before
    session.errors = 0
    session.start_afresh()
    await _tell(session, committed.message_id)
    return None


async def _tell(session: "SmtpSession", message_id: str) -> None:
    """The answer, then the nudge; the nudge also when the client is gone: the message is ours now."""
    failpoints = session.door.failpoints
    try:
        await session.send(Reply.ACCEPTED.line_with(message_id=message_id))
        if failpoints:
            await session.until_written()
            failpoints.reached("gateway.after_reply")
    finally:
        session.door.nudger.process([message_id])


def _refused(session: "SmtpSession", reply: Reply) -> Reply:
    get_log().info(
        "message.refused",
        reply=reply.name.lower(),
        recipients=len(session.envelope.rcpt_tos),
        client=session.client_address,
    )
    session.start_afresh()
    return reply
