"""PutRawMessageContent: what lies in S3 stands in for the message from now on.

In this order: the message is known, its content is fetched, compared with what was accepted, and put. Two updates at
once: the later one wins, whole. An update counts for delivery only while the message's function runs; afterwards it is
kept and read again, and no mail changes (spool/message_flow.py decides, in one step).
"""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, assert_never

from aws_api.message_flow.fetching import Location
from aws_api.message_flow.get_content import unknown_message
from aws_api.message_flow.mime_check import MessageRejected, check_update
from aws_api.tools import TOOLS
from aws_api.wire.failures import OperationRefused
from aws_api.wire.services import Call
from spool.message_flow import MessageFlow


async def put_raw_message_content(call: Call) -> Mapping[str, Any]:
    """The answer's members: none. Raises OperationRefused, TryLater."""
    tools = call.request.app[TOOLS]
    message_id, reference = call.parameters["messageId"], call.parameters["content"]["s3Reference"]
    location = Location(reference["bucket"], reference["key"], reference.get("objectVersion", ""))
    size_bytes = await _size_of(tools.flow, message_id)
    async with tools.updates.fetched(location, beside_bytes=size_bytes) as new:
        original = await tools.flow.accepted_content(message_id)
        if original is None:
            raise unknown_message(message_id)
        try:
            content = await asyncio.to_thread(check_update, new, original, tools.settings)
        except MessageRejected as error:
            raise OperationRefused("MessageRejected", error.reason) from error
        answer = await tools.flow.put(message_id, content)
    match answer:
        case "counts" | "kept":
            return {}
        case "unknown":
            raise unknown_message(message_id)
        case "frozen":
            raise OperationRefused("MessageFrozen", "The message cannot be updated: it is a redirect or a bounce.")
        case _:
            assert_never(answer)


async def _size_of(flow: MessageFlow, message_id: str) -> int:
    """Bytes of the message as it is now."""
    reading = await flow.read(message_id)
    if reading is None:
        raise unknown_message(message_id)
    async with aclosing(reading.chunks) as chunks:
        await anext(chunks, b"")  # a generator that was never begun closes nothing
    return reading.size_bytes
