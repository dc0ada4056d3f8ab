"""Fetches an update's content from S3: bounded in bytes, in time, and in what all fetches hold together.

1. S3 is asked; with its answer's head the size is known, before a byte of content is taken.
2. Memory is taken for the content, its copy with CRLF, and the message it is compared with; who finds none free waits,
   in the order of asking, and is told to come back (503) when it takes too long.
3. The content is read and stays until the block is left.
The client is opened at the first fetch and kept; when there were no credentials it is forgotten, so that later ones
are found. What S3 says of a location that cannot be read is InvalidContentLocation, in words; S3 away or in trouble is
ServiceUnavailableException, as a repeat helps, and the AWS SDKs repeat it by themselves.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from aws_api.message_flow.s3_troubles import away, from_s3
from aws_api.wire.failures import OperationRefused
from config.aws_clients import BotoErrors, S3Opener, trouble_of
from config.errors import TryLater
from config.settings import MIB

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

#: A function has 15 seconds for all it does.
FETCH_SECONDS: Final = 12.0
_PIECE_BYTES: Final = 256 * 1024
# What S3 itself takes for a bucket, old ones too. An ARN is none: it would choose the region and the host.
_BUCKET: Final = re.compile(r"[A-Za-z0-9._-]{3,63}")


@dataclass(frozen=True, slots=True)
class Location:
    """Where a content lies; no version = the newest."""

    bucket: str
    key: str
    version: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}" + (f" (version {self.version})" if self.version else "")


class Memory:
    """Bytes that may be held at once, in whole MiB, given in the order of asking."""

    def __init__(self, budget_bytes: int) -> None:
        self._mebibytes = max(1, budget_bytes // MIB)
        self._free = asyncio.Semaphore(self._mebibytes)
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def held(self, wanted_bytes: int) -> AsyncIterator[None]:
        """Waits for that much; more than there is counts as all of it."""
        taken = 0
        try:
            async with self._turn:
                while taken < min(-(-wanted_bytes // MIB), self._mebibytes):
                    await self._free.acquire()
                    taken += 1
            yield
        finally:
            for _ in range(taken):
                self._free.release()


class Updates:
    """Contents of updates, out of S3."""

    def __init__(
        self, open_s3: S3Opener, *, max_bytes: int, budget_bytes: int, fetch_seconds: float = FETCH_SECONDS
    ) -> None:
        self._open_s3 = open_s3
        self._max_bytes = max_bytes
        self._memory = Memory(budget_bytes)
        self._fetch_seconds = fetch_seconds
        self._opening = asyncio.Lock()
        self._open = AsyncExitStack()
        self._client: S3Client | None = None

    @asynccontextmanager
    async def fetched(self, location: Location, *, beside_bytes: int) -> AsyncIterator[bytes]:
        """The content, for the length of the block. Raises OperationRefused, TryLater."""
        if not _BUCKET.fullmatch(location.bucket):
            raise OperationRefused("InvalidContentLocation", f"{location.bucket[:100]} is no name of a bucket.")
        async with AsyncExitStack() as holding:
            try:
                async with asyncio.timeout(self._fetch_seconds):
                    content = await self._fetch(location, beside_bytes, holding)
            except TimeoutError as error:
                raise away(location, "it did not answer in time, or no memory was free for the answer") from error
            yield content

    async def _fetch(self, location: Location, beside_bytes: int, holding: AsyncExitStack) -> bytes:
        version: Any = {"VersionId": location.version} if location.version else {}
        try:
            client = await self._s3()
            answer = await client.get_object(Bucket=location.bucket, Key=location.key, **version)
            async with (body := answer["Body"]):
                size_bytes = answer["ContentLength"]
                if size_bytes > self._max_bytes:
                    raise too_large(location, size_bytes, self._max_bytes)
                await holding.enter_async_context(self._memory.held(2 * size_bytes + beside_bytes))
                return await _read(body, size_bytes)
        except (*BotoErrors, aiohttp.ClientError) as error:
            trouble = trouble_of(error)
            if trouble.kind == "credentials":
                await self.close()
            raise from_s3(location, trouble) from error

    async def _s3(self) -> "S3Client":
        async with self._opening:
            if self._client is None:
                self._client = await self._open.enter_async_context(self._open_s3())
            return self._client

    async def close(self) -> None:
        """Ends the client; the next fetch opens another."""
        self._client = None
        await self._open.aclose()


async def _read(body: Any, size_bytes: int) -> bytes:
    content = bytearray()
    while len(content) <= size_bytes and (piece := await body.read(_PIECE_BYTES)):
        content += piece
    if len(content) != size_bytes:
        raise TryLater("S3 sent another number of bytes than it said.")
    return bytes(content)


def too_large(location: Location, size_bytes: int, max_bytes: int) -> OperationRefused:
    """Nothing of it is fetched."""
    return OperationRefused(
        "InvalidContentLocation", f"{location} is too large: it has {size_bytes} bytes, allowed are {max_bytes}."
    )
