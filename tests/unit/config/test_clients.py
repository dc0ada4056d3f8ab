import asyncio

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
            done, _ = await asyncio.wait([task], timeout=5)
            assert done, f"cancellation {n} was lost"
    finally:
        await redis.aclose()


async def test_a_frozen_server_is_given_up_after_the_answer_limit(redis_server):
    redis = redis_client(redis_server.url, answer_seconds=0.3)
    await redis.ping()
    redis_server.freeze()
    try:
        with pytest.raises(exceptions.TimeoutError):
            await asyncio.wait_for(redis.ping(), 10)
    finally:
        redis_server.thaw()
        await redis.aclose()
