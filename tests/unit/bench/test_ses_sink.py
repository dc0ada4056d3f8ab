import asyncio

import aiohttp
import pytest

from bench.sink import Arrivals, SesProtocol
from worker.relay.outcomes import Accepted, of_answer
from worker.relay.wire import Call, v1_body


@pytest.fixture
async def sink():
    """(arrivals, URL)."""
    arrivals = Arrivals()
    server = await asyncio.get_running_loop().create_server(lambda: SesProtocol(arrivals), "127.0.0.1", 0)
    async with server:
        yield arrivals, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_a_call_of_the_relay_is_accepted_and_stamped(sink):
    arrivals, url = sink
    call = Call("app@example.com", ["t7@example.net"], b"Subject: x\r\n\r\n" + b"x" * 50_000, {}, "")
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.post(url, data=v1_body(call)) as answer:
                assert isinstance(of_answer(answer.status, "", await answer.read()), Accepted)
    assert arrivals.count == 2
    assert list(arrivals.stamps) == ["t7"]


async def test_a_question_for_the_quota_is_no_mail(sink):
    arrivals, url = sink
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=b"Action=GetSendQuota&Version=2010-12-01") as answer,
    ):
        assert b"<MaxSendRate>" in await answer.read()
    assert arrivals.count == 0
