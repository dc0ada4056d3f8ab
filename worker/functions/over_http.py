"""Calls functions behind a URL that speaks Lambda's Invoke, such as the runtime interface emulator in a container.

One POST a call on a connection of its own, never repeated; no proxy, no redirect, no cookies, no compression, a
bounded answer. Who gives up waiting is the caller.
"""

from collections.abc import Mapping

import aiohttp
import orjson

from worker.functions.failures import InvocationFailed
from worker.functions.raw_answer import failure_of, one_line, read_bounded
from worker.functions.targets import HttpTarget
from worker.relay.endpoint import tls_context

_CONNECT_SECONDS = 5
_ERRORS = (aiohttp.ClientError, TimeoutError, OSError, ValueError)
#: HTTP status → words.
WORDS: Mapping[int, str] = {
    401: "these credentials may not run the function",
    403: "these credentials may not run the function",
    404: "there is no such function",
    413: "the event is too large for the server",
    429: "the server throttles the function",
}


class HttpFunctions:
    """The functions behind URLs. Build it anywhere, `await close()` it on the event loop that used it."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    async def invoke(self, target: HttpTarget, payload: bytes, *, is_event: bool) -> bytes:
        """One call; the answer, or nothing for an event. Raises InvocationFailed."""
        headers = {
            "Content-Type": "application/json",
            "X-Amz-Invocation-Type": "Event" if is_event else "RequestResponse",
        }
        tls = tls_context(None) if target.url.startswith("https:") else True
        try:
            async with self._opened().post(
                target.url, data=payload, headers=headers, allow_redirects=False, ssl=tls
            ) as answer:
                return await _answer_of(answer, is_event=is_event)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _failure("the function's server cannot be reached", error) from error
        except _ERRORS as error:
            raise _failure("the call ended without an answer", error) from error

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # A kept connection that the server closes just now looks like a failed function.
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=["User-Agent", "Accept", "Accept-Encoding"],
            )
        return self._session


async def _answer_of(answer: aiohttp.ClientResponse, *, is_event: bool) -> bytes:
    """An event is taken with 202; the emulator knows no events, runs the function and answers 200."""
    if answer.status in ({200, 202, 204} if is_event else {200}):
        text = await read_bounded(answer.content.read)
        if "X-Amz-Function-Error" in answer.headers:
            raise failure_of(text)
        return b"" if is_event else text
    words = WORDS.get(answer.status, "the server failed" if answer.status >= 500 else "the server did not run it")
    reason = _error_text(await answer.content.read(4096))
    raise InvocationFailed(f"{words}: HTTP {answer.status}{reason and f' ({reason})'}")


def _error_text(text: bytes) -> str:
    """What an error's JSON says, in the ways in which AWS and servers like it write it."""
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError:
        return ""
    found = (values.get(name) for name in ("errorMessage", "Message", "message")) if isinstance(values, dict) else ()
    return next((one_line(one, 300) for one in found if isinstance(one, str)), "")


def _failure(words: str, error: Exception) -> InvocationFailed:
    name = type(error).__name__
    return InvocationFailed(f"{words} ({name})", detail=f"{words}: {one_line(str(error), 300) or name}")
