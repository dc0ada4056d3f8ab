import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from spool import keys
from spool.content import MARK_NAME, ContentMissing
from spool.environment import claim_environment, rename_environment
from spool.orphans import collect_orphans
from spool.records import Settlement
from spool.scripts import StoreUnavailable
from spool.store import Spool
from tests.servers import RedisServer
from tests.store.messages import a_message, open_test_spool


@pytest.fixture
async def spool(server: RedisServer, tmp_path: Path) -> AsyncIterator[Spool]:
    async with open_test_spool(server.url, tmp_path, inline=10) as spool:
        await claim_environment(spool.redis, "")
        yield spool


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "content").rglob("*") if path.is_file()} - {MARK_NAME}


def the_mark(folder: Path) -> str:
    return (folder / "content" / MARK_NAME).read_text().strip()


async def marked(spool: Spool) -> None:
    """The contents are the spool's, as after the first collection of its life."""
    await spool.contents.set_mark((await claim_environment(spool.redis, "")).id)


async def pause_is_over(spool: Spool) -> None:
    await spool.redis.delete(keys.lock_key("orphans"))


def made_old(folder: Path, seconds: float = 7200) -> None:
    for path in (folder / "content").rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - seconds,) * 2)


async def test_only_contents_without_an_unfinished_message_are_removed(spool: Spool, tmp_path: Path):
    due, leased, parked, held, done = messages = [a_message(content=b"x" * 100) for _ in range(5)]
    for message in messages:
        await spool.accept(message)
    for message in (leased, parked, held, done):
        [claimed] = await spool.claim([message.message_id], "w")
        to = {parked: "parked", held: "held", done: "done"}.get(message)
        if to:
            await spool.settle(Settlement(claimed.lease, to=to, after_seconds=60))
    crashed = a_message()
    await spool.contents.put(crashed.message_id, b"content of a crash before the commit")
    half = next((tmp_path / "content").rglob(due.message_id)).with_name(f"{due.message_id}.0123456789abcdef.new")
    half.write_bytes(b"hal")
    made_old(tmp_path)
    # The half-written file of an unfinished message stays with it and goes with it.
    assert await collect_orphans(spool, now=time.time()) == 2
    assert files(tmp_path) == {one.message_id for one in (due, leased, parked, held)} | {half.name}
    [claimed] = await spool.claim([due.message_id], "w")
    await spool.settle(Settlement(claimed.lease, to="done"))
    await pause_is_over(spool)
    assert await collect_orphans(spool, now=time.time()) == 2
    for message in (leased, parked, held):
        loaded = await spool.load(message.message_id)
        assert loaded is not None
        assert await spool.content_of(loaded) == message.content


async def test_a_content_whose_commit_may_still_come_is_left_alone(spool: Spool, tmp_path: Path):
    message = a_message(content=b"x" * 100)
    await spool.contents.put(message.message_id, message.content)
    made_old(tmp_path, 3000)
    assert await collect_orphans(spool, now=time.time()) == 0
    await spool.accept(message)
    assert files(tmp_path) == {message.message_id}


async def test_two_collectors_at_once_or_shortly_after_are_one(spool: Spool, tmp_path: Path):
    await marked(spool)
    for _ in range(20):
        await spool.contents.put(a_message().message_id, b"x")
    made_old(tmp_path)
    assert sorted(await asyncio.gather(*(collect_orphans(spool, now=time.time()) for _ in range(3)))) == [0, 0, 20]
    assert await collect_orphans(spool, now=time.time()) == 0
    assert 0 < await spool.redis.ttl(keys.lock_key("orphans")) <= 900


async def test_a_collector_leaves_the_lock_of_another(spool: Spool):
    await spool.redis.set(keys.lock_key("orphans"), "another", ex=60)
    assert await collect_orphans(spool, now=time.time()) == 0
    assert await spool.redis.get(keys.lock_key("orphans")) == b"another"


async def test_nothing_is_removed_while_the_spool_does_not_answer(own_server: RedisServer, tmp_path: Path):
    async with open_test_spool(own_server.url, tmp_path, inline=10) as spool:
        await claim_environment(spool.redis, "")
        await spool.accept(a_message(content=b"x" * 100))
        made_old(tmp_path)
        own_server.kill()
        with pytest.raises(StoreUnavailable):
            await collect_orphans(spool, now=time.time())
        assert len(files(tmp_path)) == 1


async def test_the_content_of_a_finished_message_is_forgotten(spool: Spool, tmp_path: Path):
    message = a_message(content=b"x" * 100)
    await spool.accept(message)
    [claimed] = await spool.claim([message.message_id], "w")
    assert await spool.content_of(claimed.message) == message.content
    await spool.settle(Settlement(claimed.lease, to="done"))
    await spool.forget_content(claimed.message)
    await spool.forget_content(claimed.message)
    assert files(tmp_path) == set()
    with pytest.raises(ContentMissing):
        await spool.content_of(claimed.message)


async def test_the_first_collection_marks_the_contents_as_the_spools(spool: Spool, tmp_path: Path):
    environment = await claim_environment(spool.redis, "")
    assert await collect_orphans(spool, now=time.time()) == 0
    assert the_mark(tmp_path) == environment.id


async def refused(spool: Spool) -> str:
    """What the log says of a collection that removes nothing."""
    await pause_is_over(spool)
    with structlog.testing.capture_logs() as logs:
        assert await collect_orphans(spool, now=time.time()) == 0
    [told] = logs
    assert told["event"] == "spool.orphans_kept"
    await pause_is_over(spool)
    with structlog.testing.capture_logs() as logs:
        assert await collect_orphans(spool, now=time.time()) == 0
    assert logs == []  # said once
    return str(told["reason"])


async def test_a_server_that_came_back_empty_costs_no_content(spool: Spool, tmp_path: Path):
    message = a_message(content=b"x" * 100)
    await spool.accept(message)
    made_old(tmp_path)
    await collect_orphans(spool, now=time.time())
    await spool.redis.flushall()
    assert "came back empty" in await refused(spool)

    await spool.redis.delete(keys.lock_key("orphans-kept"))
    fresh = await claim_environment(spool.redis, "")  # a process that was started since
    reason = await refused(spool)
    assert f"belong to the spool {the_mark(tmp_path)}; this spool is {fresh.id}" in reason
    assert files(tmp_path) == {message.message_id}

    (tmp_path / "content" / MARK_NAME).write_text(f"{fresh.id}\n")  # the operator gives the old ones up
    await pause_is_over(spool)
    assert await collect_orphans(spool, now=time.time()) == 1


async def test_unmarked_contents_are_the_spools_when_it_knows_one_of_them(spool: Spool, tmp_path: Path):
    known = a_message(content=b"x" * 100)
    await spool.accept(known)
    for _ in range(3):
        await spool.contents.put(a_message().message_id, b"orphan")
    made_old(tmp_path)
    assert await collect_orphans(spool, now=time.time()) == 3
    assert files(tmp_path) == {known.message_id}
    assert the_mark(tmp_path) == (await claim_environment(spool.redis, "")).id


async def test_unmarked_contents_of_which_it_knows_none_stay(spool: Spool, tmp_path: Path):
    await spool.contents.put(a_message().message_id, b"x")
    made_old(tmp_path)
    reason = await refused(spool)
    assert "have no mark and the spool knows none of them" in reason
    assert str(tmp_path / "content" / MARK_NAME) in reason
    assert len(files(tmp_path)) == 1


async def test_a_name_changes_nothing_about_whose_the_contents_are(spool: Spool, tmp_path: Path):
    await marked(spool)
    await rename_environment(spool.redis, "production")
    await spool.contents.put(a_message().message_id, b"x")
    made_old(tmp_path)
    assert await collect_orphans(spool, now=time.time()) == 1
