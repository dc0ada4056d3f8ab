import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aws_api.app import make_app
from aws_api.feedback.door import DOOR
from aws_api.feedback.envelope import OutOfTime
from config.redis_clients import redis_client
from config.settings import Settings
from tests.api_tools import tools_of


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[str]:
    """The application without any server of the spool; its URL."""
    settings = Settings(data={"dir": tmp_path}, redis={"url": f"unix://{tmp_path}/none.sock"})
    redis = redis_client(settings.redis_url)
    tools = tools_of(settings, redis)
    server = TestServer(make_app(tools))
    await server.start_server()
    try:
        yield str(server.make_url(""))
    finally:
        await server.close()
        await redis.aclose()


async def test_without_a_spool_health_says_so(door: str):
    async with aiohttp.ClientSession() as client, client.get(f"{door}/healthz") as answer:
        assert answer.status == 503
        assert answer.content_type == "application/json"
        body = await answer.json()
    assert body["status"] == "failing"
    assert body["problems"]


async def test_health_notes_that_sns_is_not_taken_by_this_machines_clock(tmp_path: Path):
    settings = Settings(data={"dir": tmp_path}, redis={"url": f"unix://{tmp_path}/none.sock"})
    redis = redis_client(settings.redis_url)
    app = make_app(tools_of(settings, redis))
    app[DOOR].refusals.note(503, OutOfTime("look at the clock of this machine"))
    async with TestServer(app) as server, aiohttp.ClientSession() as client:
        answer = await client.get(server.make_url("/healthz"))
        assert (await answer.json())["notes"] == ["POST /feedback/sns: look at the clock of this machine."]
    await redis.aclose()


async def test_without_a_spool_there_are_no_metrics(door: str):
    async with aiohttp.ClientSession() as client, client.get(f"{door}/metrics") as answer:
        assert answer.status == 503
        assert "does not answer" in await answer.text()


async def test_a_load_balancer_may_ask_with_head(door: str):
    async with aiohttp.ClientSession() as client, client.head(f"{door}/healthz") as answer:
        assert answer.status == 503


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("POST", "/healthz", 405)])
async def test_what_is_in_no_row_is_refused(door: str, method: str, path: str, status: int):
    async with aiohttp.ClientSession() as client, client.request(method, door + path) as answer:
        assert answer.status == status


async def test_a_server_that_accepts_and_never_answers_does_not_hang_the_door(tmp_path: Path):
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(silence, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    settings = Settings(data={"dir": tmp_path}, redis={"url": f"redis://127.0.0.1:{port}"})
    redis = redis_client(settings.redis_url, answer_seconds=60)
    tools = tools_of(settings, redis)
    server = TestServer(make_app(tools))
    await server.start_server()
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession() as client:
            for path in ("/healthz", "/metrics"):
                async with client.get(server.make_url(path)) as answer:
                    assert answer.status == web.HTTPServiceUnavailable.status_code
    finally:
        await server.close()
        await redis.aclose()
        listener.close()
