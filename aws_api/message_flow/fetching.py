"""Fetches an update's content from S3: bounded in bytes, in time, and in what all fetches hold together.

1. S3 is asked; with its answer's head the size is known, before a byte of content is taken.
2. Memory is taken for the content, its copy with CRLF, and the message it is compared with; who finds none free waits,
   in the order of asking, and is told to come back (503) when it takes too long.
3. The content is read and stays until the block is left. When every line ends with CRLF already, the memory for the
   copy is given back.
The client is opened at the first fetch and kept; when there were no credentials it is forgotten, so that later ones
are found, and closed by the last fetch that uses it. What S3 says of a location that cannot be read is
InvalidContentLocation, in words; S3 away or in trouble is ServiceUnavailableException, as a repeat helps, and the AWS
SDKs repeat it by themselves.
"""

import asyncio
import io
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp

from aws_api.message_flow.line_ends import has_bare_lf
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
# Copies of an update that exist at once while it gets CRLF (twice as long when it has nothing but LF, and some spare
# room), and otherwise; of the other content with what a content store needs to hand it out.
_COPIES_WITH_BARE_LF: Final = 4
_COPIES: Final = 2
_COPIES_BESIDE: Final = 2
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
    async def held(self, wanted_bytes: int) -> AsyncIterator["HeldMemory"]:
        """Waits for that much; more than there is counts as all of it."""
        held = HeldMemory(self._free)
        try:
            async with self._turn:
                while held.mebibytes < min(-(-wanted_bytes // MIB), self._mebibytes):
                    await self._free.acquire()
                    held.mebibytes += 1
            yield held
        finally:
            held.shrink_to(0)


class HeldMemory:
    """What one holder has of a Memory."""

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free = free
        self.mebibytes = 0

    def shrink_to(self, needed_bytes: int) -> None:
        """Gives back what is more than that."""
        while self.mebibytes > -(-needed_bytes // MIB):
            self.mebibytes -= 1
            self._free.release()


class _Client:
    """An S3 client and how many fetches use it; closed when it is forgotten and nobody does any more."""

    def __init__(self, s3: "S3Client", open_until: AsyncExitStack) -> None:
        self.s3 = s3
        self._open_until = open_until
        self.users = 0
        self.is_forgotten = False

    @classmethod
    async def opened(cls, open_s3: S3Opener) -> Self:
        open_until = AsyncExitStack()
        return cls(await open_until.enter_async_context(open_s3()), open_until)

    async def close_if_unused(self) -> None:
        if self.is_forgotten and not self.users:
            await self._open_until.aclose()


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
        self._newest: _Client | None = None

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
        try:
            async with self._client() as client:
                try:
                    return await self._from(client.s3, location, beside_bytes, holding)
                except BotoErrors as error:
                    if trouble_of(error).kind == "credentials":
                        self._forget(client)
                    raise
        except (*BotoErrors, aiohttp.ClientError) as error:
            raise from_s3(location, trouble_of(error)) from error
        except (KeyError, ValueError) as error:  # a length that is missing, a date that is none
            raise away(location, "its answer cannot be read") from error

    async def _from(self, s3: "S3Client", location: Location, beside_bytes: int, holding: AsyncExitStack) -> bytes:
        version: Any = {"VersionId": location.version} if location.version else {}
        answer = await s3.get_object(Bucket=location.bucket, Key=location.key, **version)
        async with (body := answer["Body"]):
            size_bytes = answer["ContentLength"]
            if size_bytes > self._max_bytes:
                raise too_large(location, size_bytes, self._max_bytes)
            beside_bytes *= _COPIES_BESIDE
            memory = self._memory.held(_COPIES_WITH_BARE_LF * size_bytes + beside_bytes)
            held = await holding.enter_async_context(memory)
            content = await _read(body, size_bytes)
        if not await asyncio.to_thread(has_bare_lf, content):
            held.shrink_to(_COPIES * size_bytes + beside_bytes)
        return content

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[_Client]:
        async with self._opening:
            if self._newest is None:
                self._newest = await _Client.opened(self._open_s3)
            client = self._newest
        client.users += 1
        try:
            yield client
        finally:
            client.users -= 1
            await client.close_if_unused()

    def _forget(self, client: _Client) -> None:
        client.is_forgotten = True
        if self._newest is client:
            self._newest = None

    async def close(self) -> None:
        """Ends the client when nobody uses it any more; the next fetch opens another."""
        async with self._opening:
            client = self._newest
        if client is not None:
            self._forget(client)
            await client.close_if_unused()


async def _read(body: Any, size_bytes: int) -> bytes:
    content = io.BytesIO()  # hands out what it holds without another copy
    while content.tell() <= size_bytes and (piece := await body.read(_PIECE_BYTES)):
        content.write(piece)
    if content.tell() != size_bytes:
        raise TryLater("S3 sent another number of bytes than it said.")
    return content.getvalue()


def too_large(location: Location, size_bytes: int, max_bytes: int) -> OperationRefused:
    """Nothing of it is fetched."""
    return OperationRefused(
        "InvalidContentLocation", f"{location} is too large: it has {size_bytes} bytes, allowed are {max_bytes}."
    )
