"""Memory of requests: what is held, given back and refused; alone and through the whole door."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import TestServer, make_mocked_request

from aws_api.wire.access_keys import AccessKeyFile
from aws_api.wire.bodies import read_body
from aws_api.wire.door import Access, Wire, aws_door
from aws_api.wire.failures import OperationRefused
from aws_api.wire.memory import COPIES, MemoryBudget, Reservation
from aws_api.wire.services import Call, Offer, Service

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_a_reservation_grows_with_its_body_and_is_given_back():
    budget = MemoryBudget(100 * COPIES)
    one = Reservation(budget)
    one.hold_body(10)
    one.hold_body(40)
    one.hold_body(5)
    assert (one.bytes, budget.used_bytes) == (40 * COPIES, 40 * COPIES)
    one.release()
    one.release()
    assert (one.bytes, budget.used_bytes) == (0, 0)


def test_beyond_the_budget_others_are_refused_and_one_alone_is_not():
    budget = MemoryBudget(100 * COPIES)
    alone, other = Reservation(budget), Reservation(budget)
    alone.hold_body(90)
    alone.hold_body(1000)
    with pytest.raises(OperationRefused) as caught:
        other.hold_body(1)
    assert caught.value.code == "ServiceUnavailableException"
    alone.release()
    other.hold_body(1)


def test_a_part_outlives_the_rest():
    budget = MemoryBudget(100 * COPIES)
    one = Reservation(budget)
    one.hold_body(10)
    part = one.part(12)
    one.release()
    assert budget.used_bytes == 12
    assert Reservation(budget).part(5).bytes == 0
    part.release()
    assert budget.used_bytes == 0


class Door:
    """The door with one operation that waits until it may answer."""

    def __init__(self, url: str, memory: MemoryBudget) -> None:
        self.url, self.memory = url, memory
        self.may_answer = asyncio.Event()
        self.begun = asyncio.Event()

    async def get_send_quota(self, _: Call) -> dict[str, float]:
        self.begun.set()
        await self.may_answer.wait()
        return {"MaxSendRate": 1.5}


@pytest.fixture
async def door(tmp_path) -> AsyncIterator[Door]:
    one = Door("", MemoryBudget(1000 * COPIES))
    service = Service("ses", {"GetSendQuota": Offer(one.get_send_quota)}, max_body_bytes=5000)
    wire = Wire([service], Access(AccessKeyFile(tmp_path / "keys.json"), trusts_loopback=True), one.memory)
    server = TestServer(web.Application(middlewares=[aws_door(wire)]), host="127.0.0.1")
    await server.start_server()
    one.url = str(server.make_url("/"))
    yield one
    one.may_answer.set()
    await server.close()


async def test_the_door_says_later_while_others_hold_the_memory(door):
    body = b"Action=GetSendQuota&x=" + b"x" * 900
    async with aiohttp.ClientSession() as client:
        first = asyncio.create_task(client.post(door.url, data=body, headers=FORM))
        async with asyncio.timeout(60):
            await door.begun.wait()
        assert door.memory.used_bytes == len(body) * COPIES
        async with client.post(door.url, data=body, headers=FORM) as second:
            assert second.status == 503
            text = await second.text()
        assert "<Code>ServiceUnavailable</Code>" in text
        assert "<Type>Receiver</Type>" in text
        door.may_answer.set()
        async with await first as answer:
            assert answer.status == 200
            assert "<MaxSendRate>1.5</MaxSendRate>" in await answer.text()
        assert door.memory.used_bytes == 0


async def test_a_body_without_a_length_is_bounded_too(door):
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 1000

    async with aiohttp.ClientSession() as client, client.post(door.url, data=pieces(), headers=FORM) as answer:
        assert answer.status == 413
    assert door.memory.used_bytes == 0


async def test_a_client_that_leaves_inside_its_body_holds_nothing(door):
    _, writer = await asyncio.open_connection("127.0.0.1", int(door.url.rsplit(":", 1)[1].strip("/")))
    writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n")
    writer.write(b"Content-Length: 500\r\n\r\nAction=")
    async with asyncio.timeout(60):
        while not door.memory.used_bytes:
            await asyncio.sleep(0.01)
        writer.close()
        while door.memory.used_bytes:
            await asyncio.sleep(0.01)


async def test_a_body_is_counted_as_it_comes_not_as_it_is_announced():
    budget = MemoryBudget(1_000_000)
    other, one = Reservation(budget), Reservation(budget)
    other.hold_body(100_000)
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.connection_made(asyncio.Transport())
    stream = StreamReader(protocol, 2**16, loop=loop)
    headers = {"Content-Length": "10000000"}
    request = make_mocked_request("POST", "/", headers=headers, payload=stream)
    reading = asyncio.create_task(read_body(request, 20_000_000, one))
    await asyncio.sleep(0)
    assert one.bytes == 0
    stream.feed_data(b"x" * 1000)
    async with asyncio.timeout(60):
        while not one.bytes:
            await asyncio.sleep(0)
    assert one.bytes == COPIES * 1000
    stream.feed_eof()
    assert await reading == b"x" * 1000
