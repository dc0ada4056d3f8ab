"""GetRawMessageContent: the message as it is now, after the updates that functions made.

Held in memory is one piece of it. Unknown messages, those whose time of access is over and ids that cannot be one
are all told as unknown.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from aws_api.tools import TOOLS
from aws_api.wire.failures import OperationRefused
from aws_api.wire.services import Call


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message on its way to a client."""

    size_bytes: int
    chunks: AsyncGenerator[bytes, None]
    content_type: str = "message/rfc822"


async def get_raw_message_content(call: Call) -> Mapping[str, Any]:
    """The answer's members. Raises OperationRefused, TryLater."""
    message_id = call.parameters["messageId"]
    reading = await call.request.app[TOOLS].flow.read(message_id)
    if reading is None:
        raise unknown_message(message_id)
    return {"messageContent": RawMessage(reading.size_bytes, reading.chunks)}


def unknown_message(message_id: str) -> OperationRefused:
    """There is no such message, or not any more."""
    return OperationRefused(
        "ResourceNotFoundException",
        f"There is no message with the id {message_id}, or the time in which it can be accessed is over.",
    )
