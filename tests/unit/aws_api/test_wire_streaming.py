"""Answers in pieces, over a real socket."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aws_api.wire.streaming import send_streamed

SECONDS = 60.0


@dataclass
class Contents:
    size_bytes: int
    chunks: AsyncGenerator[bytes, None]


class Source:
    """Pieces, and whether they were closed."""

    def __init__(self, pieces: int, *, fails_at: int = -1) -> None:
        self.pieces, self.fails_at, self.taken = pieces, fails_at, 0
        self.is_closed = asyncio.Event()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        try:
            for number in range(self.pieces):
                if number == self.fails_at:
                    raise OSError("the disk is gone")
                self.taken += 1
                yield b"x" * 65536
        finally:
            self.is_closed.set()


async def served(source: Source, stall_seconds: float = 60.0) -> TestServer:
    async def handle(request: web.Request) -> web.StreamResponse:
        contents = Contents(source.pieces * 65536, source.chunks())
        return await send_streamed(request, contents, {"Content-Type": "x/y"}, stall_seconds=stall_seconds)

    app = web.Application()
    app.router.add_get("/", handle)
    server = TestServer(app)
    await server.start_server()
    return server


async def test_all_pieces_arrive_and_the_source_is_closed():
    source = Source(5)
    server = await served(source)
    async with aiohttp.ClientSession() as client, client.get(server.make_url("/")) as answer:
        assert len(await answer.read()) == 5 * 65536
        assert answer.headers["Content-Type"] == "x/y"
    assert source.is_closed.is_set()
    await server.close()


async def test_an_empty_content_is_an_empty_answer():
    server = await served(Source(0))
    async with aiohttp.ClientSession() as client, client.get(server.make_url("/")) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
    await server.close()


async def test_a_failure_in_the_middle_cuts_the_answer():
    source = Source(5, fails_at=3)
    server = await served(source)
    async with aiohttp.ClientSession() as client:
        with pytest.raises(aiohttp.ClientError):
            async with client.get(server.make_url("/")) as answer:
                await answer.read()
    assert source.is_closed.is_set()
    await server.close()


async def test_a_failure_before_the_first_piece_is_no_answer_yet():
    source = Source(5, fails_at=0)
    server = await served(source)
    async with aiohttp.ClientSession() as client, client.get(server.make_url("/")) as answer:
        assert answer.status == 500
    await server.close()


@pytest.mark.parametrize("leaves", [True, False], ids=["goes away", "reads nothing"])
async def test_a_client_that_takes_nothing_is_let_go_and_the_source_closed(leaves):
    source = Source(100_000)
    server = await served(source, stall_seconds=60.0 if leaves else 0.3)
    reader, writer = await asyncio.open_connection(server.host, server.port, limit=1024)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readexactly(12)
    if leaves:
        writer.close()
    async with asyncio.timeout(SECONDS):
        await source.is_closed.wait()
    assert source.taken < 1000, "it was not read ahead"
    writer.close()
    await server.close()
