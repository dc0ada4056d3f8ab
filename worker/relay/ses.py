"""The one SES call of a route: exactly one HTTP request, and an outcome for everything that can happen to it.

aioboto3 gives endpoint, region and credentials, as the AWS environment says; body, signature and HTTP are ours,
because this call is the cost of the whole relay (bench/README.md has the figures). A send raises nothing for what the
network or SES does; `ask` is for questions about the account, which cost nothing and may fail.

Theory of operation
1. aiohttp repeats idempotent methods only, and follows no redirect here: a POST is written once or not at all.
2. Right before the body is written the lease is looked at: a process that was frozen while it connected must not send
   what another worker has taken over. Headers and body leave in one write.
3. A connection on which the server's end of stream has arrived is not written to; another one is taken. What remains
   is an end of stream still on its way when we write (half a round trip, plus the rest of one turn of the event
   loop): that call ends Unknown, as nobody can tell it from one that was read. Connections are kept for five idle
   seconds only, to make that rare.
4. A large body is written in pieces, each after the one before has left and the lease was looked at. SES takes a
   request only when it is whole, so until the last piece is begun any end of the call is Unavailable, from then on
   Unknown. Encoding and signing 8 MB takes up to 35 MB beside the message, and some 50 ms of the event loop.
"""

import asyncio
import select
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Final

import aiohttp
from aiohttp import payload
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter

from config.errors import TryLater
from config.settings import RelaySettings, RouteSettings
from worker.relay.credentials import REFUSED_CODES, NoCredentials, source_for
from worker.relay.endpoint import Endpoint, endpoints_for, tls_context
from worker.relay.outcomes import NOT_REACHED, Accepted, Outcome, Unavailable, Unknown, of_answer, of_code
from worker.relay.signature import signed_headers
from worker.relay.wire import Call, v1_body, v2_body

_KEEP_ALIVE_SECONDS = 5
_MAX_ANSWER_BYTES = 64 * 1024
_PIECE_BYTES: Final = 256 * 1024
# A call may take longer by the time that its body needs on a line as slow as this.
_SLOWEST_BYTES_PER_SECOND = 250_000
_MAX_STALE_CONNECTIONS = 5
_FORM = "application/x-www-form-urlencoded; charset=utf-8"

_NETWORK_ERRORS = (aiohttp.ClientError, TimeoutError, OSError, ValueError)


class LeaseEnded(Exception):  # noqa: N818 - a decision, not a failure
    """The right to send was gone before the request was whole: SES did not take it."""


class _ConnectionStale(Exception):  # noqa: N818 - a decision, not a failure
    """The server had closed the connection before anything was written."""


class _GuardedBody(payload.Payload):
    """A body that asks for permission at the last moment and knows how far it came."""

    _autoclose = True  # nothing to close

    def __init__(self, body: bytes, may_send: Callable[[], bool]) -> None:
        super().__init__(body, content_type="application/octet-stream")
        self._body = body
        self._size = len(body)
        self._may_send = may_send
        #: The last byte may have reached SES.
        self.is_whole = False
        self.is_forbidden = False
        self.is_stale = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._body.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        if _is_closed_by_server(writer):
            self.is_stale = True
            raise _ConnectionStale
        self._ask()
        rest = memoryview(self._body)
        while len(rest) > _PIECE_BYTES:
            await writer.write(rest[:_PIECE_BYTES])
            await writer.drain()
            self._ask()
            rest = rest[_PIECE_BYTES:]
        self.is_whole = True
        await writer.write(rest)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        assert content_length in {None, self._size}, "aiohttp takes the length from the body"
        await self.write(writer)

    def _ask(self) -> None:
        if not self._may_send():
            self.is_forbidden = True
            raise LeaseEnded


def _is_closed_by_server(writer: AbstractStreamWriter) -> bool:
    """Whether the kernel knows of the server's end of stream; the event loop may not have come to it yet."""
    transport = writer.transport if isinstance(writer, StreamWriter) else None
    if transport is None or transport.is_closing():
        return True
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))


class NoAnswer(TryLater):
    """A question to SES brought no answer."""


class SesClient:
    """Sends the batches of one route. Build it on the event loop, `await open()`, `await close()`."""

    def __init__(self, settings: RelaySettings, *, concurrent_calls: int, route: RouteSettings | None = None) -> None:
        self._settings = settings
        self._route = route or RouteSettings(region=settings.region)
        #: Held around intent and call, so that no recorded attempt waits for its turn.
        self.slots = asyncio.Semaphore(concurrent_calls)
        self._stack = AsyncExitStack()
        self._limits = aiohttp.ClientTimeout(
            total=settings.call_timeout_seconds, connect=settings.connect_timeout_seconds
        )

    async def open(self) -> None:
        """Resolves the endpoints and opens the connection pool. Raises botocore's errors."""
        endpoints = await endpoints_for(self._route)
        self._v1, self._v2, self._region = endpoints.v1, endpoints.v2, endpoints.region
        self._credentials = source_for(self._route, self._region)
        connector = aiohttp.TCPConnector(
            limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS, ssl=tls_context(endpoints.authorities_file)
        )
        self._http = await self._stack.enter_async_context(
            aiohttp.ClientSession(
                connector=connector,
                timeout=self._limits,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=["User-Agent", "Accept", "Accept-Encoding"],
            )
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._stack.aclose()

    async def send(self, call: Call, may_send: Callable[[], bool]) -> Outcome:
        """One attempt. Raises LeaseEnded when `may_send` forbade it before the request was whole."""
        if not may_send():
            raise LeaseEnded
        try:
            credentials = await self._credentials.current()
        except NoCredentials as error:
            return of_code("NoCredentials", str(error))
        endpoint, kind, body = (
            (self._v1, _FORM, v1_body(call)) if call.is_for_v1 else (self._v2, "application/json", v2_body(call))
        )
        headers = signed_headers(
            endpoint.host, endpoint.path, {"content-type": kind}, body, credentials, self._region, datetime.now(UTC)
        )
        outcome = await self._post_once(endpoint, headers, body, may_send)
        if not isinstance(outcome, Accepted) and outcome.code in REFUSED_CODES:
            self._credentials.refused()
        return outcome

    async def ask(self, action: str) -> tuple[int, bytes]:
        """The answer to a question without parameters (v1 Query). Raises NoAnswer or NoCredentials."""
        credentials = await self._credentials.current()
        endpoint, body = self._v1, f"Action={action}&Version=2010-12-01".encode()
        headers = signed_headers(
            endpoint.host, endpoint.path, {"content-type": _FORM}, body, credentials, self._region, datetime.now(UTC)
        )
        try:
            async with self._http.post(
                endpoint.url,
                data=body,
                headers=headers,
                proxy=endpoint.proxy,
                allow_redirects=False,
                timeout=self._limits,
            ) as answer:
                status, text = answer.status, await _read(answer.content)
        except _NETWORK_ERRORS as error:
            raise NoAnswer("SES cannot be reached", detail=str(error) or type(error).__name__) from error
        outcome = of_answer(status, "", text)
        if not isinstance(outcome, Accepted) and outcome.code in REFUSED_CODES:
            self._credentials.refused()
        return status, text

    async def _post_once(
        self, endpoint: Endpoint, headers: dict[str, str], body: bytes, may_send: Callable[[], bool]
    ) -> Outcome:
        """Writes the request to the first connection that the server has not closed."""
        for _ in range(_MAX_STALE_CONNECTIONS):
            guarded = _GuardedBody(body, may_send)
            outcome = await self._post(endpoint, headers, guarded)
            if not guarded.is_stale:
                break
        return outcome

    async def _post(self, endpoint: Endpoint, headers: dict[str, str], body: _GuardedBody) -> Outcome:
        try:
            async with self._http.post(
                endpoint.url,
                data=body,
                headers=headers,
                proxy=endpoint.proxy,
                allow_redirects=False,
                timeout=self._limits_for(body.size or 0),
            ) as answer:
                text = await _read(answer.content)
                return of_answer(answer.status, answer.headers.get("x-amzn-ErrorType", ""), text)
        except Exception as error:
            if body.is_forbidden:
                raise LeaseEnded from error
            name = type(error).__name__
            if body.is_whole:  # whatever it was, there is no answer
                return Unknown(name, f"the call ended without an answer: {str(error) or name}")
            if isinstance(error, _NETWORK_ERRORS):
                return Unavailable(name, f"{NOT_REACHED}: {str(error) or name}")
            raise

    def _limits_for(self, body_bytes: int) -> aiohttp.ClientTimeout:
        if body_bytes <= _PIECE_BYTES:
            return self._limits
        answer_seconds = self._settings.call_timeout_seconds
        return aiohttp.ClientTimeout(
            total=answer_seconds + body_bytes / _SLOWEST_BYTES_PER_SECOND,
            connect=self._settings.connect_timeout_seconds,
            sock_read=answer_seconds,  # counted from the end of the body
        )


async def _read(content: aiohttp.StreamReader) -> bytes:
    """The whole answer, or its beginning when it is too long to be SES's."""
    text = await content.read(_MAX_ANSWER_BYTES)
    while not content.at_eof() and len(text) < _MAX_ANSWER_BYTES:
        text += await content.read(_MAX_ANSWER_BYTES - len(text))
    return text
