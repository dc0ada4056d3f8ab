"""GET /healthz and the life of the API process, with a real process and a real server."""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson
import pytest

from config.redis_clients import redis_client
from config.settings import Settings
from spool.assembly import open_spool
from spool.records import Settlement
from spool.states import awaits_function
from tests import api_process as api_process_stand
from tests.api_process import api_process, started
from tests.servers import RedisServer
from tests.spooled import accept, beat, settings_of

pytestmark = pytest.mark.processes


async def health(url: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as client, client.get(f"{url}/healthz") as answer:
        return answer.status, await answer.json()


async def health_until(url: str, is_wanted: Callable[[int, dict[str, Any]], bool]) -> dict[str, Any]:
    """The first answer that is wanted: a server that is silent for two seconds has one of its own."""
    limit = time.monotonic() + 60
    while True:
        status, body = await health(url)
        if is_wanted(status, body):
            return body
        assert time.monotonic() < limit, body
        await asyncio.sleep(0.02)


async def well(url: str) -> dict[str, Any]:
    """The first answer without a problem."""
    return await health_until(url, lambda status, body: (status, body["status"], body["problems"]) == (200, "ok", []))


async def ill(url: str, words: str) -> dict[str, Any]:
    """The first answer whose problem says this."""
    return await health_until(url, lambda status, body: status == 503 and words in body["problems"][0])


async def test_health_follows_worker_and_store(redis_server: RedisServer, tmp_path):
    settings: Settings = settings_of(redis_server.url, tmp_path)
    redis = redis_client(redis_server.url)
    spool = open_spool(settings, redis=redis)
    with api_process(redis_server.url, tmp_path) as (url, process):
        await ill(url, "No worker")

        await beat(spool, late_ms=-3_600_000)  # fresh for the whole test
        await well(url)

        message_id = await accept(spool)
        assert (await well(url))["places"]["due"] == 1

        [claimed] = await spool.claim([message_id], "w")
        await spool.settle(Settlement(claimed.lease, 1, "parked", 3600, reason=awaits_function("slow")))
        (note,) = (await well(url))["notes"]
        assert note.startswith("1 message waits for the function of rule slow, the oldest accepted ")

        redis_server.call("CONFIG", "SET", "appendfsync", "everysec")
        await ill(url, "redis.durability")
        redis_server.call("CONFIG", "SET", "appendfsync", "always")
        await well(url)

        redis_server.freeze()
        asked_at = time.monotonic()
        status, body = await health(url)
        assert status == 503
        assert "does not answer" in body["problems"][0]
        assert time.monotonic() - asked_at < 15
        redis_server.thaw()

        redis_server.kill()
        assert (await health(url))[0] == 503
        redis_server.start()
        await well(url)

        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
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
    row = orjson.loads(await redis.hget("{ms}:workers", "worker-1"))
    fresh = {"at_ms": row["at_ms"] + 3_600_000, "active": 0}  # it is alive for the whole test
    await redis.hset("{ms}:workers", "worker-1", orjson.dumps(row | fresh))
    with api_process(redis_server.url, tmp_path) as (url, _):
        body = await ill(url, "no worker took any")
    await redis.aclose()
    assert body["longest_due_seconds"] >= 3600


async def test_health_is_told_while_others_open_more_connections_than_the_process_was_given_descriptors(
    redis_url: str, tmp_path, monkeypatch
):
    # Of the child alone: this process may have more open than that.
    given = "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (128, r.getrlimit(r.RLIMIT_NOFILE)[1])); "
    monkeypatch.setattr("tests.api_process._START", given + api_process_stand._START)
    with contextlib.ExitStack() as opened:
        url, _ = opened.enter_context(api_process(redis_url, tmp_path))
        for _ in range(200):
            client = opened.enter_context(socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))))
            client.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        async with asyncio.timeout(60):
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
        assert process.wait(60) == 0
    assert status == 503
    assert "does not answer" in body["problems"][0]
