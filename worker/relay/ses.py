"""The one SES call: exactly one HTTP attempt, and an outcome for everything that can happen to it.

aioboto3 gives endpoint, region and credentials, as the AWS environment says; body, signature and HTTP are ours,
because this call is the cost of the whole relay (bench/README.md has the figures). Nothing here raises for what the
network or SES does.

The lease is looked at once more when the connection stands and the body is about to be written: a process that was
frozen while it connected must not send what another worker has taken over.
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import payload
from aiohttp.abc import AbstractStreamWriter

from config.clients import BotoErrors, aws_session
from config.settings import RelaySettings
from worker.relay.outcomes import Outcome, Unavailable, Unknown, of_answer
from worker.relay.signature import Credentials, signed_headers
from worker.relay.wire import V2_PATH, Call, v1_body, v2_body

# An idle connection that SES closes while we write to it makes an unknown outcome; ours are closed well before.
_KEEP_ALIVE_SECONDS = 5
_MAX_ANSWER_BYTES = 64 * 1024


class LeaseEnded(Exception):  # noqa: N818 - a decision, not a failure
    """The right to send was gone before the first byte of the body."""


class _GuardedBody(payload.BytesPayload):
    """A body that asks for permission at the last moment and remembers whether it was begun."""

    def __init__(self, body: bytes, may_send: Callable[[], bool]) -> None:
        super().__init__(body)
        self._may_send = may_send
        self.is_begun = False
        self.is_forbidden = False

    def _begin(self) -> None:
        if not self._may_send():
            self.is_forbidden = True
            raise LeaseEnded
        self.is_begun = True

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._begin()
        await super().write(writer)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._begin()
        await super().write_with_length(writer, content_length)


class SesClient:
    """Sends batches. Build it on the event loop, `await open()`, `await close()`."""

    def __init__(self, settings: RelaySettings, *, concurrent_calls: int) -> None:
        self._settings = settings
        #: Held around intent and call, so that no recorded attempt waits for its turn.
        self.slots = asyncio.Semaphore(concurrent_calls)
        self._stack = AsyncExitStack()
        self._endpoints: dict[bool, tuple[str, str, str]] = {}

    async def open(self) -> None:
        """Resolves endpoint, region and credentials, and opens the connection pool. Raises botocore's errors."""
        session = aws_session(self._settings.region)
        if session.region_name is None:
            session = aws_session("us-east-1")
        self._region = str(session.region_name)
        self._credentials: Any = await session.get_credentials()
        for is_v1, service in ((True, "ses"), (False, "sesv2")):
            async with session.client(service) as client:
                self._endpoints[is_v1] = _endpoint(client.meta.endpoint_url, "/" if is_v1 else V2_PATH)
        connector = aiohttp.TCPConnector(
            limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS, ssl=ssl.create_default_context()
        )
        timeout = aiohttp.ClientTimeout(
            total=self._settings.call_timeout_seconds, connect=self._settings.connect_timeout_seconds
        )
        self._http = await self._stack.enter_async_context(
            aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=["User-Agent", "Accept", "Accept-Encoding"],
            )
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._stack.aclose()

    async def send(self, call: Call, may_send: Callable[[], bool]) -> Outcome:
        """One attempt. Raises LeaseEnded when `may_send` forbade it before anything was written."""
        if not may_send():
            raise LeaseEnded
        body = v1_body(call) if call.is_for_v1 else v2_body(call)
        try:
            headers = await self._headers(call.is_for_v1, body)
        except BotoErrors as error:
            return Unavailable("NoCredentials", f"AWS credentials cannot be had: {error}")
        if headers is None:
            return Unavailable("NoCredentials", "no AWS credentials found; set AWS_ACCESS_KEY_ID or a role")
        return await self._post(self._endpoints[call.is_for_v1][0], headers, _GuardedBody(body, may_send))

    async def _headers(self, is_v1: bool, body: bytes) -> dict[str, str] | None:  # noqa: FBT001 - picks one of two endpoints
        if self._credentials is None:
            return None
        frozen = await self._credentials.get_frozen_credentials()
        _, host, path = self._endpoints[is_v1]
        kind = "application/x-www-form-urlencoded; charset=utf-8" if is_v1 else "application/json"
        return signed_headers(
            host,
            path,
            {"content-type": kind},
            body,
            Credentials(frozen.access_key, frozen.secret_key, frozen.token or ""),
            self._region,
            datetime.now(UTC),
        )

    async def _post(self, url: str, headers: dict[str, str], body: _GuardedBody) -> Outcome:
        try:
            async with self._http.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                text = await answer.content.read(_MAX_ANSWER_BYTES)
                while not answer.content.at_eof() and len(text) < _MAX_ANSWER_BYTES:
                    text += await answer.content.read(_MAX_ANSWER_BYTES - len(text))
                return of_answer(answer.status, answer.headers.get("x-amzn-ErrorType", ""), text)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            if body.is_forbidden:
                raise LeaseEnded from error
            name = type(error).__name__
            if body.is_begun:
                return Unknown(name, f"the call ended without an answer: {error or name}")
            return Unavailable(name, f"SES cannot be reached: {error or name}")


def _endpoint(base: str, path: str) -> tuple[str, str, str]:
    """(URL, Host header, path) of the call at this endpoint."""
    parts = urlsplit(base)
    prefix = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{prefix}{path}", parts.netloc, f"{prefix}{path}"
