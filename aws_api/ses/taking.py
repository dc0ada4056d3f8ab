"""A send becomes a message: checked, made safe, answered with its id, told to the workers. In this order.

A repeat of a send that was taken is answered with the first one's id: an SDK that got no answer tries again with the
same `amz-sdk-invocation-id`, and a program may name its own key in `X-Sluice-Idempotency-Key`.
"""

import re
import time
from email.utils import formatdate
from typing import Final

from aws_api.ses.preparing import Prepared, check_sender, prepared
from aws_api.ses.refusals import SendRefused
from aws_api.ses.send_request import SendRequest
from aws_api.tools import TOOLS, Tools
from aws_api.wire.failures import OperationRefused
from aws_api.wire.off_loop import off_loop
from aws_api.wire.services import Call
from config.logs import get_log
from sending_events.records import EventRecord
from spool.commit import Refusal
from spool.idempotency import INVOCATION_SECONDS, KEY_SECONDS, once_of
from spool.records import NewMessage, new_message_id

#: Why no mail can be taken now → what the client is told; every SDK tries again.
LATER: Final[dict[Refusal, str]] = {
    "not_safe": "Mail cannot be kept safely now, try again later.",
    "full": "Insufficient storage, try again later.",
    "silent": "Temporary service failure, try again later.",
}
_KEY: Final = re.compile(r"[!-~]{1,255}")
_SCOPE: Final = re.compile(r"Credential=[^/,\s]+/\d{8}/([a-z0-9-]{1,40})/")


async def take(call: Call, request: SendRequest) -> str:
    """The id of the message, which is safe. Raises OperationRefused."""
    tools = call.request.app[TOOLS]
    try:
        if refusal := tools.committer.refusal():
            raise _noted(call, _later(refusal))
        ready = await off_loop(len(request.content), prepared, request, tools.settings, call.access_key)
        await _check_configuration_set(tools, ready.parameters.configuration_set)
        check_sender(ready, call.access_key, _region(call))
        key, seconds = _key_of_repeats(call, ready)
    except SendRefused as error:
        raise _noted(call, error.of(request.api)) from error
    message = _message(call, tools, ready, key, seconds)
    memory = call.memory.part(len(message.content))
    began = time.monotonic()
    committed = await tools.committer.commit(message, memory)
    if committed.refusal:
        raise _noted(call, _later(committed.refusal))
    tools.tally.observe("api:commit", time.monotonic() - began)
    tools.tally.count("api_accepted")
    about = {"message_id": committed.message_id, "client": message.client_address}
    if committed.message_id == message.message_id:
        get_log().info("message.accepted", recipients=len(message.recipients), bytes=len(message.content), **about)
    else:
        get_log().info("message.repeated", **about)
    tools.nudger.process([committed.message_id])
    return committed.message_id


async def _check_configuration_set(tools: Tools, name: str) -> None:
    if name and not await tools.configuration_sets.is_known(name):  # the angle brackets are SES's
        reason = f"Configuration set <{name}> does not exist."
        raise SendRefused(reason, "no_such_set", {"ConfigurationSetName": name})


def _key_of_repeats(call: Call, ready: Prepared) -> tuple[str, int]:
    """What makes a repeat known, and for how long. Raises SendRefused."""
    given = call.request.headers.get("X-Sluice-Idempotency-Key")
    if given is not None and not _KEY.fullmatch(given):
        raise SendRefused("X-Sluice-Idempotency-Key must have 1 to 255 visible ASCII characters.")
    if key := given or ready.idempotency_key:
        return key, KEY_SECONDS
    invocation = call.request.headers.get("amz-sdk-invocation-id", "")
    # Apart from keys that programs choose.
    return (f"amz-sdk {invocation}", INVOCATION_SECONDS) if _KEY.fullmatch(invocation) else ("", 0)


def _message(call: Call, tools: Tools, ready: Prepared, key: str, seconds: int) -> NewMessage:
    message_id, user = new_message_id(), call.access_key.name if call.access_key else ""
    sender, recipients = ready.envelope.sender, ready.envelope.recipients
    client_address = _client_address(call)
    accepted = EventRecord(
        "accepted",
        message_id,
        int(time.time() * 1000),
        configuration_set=ready.parameters.configuration_set,
    )
    return NewMessage(
        message_id=message_id,
        sender=sender,
        recipients=recipients,
        content=_received(client_address, tools.settings.smtp.hostname, message_id) + ready.content,
        door="api",
        header_message_id=ready.header_message_id,
        user=user,
        client_address=client_address,
        event=accepted.encode(),
        is_auto_submitted=ready.is_auto_submitted,
        parameters=ready.parameters,
        once=once_of(("key", user) if user else ("from", sender), key, recipients),
        once_seconds=seconds,
    )


def _client_address(call: Call) -> str:
    transport = call.request.transport
    peer = transport.get_extra_info("peername") if transport is not None else None
    return str(peer[0]) if isinstance(peer, tuple) else ""


def _received(client_address: str, hostname: str, message_id: str) -> bytes:
    """Our Received line. No user, no recipient; whether there was TLS in front of us is not known."""
    literal = f"IPv6:{client_address}" if ":" in client_address else client_address
    date = formatdate(int(time.time()), localtime=False).replace("-0000", "+0000")
    text = f"Received: from unknown ([{literal}])\r\n\tby {hostname} with HTTP\r\n\tid {message_id}; {date}\r\n"
    return text.encode("ascii", "replace")


def _region(call: Call) -> str:
    """The region that the client signed for; there is one of us for all."""
    scope = _SCOPE.search(call.request.headers.get("Authorization", ""))
    return scope[1] if scope else "us-east-1"


def _later(refusal: Refusal) -> OperationRefused:
    return OperationRefused("ServiceUnavailableException", LATER[refusal])


def _noted(call: Call, refusal: OperationRefused) -> OperationRefused:
    call.request.app[TOOLS].tally.count(f"api_refused:{refusal.code}")
    get_log().info("message.refused", reply=refusal.code, client=_client_address(call))
    return refusal
