import asyncio
import os
import stat
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from config.aws_clients import aws_session, s3_opener
from spool.bucket_contents import BucketContents
from spool.content import STREAM_BYTES, ContentMissing, ContentStore, ContentUnavailable, FolderContents
from spool.records import new_message_id


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
    opener = s3_opener(aws_session("us-east-1"))
    name = f"b-{os.urandom(6).hex()}"
    async with opener() as s3:
        await s3.create_bucket(Bucket=name)
    contents = BucketContents(name, "/mail/here/", opener)
    yield contents
    await contents.close()


@pytest.fixture
def folder(tmp_path: Path) -> FolderContents:
    return FolderContents(tmp_path / "data" / "content")


@pytest.fixture(params=["folder", "bucket"])
def contents(request: pytest.FixtureRequest) -> ContentStore:
    return request.getfixturevalue(request.param)


async def listed(contents: ContentStore, age_seconds: float = 0, *, later: float = 10) -> dict[str, str]:
    return {id_: reference async for id_, reference in contents.older_than(age_seconds, time.time() + later)}


def the_file(folder: Path, message_id: str) -> Path:
    [path] = folder.rglob(message_id)
    return path


async def test_a_content_comes_back_byte_for_byte(contents: ContentStore):
    message_id, content = new_message_id(), os.urandom(300_000)
    reference = await contents.put(message_id, content)
    assert await contents.get(reference) == content
    assert message_id in reference


async def test_a_stream_brings_the_same_bytes_in_pieces(contents: ContentStore):
    message_id, content = new_message_id(), os.urandom(2 * STREAM_BYTES + 1)
    reference = await contents.put(message_id, content)
    assert reference == contents.reference_of(message_id)
    pieces = [piece async for piece in contents.stream(reference)]
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= STREAM_BYTES
    empty = await contents.put(message_id, b"")
    assert [piece async for piece in contents.stream(empty)] == []


async def test_a_stream_of_what_is_not_there_says_so_at_once(contents: ContentStore):
    with pytest.raises(ContentMissing):
        await anext(contents.stream(contents.reference_of(new_message_id())))


async def test_a_stream_that_cannot_be_read_is_unavailable(tmp_path: Path):
    folder = FolderContents(tmp_path)
    reference = await folder.put("a", b"x")
    path = the_file(tmp_path, "a")
    path.unlink()
    path.mkdir()
    with pytest.raises(ContentUnavailable) as caught:
        await anext(folder.stream(reference))
    assert not isinstance(caught.value, ContentMissing)


async def test_a_second_put_replaces_the_first(contents: ContentStore):
    message_id = new_message_id()
    first, second = await contents.put(message_id, b"first"), await contents.put(message_id, b"second")
    assert first == second
    assert await contents.get(second) == b"second"
    assert await listed(contents) == {message_id: second}


async def test_a_removed_content_is_missing_and_may_be_removed_again(contents: ContentStore):
    reference = await contents.put(new_message_id(), b"x")
    for _ in range(2):
        await contents.delete(reference)
    with pytest.raises(ContentMissing):
        await contents.get(reference)
    assert await listed(contents) == {}


async def test_only_what_is_older_is_listed(contents: ContentStore):
    expected = {id_: await contents.put(id_, b"x") for id_ in (new_message_id() for _ in range(5))}
    assert await listed(contents, 3600, later=3000) == {}
    assert await listed(contents, 3600, later=4200) == expected
    for reference in expected.values():
        await contents.delete(reference)
    assert await listed(contents) == {}


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "A", "a.b", "a\n", "x" * 121, "a_b", "\0"])
async def test_a_name_that_is_no_message_id_is_refused(contents: ContentStore, name: str):
    with pytest.raises(ValueError, match="not a message id"):
        await contents.put(name, b"x")


@pytest.mark.parametrize("reference", ["file:../../etc/passwd", "file:/etc/passwd", "../x", "file:", "file:a.new"])
async def test_a_reference_of_another_form_reads_no_file(folder: FolderContents, reference: str):
    with pytest.raises(ValueError, match="not a reference"):
        await folder.get(reference)
    with pytest.raises(ValueError, match="not a reference"):
        await folder.delete(reference)


async def test_an_empty_store_lists_nothing(contents: ContentStore):
    assert await listed(contents) == {}


async def test_contents_in_a_folder_are_for_nobody_else(folder: FolderContents, tmp_path: Path):
    message_id = new_message_id()
    await folder.put(message_id, b"x")
    path = the_file(tmp_path, message_id)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_content_is_on_the_disk_before_it_has_its_name(
    folder: FolderContents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    steps: list[tuple[str, str]] = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(descriptor: int) -> None:
        steps.append(("fsync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        fsync(descriptor)

    def noted_rename(path: Path, target: Path) -> Path:
        steps.append(("rename", str(path)))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    message_id = new_message_id()
    await folder.put(message_id, b"x")
    path = the_file(tmp_path, message_id)
    temporary = next(target for kind, target in steps if kind == "rename")
    assert steps[-3:] == [("fsync", temporary), ("rename", temporary), ("fsync", str(path.parent))]
    # Every folder that was made is in its own folder's list before that.
    assert [("fsync", str(one)) for one in (tmp_path, tmp_path / "data", tmp_path / "data" / "content")] == steps[:-3]


async def test_a_crash_in_the_middle_leaves_a_file_that_is_listed_and_can_be_removed(
    folder: FolderContents, tmp_path: Path
):
    message_id = new_message_id()
    await folder.put(message_id, b"x")
    path = the_file(tmp_path, message_id)
    path.rename(path.with_name(f"{message_id}.0123456789abcdef.new"))
    [(listed_id, reference)] = [one async for one in folder.older_than(0, time.time() + 10)]
    assert listed_id == message_id
    await folder.delete(reference)
    assert await listed(folder) == {}


async def test_files_of_others_are_not_listed(folder: FolderContents, tmp_path: Path):
    await folder.put(new_message_id(), b"x")
    (tmp_path / "data" / "content" / "00").mkdir(exist_ok=True)
    (tmp_path / "data" / "content" / "00" / ".nfs0001").write_bytes(b"x")
    (tmp_path / "data" / "content" / "00" / "README.txt").write_bytes(b"x")
    assert len(await listed(folder)) == 1


async def test_short_ids_are_listed_too(folder: FolderContents):
    reference = await folder.put("a", b"x")
    assert await listed(folder) == {"a": reference}


async def test_a_folder_that_cannot_be_written_is_unavailable_and_keeps_no_rest(tmp_path: Path):
    (tmp_path / "content").write_bytes(b"a file where the folder should be")
    folder = FolderContents(tmp_path / "content")
    with pytest.raises(ContentUnavailable):
        await folder.put(new_message_id(), b"x")


async def test_a_bucket_that_does_not_exist_is_unavailable_and_not_missing(
    s3_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_url)
    contents = BucketContents("no-such-bucket", "", s3_opener(aws_session("us-east-1")))
    for refused in (contents.put("a", b"x"), contents.get("s3:a"), contents.delete("s3:a"), listed(contents)):
        with pytest.raises(ContentUnavailable) as caught:
            await refused
        assert not isinstance(caught.value, ContentMissing)
    await contents.close()


async def test_an_s3_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    contents = BucketContents("b", "", s3_opener(aws_session("us-east-1")))
    with pytest.raises(ContentUnavailable):
        await contents.put("a", b"x")
    await contents.close()


async def test_one_client_is_opened_for_many_operations_and_closed_once(bucket: BucketContents):
    opened, closed = [], []
    inner = bucket._open_s3

    @asynccontextmanager
    async def counted():
        async with inner() as client:
            opened.append(client)
            yield client
        closed.append(client)

    contents = BucketContents(bucket._bucket, "x", counted)
    references = await asyncio.gather(*(contents.put(f"id-{number}", b"x") for number in range(10)))
    assert await asyncio.gather(*map(contents.get, references)) == [b"x"] * 10
    assert (len(opened), closed) == (1, [])
    await contents.close()
    assert closed == opened
    assert await contents.get(references[0]) == b"x", "it opens again when it is used again"
    await contents.close()
    assert len(closed) == 2


async def test_a_mark_says_whose_the_contents_are_and_is_no_content(contents: ContentStore):
    assert await contents.mark() == ""
    await contents.set_mark("one")
    await contents.set_mark("two")
    assert await contents.mark() == "two"
    assert contents.mark_place.endswith("/.spool-id")
    assert await listed(contents) == {}


async def test_a_mark_that_cannot_be_read_or_written_is_unavailable(tmp_path: Path):
    (tmp_path / "file").touch()
    folder = FolderContents(tmp_path / "file")
    with pytest.raises(ContentUnavailable):
        await folder.mark()
    with pytest.raises(ContentUnavailable):
        await folder.set_mark("one")
