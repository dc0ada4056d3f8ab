"""Bodies of requests, bounded in bytes, in time and in memory."""

import asyncio
from typing import Final

from aiohttp import web

from aws_api.wire.failures import OperationRefused
from aws_api.wire.memory import Reservation

#: A client that sends slower than this keeps a connection for nothing.
BODY_SECONDS: Final = 30.0
#: What a large body may take beyond that.
SLOWEST_BYTES_PER_SECOND: Final = 256 * 1024
_PIECE_BYTES: Final = 64 * 1024


async def read_body(request: web.Request, most_bytes: int, memory: Reservation) -> bytes:
    """The whole body. Memory is reserved for what has come, not for what is announced. Raises OperationRefused."""
    announced = request.content_length or 0
    if announced > most_bytes:
        raise _too_large(most_bytes)
    pieces, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS + announced / SLOWEST_BYTES_PER_SECOND):
            while piece := await request.content.read(_PIECE_BYTES):
                size += len(piece)
                if size > most_bytes:
                    raise _too_large(most_bytes)
                memory.hold_body(size)
                pieces.append(piece)
    except TimeoutError as error:
        raise OperationRefused("RequestTimeoutException", "The body of the request did not come in time.") from error
    return b"".join(pieces)


def _too_large(most_bytes: int) -> OperationRefused:
    return OperationRefused("RequestEntityTooLargeException", f"The body must have at most {most_bytes} bytes.")
