"""Connections without a whole request, over real sockets."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from aws_api.connections import Connections, most_connections, raise_descriptors

HALF_HEAD = b"GET / HTTP/1.1\r\nX: "
HALF_BODY = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n123"
#: Of the loop, whose time some tests let run ahead until WAITING_SECONDS are over.
SECONDS = 100.0
#: More than the buffers of both ends hold.
LARGE_BYTES = 64 * 1024 * 1024

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Door:
    """An application whose answers can be held back."""

    def __init__(self, **bounds: float) -> None:
        self.goes_on, self.running = asyncio.Event(), asyncio.Semaphore(0)
        app = web.Application()
        app.router.add_get("/", self._answer)
        app.router.add_post("/", self._read)
        app.router.add_get("/held", self._held)
        app.router.add_get("/large", self._large)
        self.connections = Connections(app, **bounds)
        self.port, self.clients = 0, list[asyncio.StreamWriter]()

    async def client(self, sent: bytes) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.clients.append(writer)
        writer.write(sent)
        return reader, writer

    async def status(self, path: str = "/") -> int:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.port}{path}") as answer:
            return answer.status

    async def _answer(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _read(self, request: web.Request) -> web.Response:
        self.running.release()
        return web.Response(body=await request.read())

    async def _held(self, _: web.Request) -> web.Response:
        self.running.release()
        await self.goes_on.wait()
        return web.Response()

    async def _large(self, _: web.Request) -> web.Response:
        return web.Response(body=bytes(LARGE_BYTES))


@asynccontextmanager
async def door_of(**bounds: float) -> AsyncIterator[Door]:
    door = Door(**bounds)
    try:
        door.port = await door.connections.listen("127.0.0.1", 0)
        async with asyncio.timeout(SECONDS):
            yield door
    finally:
        for writer in door.clients:
            writer.close()
        await door.connections.close()


async def ends(client: Client) -> bytes:
    """All that it still gets until it is closed."""
    try:
        return await client[0].read()
    except ConnectionError:
        return b""


async def test_a_head_that_does_not_end_is_cut_though_bytes_keep_coming(time_flies):
    async with door_of() as door:
        client = await door.client(HALF_HEAD)

        async def trickle() -> None:
            while True:
                client[1].write(b"x")
                await asyncio.sleep(0.5)

        trickling = asyncio.create_task(trickle())
        async with time_flies():
            assert await ends(client) == b""
        trickling.cancel()


async def test_a_second_head_that_does_not_end_is_cut_as_well(time_flies):
    async with door_of() as door:
        client = await door.client(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + HALF_HEAD)
        assert (await client[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        async with time_flies():
            assert await ends(client) == b""


async def test_a_request_that_runs_longer_than_a_head_may_take_is_answered(time_flies):
    async with door_of() as door:
        request = asyncio.create_task(door.status("/held"))
        await door.running.acquire()
        async with time_flies():
            await ends(await door.client(HALF_HEAD))  # the time is over now
        door.goes_on.set()
        assert await request == 200


@pytest.mark.parametrize(
    ("half", "rest"),
    [(HALF_HEAD, b"x\r\nHost: h\r\n\r\n"), (HALF_BODY, b"4567890"), (b"", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")],
    ids=["head", "body", "nothing"],
)
async def test_a_new_connection_takes_the_place_of_the_first_that_waits(half, rest):
    async with door_of(most=3) as door:
        waiting = []
        for _ in range(3):
            waiting.append(await door.client(half))
            if half == HALF_BODY:
                await door.running.acquire()
        assert await door.status() == 200
        assert await ends(waiting[0]) == b""
        for reader, writer in waiting[1:]:
            writer.write(rest)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")


async def test_a_request_that_runs_keeps_its_place_and_what_waits_gives_it_up():
    async with door_of(most=2) as door:
        running = asyncio.create_task(door.status("/held"))
        await door.running.acquire()
        waiting = await door.client(HALF_HEAD)
        assert await door.status() == 200
        assert await ends(waiting) == b""
        door.goes_on.set()
        assert await running == 200


async def test_when_every_connection_has_a_request_that_runs_a_new_one_is_closed():
    async with door_of(most=2) as door:
        running = [asyncio.create_task(door.status("/held")) for _ in range(2)]
        for _ in running:
            await door.running.acquire()
        assert await ends(await door.client(HALF_HEAD)) == b""
        door.goes_on.set()
        assert await asyncio.gather(*running) == [200, 200]


async def test_an_answer_that_is_not_taken_gives_its_place_up():
    async with door_of(most=1) as door:
        greedy = await door.client(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await greedy[0].readline()).startswith(b"HTTP/1.1 200")
        assert await door.status() == 200
        assert len(await ends(greedy)) < LARGE_BYTES


def test_the_number_of_connections_stays_below_that_of_descriptors():
    assert most_connections(4096) == 1000
    assert most_connections(400) == 300


def test_a_process_takes_more_descriptors_when_it_may():
    former = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, former[1]))
        raised = raise_descriptors()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, former)
    assert hard == former[1]
    assert raised == soft == min(4096, hard if hard != resource.RLIM_INFINITY else 4096)
