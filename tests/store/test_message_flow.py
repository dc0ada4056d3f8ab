"""What functions read and put, against a real server with a folder and with a bucket."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from config.aws_clients import aws_session, s3_opener
from config.settings import Settings
from spool import keys
from spool.assembly import open_message_flow
from spool.bucket_contents import BucketContents
from spool.content import STREAM_BYTES, ContentMissing, ContentStore, ContentUnavailable, FolderContents
from spool.environment import claim_environment
from spool.message_flow import MessageFlow, is_frozen
from spool.orphans import collect_orphans
from spool.records import Message, Settlement, new_message_id
from spool.store import Spool
from spool.verdicts import Verdict
from tests.servers import RedisServer
from tests.store.messages import accepted_and_claimed, open_test_spool

DAY = 86400.0
CALL = "0" * 32


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
async def bucket(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BucketContents]:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    opener = s3_opener(aws_session("us-east-1"))
    name = f"b-{os.urandom(6).hex()}"
    async with opener() as s3:
        await s3.create_bucket(Bucket=name)
    contents = BucketContents(name, "mail/flow", opener)
    yield contents
    await contents.close()


@pytest.fixture
def folder(tmp_path: Path) -> FolderContents:
    return FolderContents(tmp_path / "content" / "flow")


@pytest.fixture
def flow(spool: Spool, folder: FolderContents) -> MessageFlow:
    return MessageFlow(spool, folder, DAY)


@pytest.fixture(params=["folder", "bucket"])
def either(request: pytest.FixtureRequest, spool: Spool) -> MessageFlow:
    return MessageFlow(spool, request.getfixturevalue(request.param), DAY)


async def begun(flow: MessageFlow, message: Message, content: bytes = b"original", **more: object) -> str:
    values = {"invocation_id": CALL, "seconds": 600.0, "is_sync": True, **more}
    return await flow.begin(message, content, **values)  # type: ignore[arg-type]


async def compared_with(flow: MessageFlow, message_id: str) -> bytes | None:
    """The content that an update which begins now is compared with."""
    begun_put = await flow.begin_put(message_id)
    if begun_put is None:
        return None
    original = await flow.original_of(begun_put)
    assert len(original) == begun_put.size_bytes
    return original


async def read(flow: MessageFlow, message_id: str) -> bytes | None:
    reading = await flow.read(message_id)
    if reading is None:
        return None
    content = b"".join([piece async for piece in reading.chunks])
    assert len(content) == reading.size_bytes
    return content


async def listed(flow: MessageFlow) -> list[str]:
    return [name async for name, _ in flow._contents.older_than(0, time.time() + 60)]


def open_files(folder: Path) -> int:
    """How many files of the folder this process has open; other tests may leave what they like to the collector."""
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one of this very look
            links.append(descriptor.readlink())
    return sum(link.is_relative_to(folder) for link in links)


async def message_of(spool: Spool, **more: object) -> Message:
    return (await accepted_and_claimed(spool, **more)).message


async def finished(spool: Spool, **more: object) -> Message:
    claimed = await accepted_and_claimed(spool, **more)
    assert await spool.settle(Settlement(claimed.lease, 1, "done"))
    await spool.forget_content(claimed.message)
    return claimed.message


async def access_is_over(spool: Spool, message_id: str) -> None:
    """As if the day were over for what was handed to a function, and for the message."""
    if await spool.redis.exists(keys.flow_key(message_id)):
        await spool.redis.hset(keys.flow_key(message_id), "end", 1)
        await spool.redis.zadd(keys.FLOWS, {message_id: 1}, xx=True)
    if await spool.redis.exists(keys.message_key(message_id)):
        await spool.redis.hset(keys.message_key(message_id), "at", 1_600_000_000_000)


async def run_is_over(spool: Spool, message_id: str) -> None:
    """As if the time of the run had passed."""
    assert await spool.redis.hset(keys.flow_key(message_id), "until", 1) == 0


class TestARun:
    """begin, put and end of a sync call."""

    async def test_what_is_put_while_it_runs_counts_and_is_handed_over(self, spool: Spool, either: MessageFlow):
        message = await message_of(spool)
        run = await begun(either, message)
        assert await read(either, message.message_id) == b"original"
        assert await either.put(message.message_id, b"updated") == "counts"
        assert await read(either, message.message_id) == b"updated"
        assert await compared_with(either, message.message_id) == b"original"
        assert await either.end(message.message_id, run) == b"updated"
        assert await read(either, message.message_id) == b"updated"

    async def test_without_a_put_nothing_is_handed_over(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool)
        run = await begun(flow, message)
        assert await flow.end(message.message_id, run) is None
        assert await read(flow, message.message_id) == b"original"

    async def test_the_end_may_be_asked_for_again(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool)
        run = await begun(flow, message)
        await flow.put(message.message_id, b"updated")
        assert [await flow.end(message.message_id, run) for _ in range(2)] == [b"updated"] * 2

    async def test_an_empty_content_is_an_update_too(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool)
        run = await begun(flow, message)
        assert await flow.put(message.message_id, b"") == "counts"
        assert await read(flow, message.message_id) == b""
        assert await flow.end(message.message_id, run) == b""

    async def test_a_put_after_the_end_is_read_and_changes_nothing(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool)
        run = await begun(flow, message)
        assert await flow.put(message.message_id, b"counts") == "counts"
        assert await flow.end(message.message_id, run) == b"counts"
        assert await flow.put(message.message_id, b"too late") == "kept"
        assert await read(flow, message.message_id) == b"too late"
        assert await flow.end(message.message_id, run) == b"counts"

    async def test_a_put_after_the_time_of_the_run_does_not_count(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool)
        run = await begun(flow, message)
        assert await flow.put(message.message_id, b"in time") == "counts"
        await run_is_over(spool, message.message_id)
        assert await flow.put(message.message_id, b"too late") == "kept"
        assert await flow.end(message.message_id, run) == b"in time"

    async def test_the_time_of_a_run_ends_by_itself(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool)
        await begun(flow, message, seconds=0.0)
        assert await flow.put(message.message_id, b"x") == "kept"

    async def test_a_second_try_finds_the_content_it_is_called_for(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool)
        await begun(flow, message)
        await flow.put(message.message_id, b"with a footer")
        run = await begun(flow, message)
        assert await read(flow, message.message_id) == b"original"
        assert await flow.end(message.message_id, run) is None
        assert len(await listed(flow)) == 1, "nothing of the first try stays, and the original was written once"

    async def test_the_next_function_is_called_for_what_the_last_one_made(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool)
        run = await begun(flow, message)
        await flow.put(message.message_id, b"first")
        await flow.end(message.message_id, run)
        run = await begun(flow, message, b"first", invocation_id="1" * 32)
        assert await compared_with(flow, message.message_id) == b"first"
        assert await flow.end(message.message_id, run) is None
        assert await read(flow, message.message_id) == b"first"

    async def test_of_two_puts_at_once_one_wins_wholly(self, spool: Spool, either: MessageFlow):
        message = await message_of(spool)
        run = await begun(either, message)
        versions = [bytes([letter]) * 100_000 for letter in b"abcdefgh"]
        answers = await asyncio.gather(*(either.put(message.message_id, one) for one in versions))
        assert answers == ["counts"] * 8
        left = await either.end(message.message_id, run)
        assert left in versions
        assert await read(either, message.message_id) == left
        assert len(await listed(either)) == 2, "the original and the last one"

    @pytest.mark.parametrize("is_same_process", [True, False])
    async def test_a_try_without_its_lease_does_not_close_the_run_of_the_next(
        self, spool: Spool, folder: FolderContents, *, is_same_process: bool
    ):
        old = MessageFlow(spool, folder, DAY)
        new = old if is_same_process else MessageFlow(spool, folder, DAY)
        message = await message_of(spool)
        old_run = await begun(old, message)
        await old.put(message.message_id, b"of the old try")
        new_run = await begun(new, message)
        assert await old.end(message.message_id, old_run) is None
        assert await new.put(message.message_id, b"of the new try") == "counts"
        assert await new.end(message.message_id, new_run) == b"of the new try"

    async def test_an_end_without_a_beginning_is_nothing(self, flow: MessageFlow):
        assert await flow.end(new_message_id(), CALL) is None


class TestAPutThatTakesItsTime:
    """What happens between begin_put and put: fetching and checking the content."""

    async def test_it_counts_when_its_run_is_still_open(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool)
        run = await begun(flow, message)
        slow = await flow.begin_put(message.message_id)
        assert await flow.put(message.message_id, b"quick") == "counts"
        assert await flow.put(message.message_id, b"slow", slow) == "counts"
        assert await flow.end(message.message_id, run) == b"slow"

    async def test_in_the_next_try_it_does_not_count(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool)
        first = await begun(flow, message)
        slow = await flow.begin_put(message.message_id)
        await flow.end(message.message_id, first)
        second = await begun(flow, message)
        assert await flow.put(message.message_id, b"of the first try", slow) == "kept"
        assert await read(flow, message.message_id) == b"of the first try"
        assert await flow.end(message.message_id, second) is None

    async def test_it_does_not_take_the_place_of_what_the_next_try_put(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool)
        await begun(flow, message)
        slow = await flow.begin_put(message.message_id)
        second = await begun(flow, message)
        assert await flow.put(message.message_id, b"of the second try") == "counts"
        assert await flow.put(message.message_id, b"of the first try", slow) == "kept"
        assert await flow.end(message.message_id, second) == b"of the second try"

    async def test_in_the_run_of_another_function_it_does_not_count(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool)
        first = await begun(flow, message)
        slow = await flow.begin_put(message.message_id)
        await flow.end(message.message_id, first)
        second = await begun(flow, message, b"what the first function made", invocation_id="1" * 32)
        assert await flow.put(message.message_id, b"of the first function", slow) == "kept"
        assert await flow.end(message.message_id, second) is None

    async def test_one_that_began_before_any_run_does_not_count(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool)
        slow = await flow.begin_put(message.message_id)
        run = await begun(flow, message)
        assert await flow.put(message.message_id, b"early", slow) == "kept"
        assert await flow.end(message.message_id, run) is None

    async def test_one_that_began_after_its_run_does_not_count_in_the_next(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool)
        await flow.end(message.message_id, await begun(flow, message))
        slow = await flow.begin_put(message.message_id)
        run = await begun(flow, message)
        assert await flow.put(message.message_id, b"between", slow) == "kept"
        assert await flow.end(message.message_id, run) is None

    async def test_one_whose_content_is_stored_slowly_does_not_count_in_the_next_try(
        self, spool: Spool, folder: FolderContents
    ):
        stored = asyncio.Event()

        class Slow(FolderContents):
            """Is slow to store one content."""

            async def put(self, message_id: str, content: bytes) -> str:
                reference = await super().put(message_id, content)
                if content == b"slow":
                    await stored.wait()
                return reference

        flow, message = MessageFlow(spool, Slow(folder._folder), DAY), await message_of(spool)
        await begun(flow, message)
        slow = asyncio.create_task(flow.put(message.message_id, b"slow"))
        async with asyncio.timeout(60):
            while len(await listed(flow)) < 2:
                await asyncio.sleep(0.01)
        run = await begun(flow, message)
        stored.set()
        assert await slow == "kept"
        assert await flow.end(message.message_id, run) is None

    async def test_what_it_is_compared_with_is_what_the_run_began_with_whatever_was_put(
        self, spool: Spool, flow: MessageFlow
    ):
        message = await message_of(spool)
        await begun(flow, message, b"the original, which is long")
        await flow.put(message.message_id, b"tiny")
        begun_put = await flow.begin_put(message.message_id)
        assert begun_put is not None
        assert begun_put.size_bytes == len(b"the original, which is long")
        assert await flow.original_of(begun_put) == b"the original, which is long"

    async def test_what_it_is_compared_with_may_be_replaced_meanwhile(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool)
        await begun(flow, message)
        slow = await flow.begin_put(message.message_id)
        assert slow is not None
        await begun(flow, message, b"another", invocation_id="1" * 32)
        with pytest.raises(ContentMissing):
            await flow.original_of(slow)

    async def test_a_message_that_ends_meanwhile_has_nothing_to_compare_with(self, spool: Spool, flow: MessageFlow):
        claimed = await accepted_and_claimed(spool, content=b"x")
        slow = await flow.begin_put(claimed.message.message_id)
        assert slow is not None
        assert await spool.settle(Settlement(claimed.lease, 1, "done"))
        with pytest.raises(ContentMissing):
            await flow.original_of(slow)
        assert await flow.begin_put(claimed.message.message_id) is None


class TestACallThatDecidesNothing:
    """begin of an async call."""

    async def test_it_reads_and_its_put_is_kept(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool)
        await begun(flow, message, is_sync=False)
        assert await read(flow, message.message_id) == b"original"
        assert await flow.put(message.message_id, b"put") == "kept"
        assert await read(flow, message.message_id) == b"put"

    async def test_it_neither_opens_nor_resets_nor_closes_a_run(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool)
        run = await begun(flow, message)
        await flow.put(message.message_id, b"first")
        assert await begun(flow, message, is_sync=False, invocation_id="1" * 32) == ""
        assert await read(flow, message.message_id) == b"first"
        assert await flow.put(message.message_id, b"second") == "counts"
        assert await flow.end(message.message_id, "") is None
        assert await flow.end(message.message_id, run) == b"second"


class TestAccess:
    """Who may read what, and how long."""

    async def test_a_message_that_no_function_was_given_is_read_from_the_spool(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool, content=b"inline")
        assert await read(flow, message.message_id) == b"inline"
        assert await compared_with(flow, message.message_id) == b"inline"
        large = await message_of(spool, content=b"x" * 300_000)
        assert await read(flow, large.message_id) == b"x" * 300_000
        assert await compared_with(flow, large.message_id) == b"x" * 300_000

    @pytest.mark.parametrize("size_bytes", [10, 300_000])
    async def test_after_the_end_of_the_message_it_is_still_read(
        self, spool: Spool, flow: MessageFlow, size_bytes: int
    ):
        claimed = await accepted_and_claimed(spool, content=b"x" * size_bytes)
        await begun(flow, claimed.message, b"x" * size_bytes)
        assert await spool.settle(Settlement(claimed.lease, 1, "done"))
        await spool.forget_content(claimed.message)
        assert await read(flow, claimed.message.message_id) == b"x" * size_bytes
        await spool.redis.delete(keys.message_key(claimed.message.message_id))  # the spool has forgotten it
        assert await read(flow, claimed.message.message_id) == b"x" * size_bytes
        assert await flow.put(claimed.message.message_id, b"new") == "counts"
        assert await read(flow, claimed.message.message_id) == b"new"

    @pytest.mark.parametrize("size_bytes", [10, 300_000])
    async def test_a_finished_message_that_no_function_was_given_is_gone(
        self, spool: Spool, flow: MessageFlow, size_bytes: int
    ):
        message = await finished(spool, content=b"x" * size_bytes)
        assert await flow.read(message.message_id) is None

    async def test_a_put_to_it_is_kept_even_when_the_spool_forgets_it(self, spool: Spool, flow: MessageFlow):
        message = await finished(spool)
        assert await flow.put(message.message_id, b"one") == "kept"
        await spool.redis.delete(keys.message_key(message.message_id))
        assert await flow.put(message.message_id, b"two") == "kept"
        assert await read(flow, message.message_id) == b"two"
        assert len(await listed(flow)) == 1

    async def test_after_a_day_nothing_is_read_or_put(self, spool: Spool, flow: MessageFlow):
        given, other = await message_of(spool), await message_of(spool)
        await begun(flow, given)
        for message in (given, other):
            await access_is_over(spool, message.message_id)
            assert await flow.read(message.message_id) is None
            assert await compared_with(flow, message.message_id) is None
            assert await flow.put(message.message_id, b"x") == "unknown"
        assert len(await listed(flow)) == 1, "what could not be put is not kept"

    async def test_the_access_ends_a_day_after_the_acceptance(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool)
        await begun(flow, message)
        end = int(await spool.redis.hget(keys.flow_key(message.message_id), "end"))
        assert end == message.accepted_at_ms + DAY * 1000

    async def test_a_function_that_is_called_later_may_read_while_it_runs(self, spool: Spool, flow: MessageFlow):
        message = replace(await message_of(spool), accepted_at_ms=1_600_000_000_000)
        run = await begun(flow, message, seconds=60.0)
        assert await read(flow, message.message_id) == b"original"
        assert await flow.put(message.message_id, b"x") == "counts"
        assert await flow.end(message.message_id, run) == b"x"

    @pytest.mark.parametrize("message_id", ["", "A", "../x", "x" * 121, "0000-nobody"])
    async def test_what_nobody_knows_is_unknown(self, flow: MessageFlow, message_id: str):
        assert await flow.read(message_id) is None
        assert await compared_with(flow, message_id) is None
        assert await flow.put(message_id, b"x") == "unknown"
        assert await listed(flow) == []


class TestFrozen:
    """Messages that no function may change."""

    async def test_a_bounce_of_ours_is_read_and_not_changed(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool, door="bounce", content=b"bounce")
        assert await flow.put(message.message_id, b"x") == "frozen"
        assert await read(flow, message.message_id) == b"bounce"

    async def test_a_message_that_a_rule_sends_to_others_altogether(self, spool: Spool, flow: MessageFlow):
        claimed = await accepted_and_claimed(spool, recipients=2)
        redirected = claimed.message.judged(Verdict("1", replaced={0: "a@x", 1: "b@x"}))
        assert is_frozen(redirected)
        assert not is_frozen(claimed.message.judged(Verdict("1", replaced={0: "a@x"}, added=("t@x",))))
        await spool.settle(Settlement(claimed.lease, 1, states=redirected.states, verdict=redirected.verdict))
        assert await flow.put(redirected.message_id, b"x") == "frozen"
        await begun(flow, redirected)
        await spool.redis.delete(keys.message_key(redirected.message_id))
        assert await flow.put(redirected.message_id, b"x") == "frozen"
        assert await read(flow, redirected.message_id) == b"original"


class TestStreaming:
    """Reading in pieces."""

    async def test_a_large_content_comes_in_small_pieces(self, spool: Spool, either: MessageFlow):
        content = os.urandom(3 * STREAM_BYTES + 17)
        message = await message_of(spool)
        await begun(either, message, content)
        reading = await either.read(message.message_id)
        assert reading is not None
        pieces = [piece async for piece in reading.chunks]
        assert b"".join(pieces) == content
        assert reading.size_bytes == len(content)
        assert max(map(len, pieces)) <= STREAM_BYTES

    async def test_a_reader_gets_one_version_to_its_end(self, spool: Spool, flow: MessageFlow):
        first, message = b"1" * (2 * STREAM_BYTES), await message_of(spool)
        await begun(flow, message, b"original")
        await flow.put(message.message_id, first)
        reading = await flow.read(message.message_id)
        assert reading is not None
        await flow.put(message.message_id, b"2")  # the first version is removed
        assert b"".join([piece async for piece in reading.chunks]) == first

    async def test_a_reader_who_leaves_early_leaves_no_file_open(self, spool: Spool, flow: MessageFlow, tmp_path: Path):
        message = await message_of(spool)
        await begun(flow, message, b"x" * (3 * STREAM_BYTES))
        reading = await flow.read(message.message_id)
        assert reading is not None
        await anext(reading.chunks)
        assert open_files(tmp_path) == 1
        await reading.chunks.aclose()
        assert open_files(tmp_path) == 0

    async def test_a_version_that_is_replaced_while_it_is_looked_up_is_looked_up_again(
        self, spool: Spool, folder: FolderContents
    ):
        message = await message_of(spool)

        class Slow(FolderContents):
            """Before the first content is opened another one is put in its place."""

            async def stream(self, reference: str):  # type: ignore[no-untyped-def]
                other = MessageFlow(spool, folder, DAY)
                if not await spool.redis.exists("{ms}:test"):
                    await spool.redis.set("{ms}:test", 1)
                    await other.put(message.message_id, b"second")
                async for piece in super().stream(reference):
                    yield piece

        flow = MessageFlow(spool, Slow(folder._folder), DAY)
        await begun(flow, message)
        await flow.put(message.message_id, b"first")
        assert await read(flow, message.message_id) == b"second"

    async def test_a_content_that_is_lost_is_no_unknown_message(self, spool: Spool, flow: MessageFlow, tmp_path: Path):
        message = await message_of(spool)
        await begun(flow, message)
        for path in (tmp_path / "content" / "flow").glob("??/*"):
            path.unlink()
        with pytest.raises(ContentMissing):
            await flow.read(message.message_id)


class TestTidying:
    """What is past its access, and what crashes leave."""

    async def test_it_removes_what_is_past_its_access_and_nothing_else(self, spool: Spool, either: MessageFlow):
        old, new = await message_of(spool), await message_of(spool)
        for message in (old, new):
            await begun(either, message)
            await either.put(message.message_id, b"x")
        await access_is_over(spool, old.message_id)
        assert await either.tidy(time.time()) == 2
        assert await either.tidy(time.time()) == 0
        assert {name[: len(new.message_id)] for name in await listed(either)} == {new.message_id}
        assert await spool.redis.exists(keys.flow_key(old.message_id)) == 0
        assert await spool.redis.zrange(keys.FLOWS, 0, -1) == [new.message_id.encode()]

    async def test_it_removes_many_in_steps(self, spool: Spool, flow: MessageFlow):
        row = {"end": 1, "base": "00000000:1", "latest": "00000000:1", "put": ""}
        for number in range(450):
            await spool.redis.hset(keys.flow_key(f"0000-{number}"), mapping=row)
            await spool.redis.zadd(keys.FLOWS, {f"0000-{number}": 1})
        assert await flow.tidy(time.time()) == 450
        assert await spool.redis.zcard(keys.FLOWS) == 0

    async def test_two_at_once_do_no_harm(self, spool: Spool, flow: MessageFlow):
        message = await message_of(spool)
        await begun(flow, message)
        await access_is_over(spool, message.message_id)
        assert sorted(await asyncio.gather(*(flow.tidy(time.time()) for _ in range(3)))) == [0, 0, 1]

    async def test_a_crash_between_storing_and_the_script_leaves_what_is_removed_later(
        self, spool: Spool, either: MessageFlow
    ):
        message = await message_of(spool)
        await begun(either, message)
        await either._store(message.message_id, b"of a put that never came to its script")
        assert len(await listed(either)) == 2
        assert await either.tidy(time.time() + DAY) == 0, "one of a put under way is left alone"
        await spool.redis.delete(keys.lock_key("flow-contents"))
        assert await either.tidy(time.time() + DAY + 7200) == 1
        assert await read(either, message.message_id) == b"original", "what a record names stays, however old"

    async def test_contents_are_listed_now_and_then_only(self, spool: Spool, flow: MessageFlow):
        assert await flow.tidy(time.time()) == 0
        await flow._store(new_message_id(), b"x")
        assert await flow.tidy(time.time() + 2 * DAY) == 0
        assert 0 < await spool.redis.ttl(keys.lock_key("flow-contents")) <= 6 * 3600

    async def test_a_listing_that_failed_is_tried_again(self, spool: Spool, folder: FolderContents):
        class Away(FolderContents):
            """Cannot be listed."""

            async def older_than(self, age_seconds: float, now: float):  # type: ignore[no-untyped-def]
                raise ContentUnavailable("away")
                yield

        with pytest.raises(ContentUnavailable):
            await MessageFlow(spool, Away(folder._folder), DAY).tidy(time.time())
        assert await spool.redis.exists(keys.lock_key("flow-contents")) == 0

    async def test_a_content_that_cannot_be_removed_hinders_nobody(self, spool: Spool, folder: FolderContents):
        class Stuck(FolderContents):
            """Removes nothing."""

            async def delete(self, reference: str) -> None:
                raise ContentUnavailable("stuck")

        flow, message = MessageFlow(spool, Stuck(folder._folder), DAY), await message_of(spool)
        run = await begun(flow, message)
        assert await flow.put(message.message_id, b"1") == "counts"
        assert await flow.put(message.message_id, b"2") == "counts"
        assert await flow.end(message.message_id, run) == b"2"

    async def test_the_collector_of_the_spool_does_not_see_them(self, spool: Spool, flow: MessageFlow, tmp_path: Path):
        message = await finished(spool)
        await begun(flow, message)
        await spool.contents.set_mark((await claim_environment(spool.redis, "")).id)
        for path in (tmp_path / "content").rglob("*"):
            if path.is_file():
                os.utime(path, (time.time() - 7200,) * 2)
        assert await collect_orphans(spool, now=time.time()) == 0
        assert await read(flow, message.message_id) == b"original"


async def test_contents_of_two_stores_in_one_bucket_do_not_mix(spool: Spool, bucket: BucketContents):
    beside: ContentStore = BucketContents(bucket._bucket, "mail", bucket._open_s3)
    await beside.put("0000-a", b"x")
    await bucket.put("0000-a-f00000000", b"y")
    names = [[name async for name, _ in one.older_than(0, time.time() + 60)] for one in (beside, bucket)]
    assert names == [["0000-a"], ["0000-a-f00000000"]]
    await beside.close()


async def test_on_a_full_server_a_function_is_called_all_the_same(own_server: RedisServer, tmp_path: Path):
    async with open_test_spool(own_server.url, tmp_path) as spool:
        flow = MessageFlow(spool, FolderContents(tmp_path / "flow"), DAY)
        message = await message_of(spool)
        own_server.call("CONFIG", "SET", "maxmemory", "1mb")
        run = await begun(flow, message)
        assert await flow.put(message.message_id, b"x") == "counts"
        assert await flow.end(message.message_id, run) == b"x"


@pytest.mark.parametrize("place", ["", "elsewhere"])
async def test_the_settings_say_where_they_are(spool: Spool, tmp_path: Path, place: str):
    settings = Settings.model_validate(
        {
            "data": {"dir": str(tmp_path)},
            "spool": {"content_store": str(tmp_path / place) if place else ""},
            "message_flow": {"access_seconds": 3600},
        }
    )
    flow = open_message_flow(settings, spool)
    message = await message_of(spool)
    await begun(flow, message)
    assert len(list((tmp_path / (place or "content") / "flow").glob("??/*"))) == 1
    end = int(await spool.redis.hget(keys.flow_key(message.message_id), "end"))
    assert end == message.accepted_at_ms + 3_600_000
    await flow.close()
