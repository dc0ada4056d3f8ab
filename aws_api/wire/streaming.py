"""Sends an answer that is longer than memory should hold: one piece at a time, as fast as the client takes them.

The first piece is fetched before the status is sent, so that contents that are not there still become an error. After
that a failure can only be told by cutting the connection: the client then sees fewer bytes than Content-Length says.
A client that takes nothing for STALL_SECONDS, or goes away, ends the answer; the contents are closed in every case.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from aws_api.wire.services import Chunks

STALL_SECONDS: Final = 60.0


async def send_streamed(
    request: web.Request, contents: Chunks, headers: Mapping[str, str], *, stall_seconds: float = STALL_SECONDS
) -> web.StreamResponse:
    """The answer, sent. Raises what the contents raise before their first piece."""
    async with contextlib.aclosing(contents.chunks) as chunks:
        first = await anext(chunks, b"")
        response = web.StreamResponse(headers={**headers, "Content-Length": str(contents.size_bytes)})
        try:
            await response.prepare(request)
            await _write(response, first, stall_seconds)
            async for chunk in chunks:
                await _write(response, chunk, stall_seconds)
            await response.write_eof()
        except (ConnectionError, TimeoutError):
            _cut(request)
        except BaseException:
            _cut(request)
            raise
        return response


async def _write(response: web.StreamResponse, chunk: bytes, stall_seconds: float) -> None:
    async with asyncio.timeout(stall_seconds):
        await response.write(chunk)


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
