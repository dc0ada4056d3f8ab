"""What the simulated S3 keeps and what it gives up."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from simulator.s3_objects import Objects, StoredObject


def put(objects, key, content, version=""):
    place = objects.reserve(len(content))
    place.write(content)
    stored = StoredObject("mail", key, version or f"v-{key}", place, "etag", 0.0)
    assert objects.publish(stored)
    return stored


def read(objects, key, version=""):
    stored = objects.find("mail", key, version)
    return stored and b"".join(stored.place.chunks(0, stored.place.size_bytes - 1))


def test_beyond_the_room_the_oldest_segment_goes_with_all_that_is_in_it(tmp_path):
    objects = Objects(tmp_path, segment_bytes=10, max_segments=2)
    for key in "abcdef":
        put(objects, key, key.encode() * 5)
    assert [key for key in "abcdef" if read(objects, key)] == ["c", "d", "e", "f"]
    assert read(objects, "f") == b"fffff"


def test_beyond_the_number_the_oldest_object_goes():
    objects = Objects(max_objects=3)
    for key in "abcd":
        put(objects, key, b"x")
    assert [key for key in "abcd" if objects.has("mail", key)] == ["b", "c", "d"]


def test_who_reads_an_object_that_goes_reads_it_to_the_end():
    objects = Objects(segment_bytes=10, max_segments=1)
    reading = put(objects, "a", b"0123456789").place.chunks(0, 9)
    put(objects, "b", b"x" * 10)
    assert b"".join(reading) == b"0123456789"
    assert read(objects, "a") is None


def test_an_upload_whose_room_was_given_away_is_not_published():
    objects = Objects(segment_bytes=10, max_segments=1)
    slow = objects.reserve(10)
    put(objects, "b", b"x" * 10)
    slow.write(b"y" * 10)
    assert not objects.publish(StoredObject("mail", "a", "v", slow, "etag", 0.0))
    assert read(objects, "b") == b"x" * 10


def test_an_object_larger_than_a_segment_has_one_of_its_own():
    objects = Objects(segment_bytes=10)
    put(objects, "a", b"x" * 25)
    put(objects, "b", b"y")
    assert (read(objects, "a"), read(objects, "b")) == (b"x" * 25, b"y")


def test_no_file_has_a_name(tmp_path):
    objects = Objects(tmp_path / "data")
    put(objects, "../a", b"x")
    assert list((tmp_path / "data").iterdir()) == []
    objects.close()
    assert objects.find("mail", "../a") is None


def test_there_are_only_so_many_buckets():
    objects = Objects()
    made = [objects.make_bucket(f"b{number}", 0.0) for number in range(1002)]
    assert made.count(True) == 1000
    assert objects.make_bucket("b0", 0.0)


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """As on a disk that becomes full: a write takes a part, the next one fails."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def test_a_chunk_that_does_not_fit_on_the_disk_is_an_error_and_not_half_there(tmp_path):
    place = Objects(tmp_path).reserve(10)
    place.write(b"01234")
    with files_of_at_most(8), pytest.raises(OSError, match="too large"):
        place.write(b"56789")
    assert place.written_bytes == 5


def test_reading_what_was_never_written_ends_with_an_error(tmp_path):
    place = Objects(tmp_path).reserve(10)
    place.write(b"01234")
    chunks = place.chunks(0, 9)
    assert next(chunks) == b"01234"
    with pytest.raises(OSError, match="not there"):
        next(chunks)
