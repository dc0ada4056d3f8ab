"""What the simulated S3 keeps: contents in files without a name, and an index of them in memory.

Theory of operation
1. Contents lie one behind the other in segments, files that were unlinked as soon as they were opened: no name of a
   client ever is a path, and when the process ends, however it ends, the kernel gives the space back.
2. An upload reserves its place first and writes there chunk by chunk; it can be read when `publish` was called. What
   was reserved and never published is lost room, nothing else.
3. Beyond the bounds the oldest goes: a whole segment with every object in it, or the oldest object when there are too
   many. An object that is being read or written keeps its segment until then.
Every object has a version; the newest is the one that a key names. Deleting a key removes all its versions.
"""

import errno
import os
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

MEBIBYTE = 1024 * 1024
#: a larger object is refused; SES takes 40 MB
MAX_OBJECT_BYTES = 64 * MEBIBYTE
SEGMENT_BYTES = 64 * MEBIBYTE
MAX_SEGMENTS = 8
MAX_OBJECTS = 10_000
MAX_BUCKETS = 1000
READ_BYTES = 256 * 1024


class Segment:
    """A file without a name. It is closed when nobody refers to it any more: a reader may still be at it."""

    def __init__(self, folder: Path | None) -> None:
        with tempfile.TemporaryFile(dir=folder) as file:
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        self.reserved_bytes = 0

    def reserve(self, size_bytes: int) -> int:
        """The offset of a place for so many bytes."""
        offset = self.reserved_bytes
        self.reserved_bytes += size_bytes
        return offset

    def write(self, offset: int, chunk: bytes) -> None:
        """Put a chunk where it was reserved, all of it. Raises OSError, for instance when the disk is full."""
        left = memoryview(chunk)
        while left:  # a disk that becomes full, or a limit, takes a part and fails at the next write
            written_bytes = os.pwrite(self._descriptor, left, offset)
            left, offset = left[written_bytes:], offset + written_bytes

    def read(self, offset: int, size_bytes: int) -> bytes:
        """At most so many bytes from there, at least one. Raises OSError."""
        if not (chunk := os.pread(self._descriptor, size_bytes, offset)):
            raise OSError(errno.EIO, "what was written is not there")
        return chunk


@dataclass(slots=True)
class Place:
    """Where an upload writes; it knows how much of what it reserved is there."""

    segment: Segment
    offset: int
    size_bytes: int
    written_bytes: int = 0

    def write(self, chunk: bytes) -> None:
        """Append; the caller sees to it that it fits."""
        self.segment.write(self.offset + self.written_bytes, chunk)
        self.written_bytes += len(chunk)

    def chunks(self, first: int, last: int) -> Iterator[bytes]:
        """The bytes from `first` to `last`, both included, some at a time. Raises OSError."""
        while first <= last:
            chunk = self.segment.read(self.offset + first, min(READ_BYTES, last - first + 1))
            first += len(chunk)
            yield chunk


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One version of one key."""

    bucket: str
    key: str
    version_id: str
    place: Place
    #: hexadecimal MD5 of the content
    etag: str
    #: Unix time, seconds
    stored_at: float
    #: headers that are given back as they came: Content-Type, x-amz-meta-…, checksums
    headers: Mapping[str, str] = field(default_factory=dict)


class Objects:
    """Buckets and the objects in them, bounded."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        max_segments: int = MAX_SEGMENTS,
        max_objects: int = MAX_OBJECTS,
    ) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._max_segments = max_segments
        self._max_objects = max_objects
        self._segments: list[Segment] = []
        #: bucket → Unix time of its beginning
        self.buckets: dict[str, float] = {}
        #: (bucket, key) → version → object, the newest last
        self._versions: dict[tuple[str, str], dict[str, StoredObject]] = {}
        #: all objects by version, the oldest first
        self._by_age: OrderedDict[str, StoredObject] = OrderedDict()

    def make_bucket(self, name: str, now: float) -> bool:
        """False when there are too many already."""
        if name not in self.buckets and len(self.buckets) >= MAX_BUCKETS:
            return False
        self.buckets.setdefault(name, now)
        return True

    def reserve(self, size_bytes: int) -> Place:
        """Room for an upload of this size, at most MAX_OBJECT_BYTES."""
        if not self._segments or self._segments[-1].reserved_bytes + size_bytes > self._segment_bytes:
            while len(self._segments) >= self._max_segments:
                self._drop_segment(self._segments.pop(0))
            if self._folder:
                self._folder.mkdir(parents=True, exist_ok=True)
            self._segments.append(Segment(self._folder))
        segment = self._segments[-1]
        return Place(segment, segment.reserve(size_bytes), size_bytes)

    def publish(self, stored: StoredObject) -> bool:
        """From now on the key names this object. False when its room was given away while it was written."""
        if stored.place.segment not in self._segments:
            return False
        self._versions.setdefault((stored.bucket, stored.key), {})[stored.version_id] = stored
        self._by_age[stored.version_id] = stored
        while len(self._by_age) > self._max_objects:
            self._forget(next(iter(self._by_age.values())))
        return True

    def has(self, bucket: str, key: str) -> bool:
        """Whether the key names anything."""
        return (bucket, key) in self._versions

    def find(self, bucket: str, key: str, version_id: str = "") -> StoredObject | None:
        """The newest version, or the one that is asked for."""
        versions = self._versions.get((bucket, key), {})
        return versions.get(version_id) if version_id else next(reversed(versions.values()), None)

    def delete(self, bucket: str, key: str, version_id: str = "") -> None:
        """Remove one version, or all; what is not there is no error."""
        for stored in list(self._versions.get((bucket, key), {}).values()):
            if version_id in ("", stored.version_id):
                self._forget(stored)

    def close(self) -> None:
        """Give all space back."""
        self._segments.clear()
        self._versions.clear()
        self._by_age.clear()

    def _forget(self, stored: StoredObject) -> None:
        self._by_age.pop(stored.version_id, None)
        versions = self._versions.get((stored.bucket, stored.key), {})
        versions.pop(stored.version_id, None)
        if not versions:
            self._versions.pop((stored.bucket, stored.key), None)

    def _drop_segment(self, segment: Segment) -> None:
        for stored in [one for one in self._by_age.values() if one.place.segment is segment]:
            self._forget(stored)
