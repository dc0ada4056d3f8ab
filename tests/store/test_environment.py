"""Whose spool it is: the first to come names it, everybody else is compared, and nobody else may change it."""

import asyncio

import pytest

from config.redis_clients import redis_client
from spool.environment import (
    ENVIRONMENT,
    WrongEnvironment,
    claim_environment,
    claim_if_it_answers,
    claim_when_it_answers,
    read_environment,
    rename_environment,
)
from spool.scripts import StoreUnavailable
from spool.store import Spool
from tests.servers import RedisServer


async def test_the_first_to_come_gives_the_name_and_the_id_stays(spool: Spool):
    assert await read_environment(spool.redis) is None
    first = await claim_environment(spool.redis, "production")
    assert first.name == "production"
    assert await claim_environment(spool.redis, "production") == first
    assert await read_environment(spool.redis) == first


async def test_of_many_that_come_at_once_one_gives_the_id(server: RedisServer):
    clients = [redis_client(server.url) for _ in range(10)]
    found = await asyncio.gather(*(claim_environment(one, "") for one in clients))
    assert len({one.id for one in found}) == 1
    for client in clients:
        await client.aclose()


@pytest.mark.parametrize(
    ("spools", "ours", "said"),
    [
        ("production", "staging", "belongs to the environment production, but [spool] environment"),
        ("production", "", "set it to production"),
        ("", "staging", "`mailsluice environment --rename staging`"),
    ],
)
async def test_another_installations_process_is_refused_with_what_to_do(spool: Spool, spools, ours, said):
    await claim_environment(spool.redis, spools)
    with pytest.raises(WrongEnvironment) as refused:
        await claim_environment(spool.redis, ours)
    assert said in refused.value.reason
    assert "redis.url" in refused.value.reason
    with pytest.raises(WrongEnvironment):
        await claim_if_it_answers(spool.redis, ours)
    assert (await claim_environment(spool.redis, spools)).name == spools


async def test_a_new_name_keeps_the_id(spool: Spool):
    first = await claim_environment(spool.redis, "")
    assert await rename_environment(spool.redis, "production") == first
    renamed = await claim_environment(spool.redis, "production")
    assert (renamed.id, renamed.since_ms) == (first.id, first.since_ms)
    with pytest.raises(WrongEnvironment):
        await claim_environment(spool.redis, "")


async def test_a_full_server_lets_its_processes_start_and_is_claimed_by_the_first(own_server: RedisServer):
    redis = redis_client(own_server.url)
    await claim_environment(redis, "production")
    own_server.call("CONFIG", "SET", "maxmemory", "1")
    assert (await claim_environment(redis, "production")).name == "production"
    assert await claim_if_it_answers(redis, "production")
    await redis.delete(ENVIRONMENT)
    assert await claim_if_it_answers(redis, "production")
    await redis.aclose()


async def test_a_server_that_is_away_is_waited_for(own_server: RedisServer):
    own_server.kill()
    redis = redis_client(own_server.url)
    with pytest.raises(StoreUnavailable):
        await claim_environment(redis, "production")
    assert not await claim_if_it_answers(redis, "production")
    waiting = asyncio.ensure_future(claim_when_it_answers(redis, "production"))
    await asyncio.sleep(0)
    assert not waiting.done()
    await asyncio.to_thread(own_server.start)
    await asyncio.wait_for(waiting, 30)
    with pytest.raises(WrongEnvironment):
        await claim_when_it_answers(redis, "staging")
    await redis.aclose()
