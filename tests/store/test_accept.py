import asyncio
import time
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from sending_events.records import EventRecord
from spool import keys
from spool.records import NewMessage
from spool.scripts import StoreUnavailable
from spool.send_parameters import SendParameters
from spool.states import Place, RecipientState
from spool.store import Spool
from tests.servers import RedisServer
from tests.store.messages import a_message, events_of, numbers, open_test_spool, places_of


async def test_an_accepted_message_is_due_with_everything_the_door_said(spool: Spool):
    message = a_message(
        recipients=3,
        header_message_id="one@app.example.com",
        user="app",
        client_address="192.0.2.7",
        helo="app.example.com",
        door="api",
        is_auto_submitted=True,
    )
    await spool.accept(message)
    loaded = await spool.load(message.message_id, with_content=True)
    assert loaded is not None
    for name in ("sender", "recipients", "content", "door", "header_message_id", "user", "client_address", "helo"):
        assert getattr(loaded, name) == getattr(message, name), name
    assert loaded.is_auto_submitted
    assert loaded.states == (RecipientState.WAITING,) * 3
    assert (loaded.place, loaded.size_bytes) == (Place.DUE, len(message.content))
    assert await places_of(spool.redis, message.message_id) == {Place.DUE}
    assert await events_of(spool.redis) == [message.event]
    assert await numbers(spool.redis, keys.COUNTERS) == {"accepted_messages": 1, "accepted_recipients": 3}
    assert list((await numbers(spool.redis, keys.AGES)).values()) == [1]


async def test_a_repeated_accept_is_no_second_message(spool: Spool):
    message = a_message(recipients=2, header_message_id="x@example.com")
    for _ in range(3):
        await spool.accept(message)
    assert await numbers(spool.redis, keys.COUNTERS) == {"accepted_messages": 1, "accepted_recipients": 2}
    assert len(await events_of(spool.redis)) == 1
    assert await spool.redis.zcard(keys.DUE) == 1


async def test_a_repeated_accept_does_not_bring_a_finished_message_back(spool: Spool):
    message = a_message()
    await spool.accept(message)
    await spool.redis.hset(keys.message_key(message.message_id), "p", "done")
    await spool.redis.zrem(keys.DUE, message.message_id)
    await spool.accept(message)
    assert await places_of(spool.redis, message.message_id) == set()


async def test_fifty_messages_at_once_leave_in_few_commits(spool: Spool):
    before = (await spool.redis.info("commandstats")).get("cmdstat_evalsha", {"calls": 0})["calls"]
    messages = [a_message(recipients=2) for _ in range(50)]
    await asyncio.gather(*(spool.accept(message) for message in messages))
    after = (await spool.redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert after - before <= 3
    assert await spool.redis.zcard(keys.DUE) == 50
    assert (await numbers(spool.redis, keys.COUNTERS))["accepted_recipients"] == 100
    assert sum((await numbers(spool.redis, keys.AGES)).values()) == 50


async def test_a_large_content_is_stored_beside_the_spool(server: RedisServer, tmp_path: Path):
    async with open_test_spool(server.url, tmp_path, inline=100) as spool:
        small, large = a_message(content=b"x" * 100), a_message(content=b"y" * 101)
        await asyncio.gather(spool.accept(small), spool.accept(large))
        for message in (small, large):
            loaded = await spool.load(message.message_id, with_content=True)
            assert loaded is not None
            assert await spool.content_of(loaded) == message.content
            assert bool(loaded.content_ref) == (message is large)
        assert await spool.redis.hget(keys.message_key(large.message_id), "c") is None


@pytest.mark.parametrize("written", ["one@app.example.com", "<one@app.example.com>", " <one@app.example.com> "])
async def test_a_message_is_found_by_its_header_message_id_with_or_without_brackets(spool: Spool, written: str):
    message = a_message(header_message_id=written)
    await spool.accept(message)
    for asked in ("one@app.example.com", "<one@app.example.com>", message.message_id, f"<{message.message_id}>"):
        found = await spool.find(asked)
        assert found is not None
        assert found.message_id == message.message_id


@pytest.mark.parametrize("asked", ["", "nobody", "no such\r\nid", "*", "\udcff", "../../etc/passwd", "x" * 10_000])
async def test_an_unknown_id_finds_nothing(spool: Spool, asked: str):
    await spool.accept(a_message(header_message_id="one@example.com"))
    assert await spool.find(asked) is None


async def test_the_index_is_kept_for_ten_days_and_no_longer(spool: Spool):
    await spool.accept(a_message(header_message_id="one@example.com"))
    [bucket] = [key async for key in spool.redis.scan_iter("{ms}:i:*")]
    # A minute less: another day may begin between the commit and this look.
    assert 10 * 86400 - 60 < await spool.redis.ttl(bucket) <= 11 * 86400


async def test_a_message_that_cannot_be_encoded_harms_no_other_in_its_group(spool: Spool):
    good = [a_message() for _ in range(4)]
    bad: list[NewMessage] = [replace(a_message(), sender="\udc80@example.com"), replace(a_message(), message_id="../x")]
    results = await asyncio.gather(
        *(spool.accept(message) for message in (*good[:2], *bad, *good[2:])), return_exceptions=True
    )
    assert [isinstance(result, Exception) for result in results] == [False, False, True, True, False, False]
    assert await spool.redis.zcard(keys.DUE) == 4


async def test_bytes_and_addresses_of_every_kind_come_back_as_they_were(spool: Spool):
    content = bytes(range(256)) * 3
    message = replace(a_message(content=content), sender="", recipients=("grüße@example.net", '"a b"@example.net'))
    await spool.accept(message)
    loaded = await spool.load(message.message_id, with_content=True)
    assert loaded is not None
    assert (loaded.content, loaded.sender, loaded.recipients) == (content, "", message.recipients)


async def test_a_withdrawn_message_is_gone_and_counted_and_told(spool: Spool):
    message = a_message(recipients=3, parameters=SendParameters(configuration_set="news"))
    await spool.accept(message)
    assert await spool.withdraw([message.message_id]) == [True]
    assert await spool.load(message.message_id) is None
    assert await places_of(spool.redis, message.message_id) == set()
    assert await numbers(spool.redis, keys.AGES) == {}
    counters = await numbers(spool.redis, keys.COUNTERS)
    assert (counters["accepted_recipients"], counters["withdrawn_recipients"]) == (3, 3)
    accepted, dropped = await events_of(spool.redis)
    event = EventRecord.decode(dropped)
    assert accepted == message.event
    assert (event.kind, event.message_id, event.configuration_set) == ("dropped", message.message_id, "news")
    assert event.reason.startswith("taken back")
    assert abs(event.at_ms - time.time() * 1000) < 60_000
    assert await spool.withdraw([message.message_id]) == [False]
    assert len(await events_of(spool.redis)) == 2


async def test_a_commit_that_arrives_after_the_withdrawal_is_refused(spool: Spool):
    message = a_message()
    assert await spool.withdraw([message.message_id]) == [False]
    with pytest.raises(StoreUnavailable):
        await spool.accept(message)
    assert await spool.load(message.message_id) is None
    assert await numbers(spool.redis, keys.COUNTERS) == {}
    assert await events_of(spool.redis) == []


async def test_a_message_that_a_worker_has_or_had_is_not_withdrawn(spool: Spool):
    message = a_message()
    await spool.accept(message)
    await spool.claim([message.message_id], "worker@test")
    assert await spool.withdraw([message.message_id]) == [False]
    await spool.redis.zadd(keys.LEASED, {message.message_id: 1})
    await spool.sweep(limit=10, max_crashes=3, nudges=0)
    assert await places_of(spool.redis, message.message_id) == {Place.DUE}
    assert await spool.withdraw([message.message_id]) == [False], "it may have been sent"
    assert await spool.load(message.message_id) is not None


async def test_summaries_of_many_messages_come_without_contents(spool: Spool):
    messages = [a_message() for _ in range(3)]
    for message in messages:
        await spool.accept(message)
    found = await spool.load_summaries([message.message_id for message in messages] + ["0000-unknown"])
    assert set(found) == {message.message_id for message in messages}
    assert all(one.content is None for one in found.values())


async def test_the_static_part_leaves_out_what_is_empty(spool: Spool):
    message = a_message()
    await spool.accept(message)
    static = orjson.loads(await spool.redis.hget(keys.message_key(message.message_id), "m"))
    assert set(static) == {"sender", "recipients", "size", "door"}
