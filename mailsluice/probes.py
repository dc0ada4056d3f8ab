"""Asks programs that cannot tell the supervisor by themselves whether they are ready.

Each probe opens a connection of its own on the event loop and closes it; any failure means "not yet".
"""

import asyncio
from pathlib import Path

from mailsluice.child import Probe

ANSWER_BYTES = 4096


def answers_ping(socket_path: Path) -> Probe:
    """Redis has loaded its data and answers (it says -LOADING before)."""

    async def probe() -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(socket_path)
        except OSError:
            return False
        return (await _ask(reader, writer, b"PING\r\n")).startswith(b"+PONG")

    return probe


def answers_http(host: str, port: int, path: str) -> Probe:
    """A web server answers this path with 200."""

    async def probe() -> bool:
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except OSError:
            return False
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        return (await _ask(reader, writer, request)).startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))

    return probe


def accepts_connections(host: str, port: int) -> Probe:
    """Something listens there."""

    async def probe() -> bool:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            return False
        writer.close()
        return True

    return probe


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    try:
        writer.write(request)
        await writer.drain()
        return await reader.read(ANSWER_BYTES)
    except OSError:
        return b""
    finally:
        writer.close()
