import asyncio
import re
from contextlib import suppress

import pytest
from redis import exceptions

from config.redis_clients import redis_client


async def test_a_task_that_talks_to_redis_in_a_loop_can_always_be_cancelled(redis_server):
    redis = redis_client(redis_server.url)

    async def talk():
        while True:
            await redis.hset("h", "f", "v")

    try:
        for n in range(300):
            task = asyncio.create_task(talk())
            await asyncio.sleep(0.0005 * (n % 7))
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=60)
            assert done, f"cancellation {n} was lost"
    finally:
        await redis.aclose()


async def test_a_frozen_server_is_given_up_after_the_answer_limit(redis_server):
    redis = redis_client(redis_server.url, answer_seconds=0.3)
    while True:  # the server and this machine may be slower than that
        with suppress(exceptions.TimeoutError, exceptions.ConnectionError):
            await redis.ping()
            break
    redis_server.freeze()
    try:
        with pytest.raises(exceptions.TimeoutError):
            await asyncio.wait_for(redis.ping(), 60)
    finally:
        redis_server.thaw()
        await redis.aclose()


async def test_what_the_url_says_wins_and_nothing_is_repeated_in_silence():
    url = "redis://h/0?socket_timeout=20&socket_connect_timeout=7&max_connections=3&health_check_interval=4&timeout=2"
    redis = redis_client(url)
    pool = redis.connection_pool
    told = {name: pool.connection_kwargs[name] for name in ("socket_timeout", "socket_connect_timeout")}
    assert told == {"socket_timeout": 20, "socket_connect_timeout": 7}
    assert (pool.max_connections, pool.timeout, pool.connection_kwargs["health_check_interval"]) == (3, 2, 4)
    assert pool.make_connection().retry.get_retries() == 0
    await redis.aclose()


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("foo=1", "the option 'foo' cannot be used here"),
        ("retry_on_timeout=yes", "the option 'retry_on_timeout' cannot be used here"),
        ("decode_responses=yes", "the option 'decode_responses' cannot be used here"),
        ("connection_class=x", "the option 'connection_class' cannot be used here"),
        ("ssl_nothing=1", "the option 'ssl_nothing' cannot be used here"),
        ("ssl_cert_reqs=CERT_REQUIRED", "Invalid SSL Certificate Requirements Flag: CERT_REQUIRED"),
        ("socket_timeout=long", "Invalid value for 'socket_timeout' in connection URL."),
    ],
)
def test_an_option_that_cannot_be_used_is_named_and_the_password_is_not(query: str, problem: str):
    with pytest.raises(ValueError, match=re.escape(problem)) as caught:
        redis_client(f"rediss://:hunter2@h/0?{query}")
    assert "hunter2" not in str(caught.value)
