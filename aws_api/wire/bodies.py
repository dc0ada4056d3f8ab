"""Bodies of requests, bounded in bytes and in time."""

import asyncio
from typing import Final

from aiohttp import web

from aws_api.wire.failures import OperationRefused

#: A client that sends slower than this keeps a connection for nothing.
BODY_SECONDS: Final = 30.0
_PIECE_BYTES: Final = 64 * 1024


async def read_body(request: web.Request, most_bytes: int) -> bytes:
    """The whole body. Raises OperationRefused."""
    if (request.content_length or 0) > most_bytes:
        raise _too_large(most_bytes)
    body = await read_beginning(request, most_bytes + 1)
    if len(body) > most_bytes:
        raise _too_large(most_bytes)
    return body


async def read_beginning(request: web.Request, most_bytes: int) -> bytes:
    """As much of the body as there is, up to `most_bytes`. Raises OperationRefused."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while len(body) < most_bytes and (piece := await request.content.read(_PIECE_BYTES)):
                body += piece
    except TimeoutError as error:
        raise OperationRefused("RequestTimeoutException", "The body of the request did not come in time.") from error
    return bytes(body[:most_bytes])


def _too_large(most_bytes: int) -> OperationRefused:
    return OperationRefused("RequestEntityTooLargeException", f"The body must have at most {most_bytes} bytes.")
