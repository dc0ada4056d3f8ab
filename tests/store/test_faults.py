"""The server fails in every way it can; a repeat makes exactly one message."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis import asyncio as aioredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from config.errors import TryLater
from config.redis_clients import redis_client
from spool import keys, scripts
from spool.records import Attempt, NewMessage, Settlement
from spool.scripts import StoreFull, StoreUnavailable
from spool.states import RecipientState
from spool.store import Spool
from tests.servers import RedisServer, cluster_server
from tests.store.messages import a_message, accepted_and_claimed, events_of, numbers, open_test_spool


async def until_done(doing: Callable[[], Awaitable[object]]) -> int:
    """Repeats while the store is unavailable, as every caller does; the number of repeats."""
    limit, repeats = time.monotonic() + 60, 0
    while True:
        try:
            await doing()
        except StoreUnavailable:
            assert time.monotonic() < limit
            repeats += 1
            await asyncio.sleep(0.01)
        else:
            return repeats


@contextlib.asynccontextmanager
async def cuttable(server: RedisServer, folder: Path) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """A proxy before the server: (url, cut). After `cut` the next request reaches the server, its answer is lost."""
    path = folder / "p.sock"
    is_cut = False
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        nonlocal is_cut
        try:
            while data := await reader.read(65536):
                if answers and is_cut:
                    is_cut = False
                    break
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_unix_connection(str(server.socket_path))
        for task in (
            asyncio.create_task(pump(reader, upstream_writer, answers=False)),
            asyncio.create_task(pump(upstream_reader, writer, answers=True)),
        ):
            pumps.add(task)

    def cut() -> None:
        nonlocal is_cut
        is_cut = True

    listener = await asyncio.start_unix_server(connected, str(path))
    try:
        yield f"unix://{path}", cut
    finally:
        listener.close()
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        await asyncio.sleep(0)  # a closed transport gives its socket back in the next turn of the loop


async def test_a_lost_answer_to_accept_and_a_repeat_make_one_message(own_server: RedisServer, tmp_path: Path):
    async with cuttable(own_server, own_server.folder) as (url, cut), open_test_spool(url, tmp_path) as spool:
        message = a_message(recipients=2)
        await spool.accept(a_message())
        cut()
        assert await until_done(lambda: spool.accept(message)) == 1
        assert (await numbers(spool.redis, keys.COUNTERS))["accepted_messages"] == 2
        assert await spool.redis.zcard(keys.DUE) == 2


async def test_a_lost_answer_to_settle_and_a_repeat_count_once(own_server: RedisServer, tmp_path: Path):
    async with cuttable(own_server, own_server.folder) as (url, cut), open_test_spool(url, tmp_path) as spool:
        claimed = await accepted_and_claimed(spool)
        outcome = Attempt(1, (0,), 1, "w", "accepted", 2, "ses-1")
        settlement = Settlement(
            claimed.lease, number=1, to="done", states=(RecipientState.SENT,), attempts=(outcome,),
            events=(b'{"k":"send"}',), counts={"sent_recipients": 1}, spawned=(a_message(),),
        )  # fmt: skip
        cut()
        assert await until_done(lambda: spool.settle(settlement)) == 1
        assert await spool.settle(settlement)
        counters = await numbers(spool.redis, keys.COUNTERS)
        assert (counters["sent_recipients"], counters["accepted_messages"]) == (1, 2)
        assert (await events_of(spool.redis)).count(b'{"k":"send"}') == 1


async def test_a_flush_of_the_scripts_is_not_noticed(spool: Spool):
    for _ in range(3):
        claimed = await accepted_and_claimed(spool)
        await spool.redis.script_flush()
        assert await spool.renew([claimed.lease]) != [None]
        await spool.redis.script_flush()
        assert await spool.settle(Settlement(claimed.lease, to="held"))
        await spool.redis.script_flush()
        await spool.sweep(limit=10, max_crashes=9, nudges=0)
        await spool.redis.script_flush()
        assert await spool.release([claimed.lease.message_id]) == [True]
        await spool.redis.script_flush()
        assert await spool.find("nobody") is None


async def test_a_replica_is_unavailable_and_not_a_bug(own_server: RedisServer, tmp_path: Path):
    async with open_test_spool(own_server.url, tmp_path) as spool:
        claimed = await accepted_and_claimed(spool)
        own_server.call("REPLICAOF", "127.0.0.1", 1)  # nobody is there: it keeps its data and refuses writes
        message = a_message()
        for refused in (
            spool.accept(message),
            spool.claim([claimed.lease.message_id], "w"),
            spool.renew([claimed.lease]),
            spool.settle(Settlement(claimed.lease, to="done")),
            spool.sweep(limit=1, max_crashes=9, nudges=1),
            spool.release([claimed.lease.message_id]),
            spool.withdraw(["0000-a"]),
        ):
            with pytest.raises(StoreUnavailable):
                await refused
        own_server.call("REPLICAOF", "NO", "ONE")
        await spool.accept(message)
        assert await spool.settle(Settlement(claimed.lease, to="done"))


async def test_a_server_that_misses_its_replicas_is_unavailable(own_server: RedisServer, tmp_path: Path):
    async with open_test_spool(own_server.url, tmp_path) as spool:
        await spool.redis.config_set("min-replicas-to-write", 1)
        with pytest.raises(StoreUnavailable):
            await spool.accept(a_message())


async def test_a_frozen_server_is_unavailable_after_the_time_limit_and_a_repeat_makes_one_message(
    own_server: RedisServer, tmp_path: Path
):
    async with (
        open_test_spool(own_server.url, tmp_path, answer_seconds=0.2) as spool,
        open_test_spool(own_server.url, tmp_path, answer_seconds=30) as patient,
    ):
        first, message = a_message(), a_message()
        await until_done(lambda: spool.accept(first))
        own_server.freeze()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await spool.accept(message)
        assert time.monotonic() - began < 9.5, "the limit that counts is not the usual one of 10 s"
        own_server.thaw()
        await until_done(lambda: spool.accept(message))
        assert (await numbers(patient.redis, keys.COUNTERS))["accepted_messages"] == 2


async def test_a_pause_within_the_time_limit_is_only_slow(own_server: RedisServer, tmp_path: Path):
    async with open_test_spool(own_server.url, tmp_path) as spool:
        began = time.monotonic()
        own_server.call("CLIENT", "PAUSE", 1500, "WRITE")
        messages = [a_message() for _ in range(30)]
        await asyncio.gather(*(spool.accept(message) for message in messages))
        assert time.monotonic() - began > 1
        assert await spool.redis.zcard(keys.DUE) == 30


async def test_messages_withdrawn_while_the_server_was_frozen_never_appear(own_server: RedisServer, tmp_path: Path):
    async with (
        open_test_spool(own_server.url, tmp_path, answer_seconds=0.2) as door,
        open_test_spool(own_server.url, tmp_path, answer_seconds=30) as other,
    ):
        first = a_message()
        await until_done(lambda: door.accept(first))
        await other.redis.ping()
        own_server.freeze()
        messages = [a_message() for _ in range(5)]
        results = await asyncio.gather(*(door.accept(message) for message in messages), return_exceptions=True)
        assert all(isinstance(result, StoreUnavailable) for result in results)
        withdrawing = asyncio.create_task(other.withdraw([message.message_id for message in messages]))
        await asyncio.sleep(0)
        own_server.thaw()
        await withdrawing
        for message in messages:
            assert await other.load(message.message_id) is None
        assert await other.redis.zcard(keys.DUE) == 1


@pytest.mark.timeout(180)
async def test_a_server_restarted_and_killed_under_load_keeps_every_message_once(
    own_server: RedisServer, tmp_path: Path
):
    async with open_test_spool(own_server.url, tmp_path) as spool:
        accepted: list[NewMessage] = []
        is_over = False

        async def door() -> None:
            while not is_over:
                message = a_message(recipients=2)
                await until_done(lambda one=message: spool.accept(one))
                accepted.append(message)

        doors = [asyncio.create_task(door()) for _ in range(10)]
        for how in ("kill", "restart", "kill"):
            enough = len(accepted) + 100
            async with asyncio.timeout(60):
                while len(accepted) < enough:
                    await asyncio.sleep(0.005)
            if how == "kill":
                await asyncio.to_thread(own_server.kill)
                await asyncio.to_thread(own_server.start)
            else:
                await asyncio.to_thread(own_server.restart)
        is_over = True
        await asyncio.gather(*doors)
        due = {id_.decode() for id_ in await spool.redis.zrange(keys.DUE, 0, -1)}
        assert due == {message.message_id for message in accepted}
        counters = await numbers(spool.redis, keys.COUNTERS)
        assert counters["accepted_recipients"] == 2 * len(accepted)
        assert len(await events_of(spool.redis)) == len(accepted)
        assert sum((await numbers(spool.redis, keys.AGES)).values()) == len(accepted)


@pytest.mark.timeout(180)
async def test_a_message_survives_a_kill_right_after_accept_returned_twenty_times(
    own_server: RedisServer, tmp_path: Path
):
    expected = []
    for _ in range(20):
        async with open_test_spool(own_server.url, tmp_path) as spool:
            message = a_message(content=b"z" * 3000, header_message_id=f"{len(expected)}@example.com")
            await spool.accept(message)
            own_server.kill()
        expected.append(message)
        own_server.start()
    async with open_test_spool(own_server.url, tmp_path) as spool:
        for message in expected:
            loaded = await spool.load(message.message_id, with_content=True)
            assert loaded is not None
            assert loaded.content == message.content
            assert await spool.find(message.header_message_id) is not None


@pytest.mark.parametrize("torn_bytes", [1, 7, 40])
async def test_a_torn_end_of_the_append_log_costs_only_the_last_write(
    own_server: RedisServer, tmp_path: Path, torn_bytes: int
):
    async with open_test_spool(own_server.url, tmp_path) as spool:
        messages = [a_message() for _ in range(20)]
        for message in messages:
            await spool.accept(message)
    own_server.kill()
    log = own_server.append_log
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - torn_bytes)
    own_server.start()
    async with open_test_spool(own_server.url, tmp_path) as spool:
        for message in messages[:-1]:
            loaded = await spool.load(message.message_id, with_content=True)
            assert loaded is not None
            assert loaded.content == message.content
        assert await spool.redis.zcard(keys.DUE) == 19, "a script's writes are one transaction in the log"
        await spool.accept(messages[-1])
        assert await spool.redis.zcard(keys.DUE) == 20


async def test_a_single_node_in_cluster_mode_works(binary: Path, tmp_path: Path):
    server = await asyncio.to_thread(cluster_server, binary=binary)
    try:
        async with open_test_spool(server.url, tmp_path) as spool:
            message = a_message(header_message_id="one@example.com")
            await spool.accept(message)
            [claimed] = await spool.claim([message.message_id], "w")
            assert await spool.renew([claimed.lease]) != [None]
            outcome = Attempt(1, (0,), 1, "w", "accepted", 2, "ses-1")
            held = Settlement(claimed.lease, to="held", attempts=(outcome,), spawned=(a_message(),), events=(b"{}",))
            assert await spool.settle(held)
            assert await spool.release([message.message_id]) == [True]
            assert (await spool.sweep(limit=10, max_crashes=9, nudges=10)).due == 2
            assert await spool.find("ses-1") is not None
            assert await spool.load_summaries([message.message_id])
            assert await spool.withdraw([message.message_id]) == [False]
    finally:
        server.stop()


async def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path):
    async with open_test_spool(f"unix://{tmp_path}/none.sock", tmp_path) as spool:
        for refused in (spool.accept(a_message()), spool.load("0000-a"), spool.load_summaries(["0000-a"])):
            with pytest.raises(StoreUnavailable):
                await refused


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", StoreFull),
        (
            "ERR Error running script (call to f_x): @user_script:3: @user_script: 3: -OOM command not allowed when",
            StoreFull,
        ),
        ("ERR Error running script (call to f_x): @user_script:3: -READONLY You can't write", StoreUnavailable),
        ("MISCONF Errors writing to the AOF file: No space left on device", StoreUnavailable),
        ("BUSY Redis is busy running a script.", StoreUnavailable),
        ("CLUSTERDOWN The cluster is down", StoreUnavailable),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", None),
        ("ERR Error running script: user_script:1: attempt to index a nil value BUSY", None),
    ],
)
def test_the_servers_errors_are_told_apart(text: str, kind: type[TryLater] | None):
    meaning = scripts.translated(ResponseError(text))
    assert (type(meaning) if meaning else None) is kind


async def the_only_connection(redis: aioredis.Redis) -> Any:
    """However long it takes to open it."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(RedisConnectionError, RedisTimeoutError):
                return await redis.connection_pool.get_connection()


async def test_no_connection_left_in_the_pool_is_unavailable(server: RedisServer, tmp_path: Path):
    redis = redis_client(server.url, connections=1, answer_seconds=0.1)
    taken = await the_only_connection(redis)
    with pytest.raises(StoreUnavailable):
        await scripts.FIND(redis, [keys.index_of("x")])
    await redis.connection_pool.release(taken)
    await redis.aclose()
