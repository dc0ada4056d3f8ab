"""The safety check against every server binary of this machine."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from redis import asyncio as aioredis
from structlog.testing import capture_logs

from config.redis_clients import redis_client
from config.settings import Settings
from spool.safety import NO_ANSWER, SafetyWatch
from tests.publishing import until_true
from tests.servers import RedisServer, redis_binaries


@pytest.fixture(params=list(redis_binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with RedisServer(binary=redis_binaries()[request.param]) as started:
        yield started


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[aioredis.Redis]:
    client = redis_client(server.url)
    yield client
    await client.aclose()


def watch_of(
    redis: aioredis.Redis, tmp_path: Path, *, durability: str = "always", mark: int = 80, **options: float
) -> SafetyWatch:
    # The content store is a bucket: the free disk of the machine that runs the tests is no part of them.
    settings = Settings(
        data={"dir": tmp_path},
        redis={"url": "unix:///elsewhere", "durability": durability, "memory_high_water_percent": mark},
        spool={"content_store": "s3://bucket"},
    )
    return SafetyWatch(redis, settings, **{"answer_seconds": 60, **options})


async def test_before_the_first_check_nothing_is_promised(redis, tmp_path):
    assert not watch_of(redis, tmp_path).report.is_safe


async def test_an_ordinary_server_of_ours_is_safe(redis, tmp_path):
    watch = watch_of(redis, tmp_path)
    report = await watch.check()
    assert report.is_safe
    assert not report.is_full
    assert report.problems == ()
    assert watch.report is report


async def test_a_change_of_the_fsync_policy_is_seen(redis, tmp_path):
    watch = watch_of(redis, tmp_path)
    for policy, is_safe in (("everysec", False), ("no", False), ("always", True)):
        await redis.config_set("appendfsync", policy)
        assert (await watch.check()).is_safe == is_safe
    await redis.config_set("appendonly", "no")
    assert not (await watch.check()).is_safe
    assert (await watch_of(redis, tmp_path, durability="none").check()).is_safe


async def test_eviction_is_not_safe(redis, tmp_path):
    await redis.config_set("maxmemory-policy", "allkeys-random")
    assert not (await watch_of(redis, tmp_path).check()).is_safe


async def test_a_replica_is_not_safe(redis, tmp_path):
    await redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    report = await watch_of(redis, tmp_path).check()
    assert not report.is_safe
    assert any("replica" in problem for problem in report.problems)


async def test_a_server_that_forbids_config_proves_nothing(server, redis, tmp_path):
    await redis.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", "-config")
    limited = redis_client(server.url.replace("unix://", "unix://app:secret@"))
    try:
        assert await limited.ping()
        report = await watch_of(limited, tmp_path).check()
        assert not report.is_safe
        assert "redis.durability" in report.problems[0]
        assert (await watch_of(limited, tmp_path, durability="none").check()).is_safe
    finally:
        await limited.aclose()


async def test_a_user_who_may_not_even_read_info_is_not_safe(server, redis, tmp_path):
    await redis.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", "-info")
    limited = redis_client(server.url.replace("unix://", "unix://app:secret@"))
    wrong = redis_client(server.url.replace("unix://", "unix://app:wrong@"))
    try:
        for client in (limited, wrong):
            report = await watch_of(client, tmp_path).check()
            assert not report.is_safe
            assert "refuses our user" in report.problems[0]
    finally:
        await limited.aclose()
        await wrong.aclose()


async def test_a_filled_memory_is_full_and_safe_and_full_ends_when_there_is_room(redis, tmp_path):
    watch = watch_of(redis, tmp_path, mark=10)
    await redis.config_set("maxmemory", "60mb")
    assert not (await watch.check()).is_full
    await redis.set("ballast", b"x" * 8_000_000)
    report = await watch.check()
    assert report.is_full
    assert report.is_safe
    await redis.delete("ballast")
    await until_true(lambda: _has_room(watch))


async def _has_room(watch: SafetyWatch) -> bool:
    return not (await watch.check()).is_full


async def test_a_dead_or_frozen_server_is_a_report_and_not_an_exception(server, redis, tmp_path):
    watch = watch_of(redis, tmp_path, answer_seconds=0.3)
    await until_true(lambda: _is_safe(watch))
    server.freeze()
    assert (await watch.check()).problems == (NO_ANSWER,)
    server.thaw()
    await until_true(lambda: _is_safe(watch))
    server.kill()
    assert (await watch.check()).problems == (NO_ANSWER,)
    server.start()
    await until_true(lambda: _is_safe(watch))


async def test_what_was_known_of_a_dead_servers_memory_stays(server, redis, tmp_path):
    await redis.config_set("maxmemory", "1mb")
    watch = watch_of(redis, tmp_path)
    known = await watch.check()
    assert known.is_full
    server.kill()
    silent = await watch.check()
    assert silent.is_full
    assert silent.problems == (NO_ANSWER, *known.problems)


async def _is_safe(watch: SafetyWatch) -> bool:
    return (await watch.check()).is_safe


async def test_only_changes_are_logged(redis, tmp_path):
    watch = watch_of(redis, tmp_path, every_seconds=0.01)
    with capture_logs() as lines:
        running = asyncio.create_task(watch.run())
        try:
            await until_true(_reported(watch, is_safe=True))
            await redis.config_set("appendfsync", "everysec")
            await until_true(_reported(watch, is_safe=False))
            await redis.config_set("appendfsync", "always")
            await until_true(_reported(watch, is_safe=True))
            await redis.config_set("maxmemory", "1mb")
            await until_true(_logged(lines, "spool.full"))
        finally:
            running.cancel()
            await asyncio.wait([running])
    assert [line["event"] for line in lines] == ["spool.safe", "spool.unsafe", "spool.safe", "spool.full"]


def _reported(watch: SafetyWatch, *, is_safe: bool) -> Callable[[], object]:
    async def look() -> bool:
        return watch.report.is_safe == is_safe

    return look


def _logged(lines: list, event: str) -> Callable[[], object]:
    async def look() -> bool:
        return bool(lines) and lines[-1]["event"] == event

    return look
