"""The file destination: whole lines only, whatever happened before."""

import fcntl
import gc
import os
import resource
import stat
from pathlib import Path

import orjson
import pytest

from config.errors import TryLater
from sending_events.destinations.file import FileDestination


def open_descriptors() -> int:
    gc.collect()  # what other tests left
    return len(list(Path("/proc/self/fd").iterdir()))


def record(number: int, filler: str = "") -> bytes:
    return orjson.dumps({"eventType": "Send", "eventId": f"{number}-0", "filler": filler})


async def test_records_are_appended_one_a_line(tmp_path):
    path = tmp_path / "events.ndjson"
    destination = FileDestination(path)
    await destination.take([record(1), record(2)])
    await destination.take([record(3)])
    assert path.read_bytes() == record(1) + b"\n" + record(2) + b"\n" + record(3) + b"\n"


async def test_only_the_owner_may_read_the_file_and_its_folder_is_made(tmp_path):
    path = tmp_path / "deep" / "er" / "events.ndjson"
    await FileDestination(path).take([record(1)])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_line_torn_at_any_byte_is_cut_off_and_never_glued(tmp_path):
    path = tmp_path / "events.ndjson"
    destination = FileDestination(path)
    for torn_bytes in range(len(record(2)) + 1):
        path.write_bytes(record(1) + b"\n" + record(2)[:torn_bytes])
        await destination.take([record(2), record(3)])
        assert path.read_bytes() == record(1) + b"\n" + record(2) + b"\n" + record(3) + b"\n"


async def test_a_torn_only_line_is_cut_off(tmp_path):
    path = tmp_path / "events.ndjson"
    path.write_bytes(record(1)[:20])
    await FileDestination(path).take([record(1)])
    assert path.read_bytes() == record(1) + b"\n"


async def test_a_torn_line_longer_than_a_block_is_cut_off(tmp_path):
    path = tmp_path / "events.ndjson"
    path.write_bytes(record(1) + b"\n" + record(2, "x" * 200_000)[:-1])
    await FileDestination(path).take([record(3)])
    assert path.read_bytes() == record(1) + b"\n" + record(3) + b"\n"


async def test_zeros_after_a_power_failure_are_cut_off(tmp_path):
    path = tmp_path / "events.ndjson"
    path.write_bytes(record(1) + b"\n" + bytes(500))
    await FileDestination(path).take([record(2)])
    assert path.read_bytes() == record(1) + b"\n" + record(2) + b"\n"


async def test_a_tail_that_is_not_ours_is_kept_and_ended(tmp_path):
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"# a remark without a line end")
    await FileDestination(path).take([record(1)])
    assert path.read_bytes() == b"# a remark without a line end\n" + record(1) + b"\n"


async def test_a_file_that_was_renamed_stays_as_it_is_and_a_new_one_begins(tmp_path):
    path = tmp_path / "events.ndjson"
    destination = FileDestination(path)
    await destination.take([record(1)])
    path.rename(tmp_path / "events.ndjson.1")
    await destination.take([record(2)])
    assert (tmp_path / "events.ndjson.1").read_bytes() == record(1) + b"\n"
    assert path.read_bytes() == record(2) + b"\n"


async def test_a_file_that_was_emptied_by_rotation_is_filled_from_its_start(tmp_path):
    path = tmp_path / "events.ndjson"
    destination = FileDestination(path)
    await destination.take([record(1)])
    os.truncate(path, 0)
    await destination.take([record(2)])
    assert path.read_bytes() == record(2) + b"\n"


async def test_a_folder_that_was_removed_is_made_again(tmp_path):
    path = tmp_path / "folder" / "events.ndjson"
    destination = FileDestination(path)
    await destination.take([record(1)])
    path.unlink()
    path.parent.rmdir()
    await destination.take([record(2)])
    assert path.read_bytes() == record(2) + b"\n"


async def test_a_full_disk_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "events.ndjson"
    path.write_bytes(record(1, "x" * 1_000_000) + b"\n")
    before = path.read_bytes()
    destination = FileDestination(path)
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 30, former[1]))
    try:
        with pytest.raises(TryLater) as caught:
            await destination.take([record(2), record(3)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert path.read_bytes() == before
    assert "cannot be written" in caught.value.reason
    await destination.take([record(2)])
    assert path.read_bytes() == before + record(2) + b"\n"


async def test_a_device_that_is_always_full_means_later():
    with pytest.raises(TryLater, match="No space left"):
        await FileDestination(Path("/dev/full")).take([record(1)])


async def test_a_path_that_is_a_folder_means_later(tmp_path):
    with pytest.raises(TryLater, match="Is a directory"):
        await FileDestination(tmp_path).take([record(1)])


async def test_a_file_that_another_process_writes_is_not_touched(tmp_path):
    path = tmp_path / "events.ndjson"
    path.write_bytes(record(1)[:10])
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(TryLater, match="another process"):
            await FileDestination(path).take([record(2)])
        assert path.read_bytes() == record(1)[:10]
    await FileDestination(path).take([record(1)])
    assert path.read_bytes() == record(1) + b"\n"


async def test_no_descriptor_is_left_open(tmp_path):
    destination = FileDestination(tmp_path / "events.ndjson")
    await destination.take([record(0)])
    before = open_descriptors()
    for number in range(20):
        await destination.take([record(number)])
    with pytest.raises(TryLater):
        await FileDestination(tmp_path).take([record(1)])
    assert open_descriptors() <= before
