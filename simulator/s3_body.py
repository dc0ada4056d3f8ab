"""The body of a PutObject: plain, or in the chunks that AWS SDKs make of it, with checksums before or behind it.

`aws-chunked` is a framing of its own inside the HTTP body: `HEX[;chunk-signature=…]CRLF DATA CRLF …`, a chunk of
length 0, then trailers such as `x-amz-checksum-crc32: …`, then an empty line. Signatures are not looked at; checksums
that the standard library can compute are.
"""

import base64
import hashlib
import re
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

from simulator.s3_refusals import S3Refused

MAX_FRAME_LINE_BYTES = 4096
MAX_TRAILERS = 20
_CHUNK_SIZE = re.compile(r"[0-9A-Fa-f]{1,16}")


class Source(Protocol):
    """What the framing is read from: aiohttp's stream, or a test's."""

    async def readline(self) -> bytes:
        """Up to and with the next LF; what is left at the end."""

    async def read(self, n: int) -> bytes:
        """At most n bytes; none at the end."""


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, chunk: bytes) -> None:
        self._value = zlib.crc32(chunk, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


class _Digest(Protocol):
    def update(self, chunk: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


#: header: what computes it. Others (crc32c, crc64nvme) are kept and given back unseen.
CHECKSUMS: Mapping[str, Callable[[], _Digest]] = {
    "content-md5": lambda: hashlib.md5(usedforsecurity=False),
    "x-amz-checksum-crc32": _Crc32,
    "x-amz-checksum-sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "x-amz-checksum-sha256": hashlib.sha256,
}


def is_chunked(headers: Mapping[str, str]) -> bool:
    """Whether the body is framed."""
    encodings = [one.strip().lower() for one in headers.get("Content-Encoding", "").split(",")]
    return "aws-chunked" in encodings or headers.get("x-amz-content-sha256", "").startswith("STREAMING-")


def content_length(headers: Mapping[str, str]) -> int:
    """How long the content is without framing. Raises S3Refused."""
    name = "x-amz-decoded-content-length" if is_chunked(headers) else "Content-Length"
    written = headers.get(name, "")
    if not written:
        raise S3Refused("MissingContentLength", name)
    if not (written.isascii() and written.isdigit() and len(written) < 16):
        raise S3Refused("InvalidArgument", name)
    return int(written)


async def plain_chunks(source: Source) -> AsyncIterator[bytes]:
    """The content of a body without framing."""
    while chunk := await source.read(256 * 1024):
        yield chunk


async def framed_chunks(source: Source, trailers: dict[str, str]) -> AsyncIterator[bytes]:
    """The content of a framed body; what follows it is put into `trailers`, names in lower case. Raises S3Refused."""
    while left := _chunk_size(await _line(source)):
        while left:
            chunk = await source.read(min(left, 256 * 1024))
            if not chunk:
                raise S3Refused("IncompleteBody")
            left -= len(chunk)
            yield chunk
        if await _line(source):
            raise S3Refused("IncompleteBody", "a chunk is longer than it says")
    for _ in range(MAX_TRAILERS):
        name, _, value = (await _line(source)).partition(":")
        if not name:
            return
        trailers[name.strip().lower()] = value.strip()
    raise S3Refused("InvalidArgument", "too many trailers")


def _chunk_size(line: str) -> int:
    # int() alone takes signs, blanks and underscores too; a size below 0 would mean "read everything".
    written = _CHUNK_SIZE.fullmatch(line.partition(";")[0])
    if written is None:
        raise S3Refused("IncompleteBody", "the size of a chunk is missing")
    return int(written[0], 16)


async def _line(source: Source) -> str:
    try:
        line = await source.readline()
    except ValueError as error:  # longer than aiohttp takes
        raise S3Refused("InvalidArgument", "a line of the chunked body is too long") from error
    if len(line) > MAX_FRAME_LINE_BYTES:
        raise S3Refused("InvalidArgument", "a line of the chunked body is too long")
    return line.decode("latin-1").strip("\r\n")


class Checksums:
    """Of one upload: the MD5 that becomes its ETag, and those that the client asked to be compared."""

    def __init__(self) -> None:
        self._digests = {name: make() for name, make in CHECKSUMS.items()}

    def update(self, chunk: bytes) -> None:
        """One more chunk of the content."""
        for digest in self._digests.values():
            digest.update(chunk)

    @property
    def etag(self) -> str:
        """Hexadecimal MD5."""
        return self._digests["content-md5"].digest().hex()

    def compare(self, claimed: Mapping[str, str]) -> None:
        """Raises S3Refused when a claimed one (base64) is another."""
        for name, digest in self._digests.items():
            if name in claimed and claimed[name] != base64.b64encode(digest.digest()).decode():
                raise S3Refused("BadDigest", name)
