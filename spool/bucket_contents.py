"""Contents too large for Redis, in an S3 bucket; content.py says what is asked of a content store."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
from botocore.exceptions import ClientError

from config.aws_clients import BotoErrors, S3Opener
from spool.content import MARK_NAME, STREAM_BYTES, ContentMissing, ContentUnavailable
from spool.keys import is_message_id

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

# aiohttp's own come up while a body is read.
_S3_ERRORS = (*BotoErrors, aiohttp.ClientError)


class BucketContents:
    """Contents as S3 objects `prefix/message_id`. One client is opened at the first use and kept until close()."""

    def __init__(self, bucket: str, prefix: str, open_s3: S3Opener) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._open_s3 = open_s3
        self._opening = asyncio.Lock()
        self._open = AsyncExitStack()
        self._client: S3Client | None = None

    @asynccontextmanager
    async def _s3(self, doing: str) -> AsyncIterator["S3Client"]:
        """The client; botocore's errors become ours."""
        try:
            async with self._opening:
                if self._client is None:
                    self._client = await self._open.enter_async_context(self._open_s3())
            yield self._client
        except ClientError as error:
            if error.response["Error"].get("Code") in {"NoSuchKey", "404"}:
                raise ContentMissing("the content is not there", detail=str(error)) from error
            raise ContentUnavailable(f"the content store cannot be {doing}", detail=str(error)) from error
        except _S3_ERRORS as error:
            raise ContentUnavailable(f"the content store cannot be {doing}", detail=str(error)) from error

    def _name(self, message_id: str) -> str:
        if not is_message_id(message_id):
            raise ValueError("not a message id")
        return self._prefix + message_id

    async def put(self, message_id: str, content: bytes) -> str:
        name = self._name(message_id)
        async with self._s3("written") as s3:
            await s3.put_object(Bucket=self._bucket, Key=name, Body=content)
        return f"s3:{name}"

    def reference_of(self, name: str) -> str:
        return f"s3:{self._name(name)}"

    async def get(self, reference: str) -> bytes:
        async with self._s3("read") as s3:
            answer = await s3.get_object(Bucket=self._bucket, Key=reference.removeprefix("s3:"))
            async with answer["Body"] as body:
                return await body.read()

    async def stream(self, reference: str) -> AsyncGenerator[bytes, None]:
        async with self._s3("read") as s3:
            answer = await s3.get_object(Bucket=self._bucket, Key=reference.removeprefix("s3:"))
            body = answer["Body"]
            async with body:
                async for piece in body.iter_chunks(STREAM_BYTES):
                    yield piece

    async def delete(self, reference: str) -> None:
        async with self._s3("written") as s3:
            await s3.delete_object(Bucket=self._bucket, Key=reference.removeprefix("s3:"))

    async def older_than(self, age_seconds: float, now: float) -> AsyncIterator[tuple[str, str]]:
        async with self._s3("listed") as s3:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            found = [
                item["Key"]
                async for page in pages
                for item in page.get("Contents", [])
                if item["LastModified"].timestamp() < now - age_seconds
            ]
        for key in found:
            message_id = key.removeprefix(self._prefix)
            if is_message_id(message_id):
                yield message_id, f"s3:{key}"

    @property
    def mark_place(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}{MARK_NAME}"

    async def mark(self) -> str:
        try:
            return (await self.get(f"s3:{self._prefix}{MARK_NAME}")).decode("utf-8", "replace").strip()
        except ContentMissing:
            return ""

    async def set_mark(self, spool_id: str) -> None:
        async with self._s3("marked") as s3:
            await s3.put_object(Bucket=self._bucket, Key=self._prefix + MARK_NAME, Body=f"{spool_id}\n".encode())

    async def close(self) -> None:
        self._client = None
        await self._open.aclose()
