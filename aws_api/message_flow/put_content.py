"""PutRawMessageContent: what lies in S3 stands in for the message from now on.

In this order: the message is known, its content is fetched, compared with what the function got, and put. Two updates
at once: the later one wins, whole. An update counts for delivery only when it begins and ends in one run of the
message's function; else it is kept and read again, and no mail changes (spool/message_flow.py decides, in one step).
"""

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any, assert_never

from aws_api.message_flow.fetching import Location
from aws_api.message_flow.get_content import unknown_message
from aws_api.message_flow.mime_check import MessageRejected, check_update
from aws_api.tools import TOOLS, Tools
from aws_api.wire.failures import OperationRefused
from aws_api.wire.services import Call
from spool.content import ContentMissing
from spool.message_flow import BegunPut, MessageFlow, Put


async def put_raw_message_content(call: Call) -> Mapping[str, Any]:
    """The answer's members: none. Raises OperationRefused, TryLater."""
    tools = call.request.app[TOOLS]
    message_id, reference = call.parameters["messageId"], call.parameters["content"]["s3Reference"]
    location = Location(reference["bucket"], reference["key"], reference.get("objectVersion", ""))
    begun = await _begun(tools.flow, message_id)
    try:
        answer = await _put(begun, location, tools)
    except ContentMissing:  # another run has begun with another content: this update is too late for its own
        again = await _begun(tools.flow, message_id)
        answer = await _put(dataclasses.replace(again, run=begun.run), location, tools)
    match answer:
        case "counts" | "kept":
            return {}
        case "unknown":
            raise unknown_message(message_id)
        case "frozen":
            raise OperationRefused("MessageFrozen", "The message cannot be updated: it is a redirect or a bounce.")
        case _:
            assert_never(answer)


async def _begun(flow: MessageFlow, message_id: str) -> BegunPut:
    begun = await flow.begin_put(message_id)
    if begun is None:
        raise unknown_message(message_id)
    return begun


async def _put(begun: BegunPut, location: Location, tools: Tools) -> Put:
    """Raises ContentMissing when what the update has to be compared with is not there any more."""
    async with tools.updates.fetched(location, beside_bytes=begun.size_bytes) as new:
        original = await tools.flow.original_of(begun)
        try:
            content = await asyncio.to_thread(check_update, new, original, tools.settings)
        except MessageRejected as error:
            raise OperationRefused("MessageRejected", error.reason) from error
        return await tools.flow.put(begun.message_id, content, begun)
