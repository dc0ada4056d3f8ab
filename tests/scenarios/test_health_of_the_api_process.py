"""GET /healthz and the life of the API process, with a real process and a real server."""

import asyncio
import contextlib
import resource
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from config.redis_clients import redis_client
from config.settings import Settings
from spool.assembly import open_spool
from spool.records import Settlement
from spool.states import awaits_function
from tests.api_process import api_process, started
from tests.servers import RedisServer
from tests.spooled import accept, beat, settings_of

pytestmark = pytest.mark.processes


async def health(url: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as client, client.get(f"{url}/healthz") as answer:
        return answer.status, await answer.json()


async def health_until(url: str, is_wanted: Callable[[int, dict[str, Any]], bool]) -> dict[str, Any]:
    """The first answer that is wanted."""
    limit = time.monotonic() + 30
    while True:
        status, body = await health(url)
        if is_wanted(status, body):
            return body
        assert time.monotonic() < limit, body


async def test_health_follows_worker_and_store(redis_server: RedisServer, tmp_path):
    settings: Settings = settings_of(redis_server.url, tmp_path)
    redis = redis_client(redis_server.url)
    spool = open_spool(settings, redis=redis)
    with api_process(redis_server.url, tmp_path) as (url, process):
        status, body = await health(url)
        assert status == 503
        assert "No worker" in body["problems"][0]

        await beat(spool, late_ms=-3_600_000)  # fresh for the whole test
        status, body = await health(url)
        assert (status, body["status"], body["problems"]) == (200, "ok", [])

        message_id = await accept(spool)
        assert (await health(url))[1]["places"]["due"] == 1

        [claimed] = await spool.claim([message_id], "w")
        await spool.settle(Settlement(claimed.lease, 1, "parked", 3600, reason=awaits_function("slow")))
        status, body = await health(url)
        assert (status, body["status"], body["problems"]) == (200, "ok", [])
        (note,) = body["notes"]
        assert note.startswith("1 message waits for the function of rule slow, the oldest accepted ")

        redis_server.call("CONFIG", "SET", "appendfsync", "everysec")
        body = await health_until(url, lambda status, _: status == 503)
        assert "redis.durability" in body["problems"][0]
        redis_server.call("CONFIG", "SET", "appendfsync", "always")
        await health_until(url, lambda status, _: status == 200)

        redis_server.freeze()
        asked_at = time.monotonic()
        status, body = await health(url)
        assert status == 503
        assert "does not answer" in body["problems"][0]
        assert time.monotonic() - asked_at < 10
        redis_server.thaw()

        redis_server.kill()
        assert (await health(url))[0] == 503
        redis_server.start()
        await health_until(url, lambda status, _: status == 200)

        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    await redis.aclose()


async def test_work_that_nobody_takes_is_unhealthy(redis_server: RedisServer, tmp_path):
    settings = settings_of(redis_server.url, tmp_path)
    redis = redis_client(redis_server.url)
    spool = open_spool(settings, redis=redis)
    message_id = await accept(spool)
    # As if it had been accepted an hour ago; the last claim of the worker is older than [worker] stall_seconds.
    at_ms = int(await redis.hget(f"{{ms}}:m:{message_id}", "at"))
    await redis.hset(f"{{ms}}:m:{message_id}", "at", at_ms - 3_600_000)
    await beat(spool, late_ms=20_000)
    row = await redis.hget("{ms}:workers", "worker-1")
    await redis.hset("{ms}:workers", "worker-1", row.replace(b'"active":1', b'"active":0'))
    with api_process(redis_server.url, tmp_path) as (url, _):
        status, body = await health(url)
    await redis.aclose()
    assert status == 503
    assert "no worker took any" in body["problems"][0]
    assert body["longest_due_seconds"] >= 3600


async def test_health_is_told_while_others_open_more_connections_than_the_process_was_given_descriptors(
    redis_url: str, tmp_path
):
    former = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, former[1]))
    with contextlib.ExitStack() as opened:
        try:
            url, _ = opened.enter_context(api_process(redis_url, tmp_path))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, former)
        for _ in range(200):
            client = opened.enter_context(socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))))
            client.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        async with asyncio.timeout(30):
            assert (await health(url))[0] == 503  # there is no worker


def test_a_taken_port_is_one_line_that_says_what_to_do(redis_url, tmp_path):
    with api_process(redis_url, tmp_path) as (url, _):
        port = int(url.rpartition(":")[2])
        second = started(redis_url, tmp_path, port)
        _, text = second.communicate(timeout=60)
    assert second.returncode == 1
    [line] = [line for line in text.splitlines() if not line.startswith("{")]
    assert f"port {port}" in line
    assert "SLUICE_API_PORT" in line


async def test_it_starts_without_a_server_and_says_so(tmp_path):
    with api_process(f"unix://{tmp_path}/none.sock", tmp_path) as (url, process):
        status, body = await health(url)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert status == 503
    assert "does not answer" in body["problems"][0]
