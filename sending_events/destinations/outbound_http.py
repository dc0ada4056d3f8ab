"""HTTP calls to hosts that somebody else names: webhooks, subscriptions, certificates.

Theory of operation
1. The URL is judged by itself: https, no user, a host that is a name or a plain address; http only where the operator
   allowed the host by name.
2. The name is looked up once. Each address it has must be allowed, or nothing is connected to at all: a name with one
   public and one private address is somebody's try.
3. The connection goes to the addresses of that look-up; no second look-up can answer otherwise (DNS rebinding). Right
   before connecting, the very address of the socket is asked for again.
4. TLS is verified against the host's name. Redirects are not followed, proxies of the environment not used, cookies
   not kept, answers neither decompressed nor read beyond their limit. One time limit spans all of it.
5. A connection that is kept for the next call stays with the address that was checked.
Nothing told here has a path or a query of the URL in it: there webhooks carry their secrets.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Literal

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from config.authorities import trusted_authorities
from config.errors import Refused, TryLater
from sending_events.destinations.target_addresses import AllowedTargets, url_mistake

__all__ = ["AllowedTargets", "HttpAnswer", "LookUp", "OutboundHttp", "url_mistake"]

#: The addresses of a name. Raises OSError.
LookUp = Callable[[str], Awaitable[Sequence[str]]]

_KEEP_SECONDS = 15.0
# A look-up cannot be cancelled; so many may hang without the others waiting.
_LOOK_UP_THREADS = 16
# The other side closed a kept connection just as we used it.
_STALE = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back, whatever the status."""

    status: int
    #: Names in lower case; of several the last.
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    #: False: there was more than the limit, which was not read.
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class _Asked:
    method: Literal["GET", "POST"]
    url: str = field(repr=False)
    max_answer_bytes: int
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class OutboundHttp:
    """Calls of this process to hosts named by others. `await close()` it on the event loop that used it."""

    def __init__(
        self,
        allowed: AllowedTargets,
        *,
        look_up: LookUp | None = None,
        tls: Callable[[], ssl.SSLContext] = trusted_authorities,
    ) -> None:
        self._allowed = allowed
        self._threads = ThreadPoolExecutor(_LOOK_UP_THREADS, thread_name_prefix="look-up")
        self._look_up = look_up or self._system_look_up
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        # Of names that the operator allowed: the addresses of the last look-up.
        self._named: dict[str, frozenset[str]] = {}

    async def close(self) -> None:
        """Ends the kept connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._session is not None:
            await self._session.close()

    async def get(self, url: str, *, time_limit_seconds: float = 10, max_answer_bytes: int = 65536) -> HttpAnswer:
        """One GET, of a whole answer.

        Raises Refused for a URL or an address that may not be reached and an answer that is too large; TryLater when
        nothing answered in time.
        """
        answer = await self._ask(_Asked("GET", url, max_answer_bytes), time_limit_seconds)
        if not answer.is_whole:
            raise Refused(f"the answer of {_place(url)} is larger than {max_answer_bytes} bytes")
        return answer

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        time_limit_seconds: float = 10,
        max_answer_bytes: int = 4096,
    ) -> HttpAnswer:
        """One POST; of the answer so much as the limit allows. Raises Refused and TryLater as get does.

        It is sent a second time when a connection turns out to be closed, which the other side may see as a repeat.
        """
        return await self._ask(_Asked("POST", url, max_answer_bytes, body, headers), time_limit_seconds)

    async def _ask(self, asked: "_Asked", time_limit_seconds: float) -> HttpAnswer:
        if mistake := url_mistake(asked.url, self._allowed):
            raise Refused(f"the URL cannot be called: it {mistake}")
        place = _place(asked.url)
        try:
            async with asyncio.timeout(time_limit_seconds):
                try:
                    return await self._exchange(asked)
                except _STALE as error:
                    if isinstance(error, aiohttp.ClientConnectorError):
                        raise
                    return await self._exchange(asked)
        except TimeoutError as error:
            raise TryLater(f"{place} did not answer in {time_limit_seconds:g} seconds") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _failure(place, error) from error

    async def _exchange(self, asked: "_Asked") -> HttpAnswer:
        async with self._opened().request(
            asked.method, URL(asked.url), data=asked.body or None, headers=asked.headers, allow_redirects=False
        ) as answer:
            content, is_whole = await _read(answer.content, asked.max_answer_bytes)
            if not is_whole:
                answer.close()  # else the rest would be read for the sake of the connection
            told = {name.lower(): value for name, value in answer.headers.items()}
            return HttpAnswer(answer.status, told, content, is_whole)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    ssl=self._tls(),
                    resolver=_CheckedResolver(self._checked_look_up),
                    use_dns_cache=False,
                    socket_factory=self._socket,
                    keepalive_timeout=_KEEP_SECONDS,
                ),
                timeout=aiohttp.ClientTimeout(total=None),
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "mailsluice", "Accept-Encoding": "identity"},
            )
        return self._session

    async def _checked_look_up(self, host: str) -> Sequence[str]:
        """Every address of a name. Raises Refused unless all of them may be reached."""
        addresses = await self._look_up(host)
        if not addresses:
            raise OSError("the name has no address")
        if self._allowed.has_host(host):
            self._named[host] = frozenset(addresses)
        elif not all(self._allowed.may_reach(ip_address(one)) for one in addresses):
            raise Refused(f"{host} is at an address that is not public and [events] allowed_targets does not name")
        return addresses

    def _socket(self, where: tuple[Any, ...]) -> socket.socket:
        """The last look at an address, right before it is connected to."""
        family, kind, protocol, _, address = where
        text = str(address[0])
        if not self._allowed.may_reach(ip_address(text)) and not any(text in one for one in self._named.values()):
            raise PermissionError("this address was not checked")
        return socket.socket(family, kind, protocol)

    async def _system_look_up(self, host: str) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _addresses_of, host)
        return tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class _CheckedResolver(AbstractResolver):
    """What aiohttp asks for a name's addresses."""

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family  # both, and whichever connects first
        return [
            ResolveResult(
                hostname=host,
                host=one,
                port=port,
                family=socket.AF_INET6 if ":" in one else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for one in await self._look_up(host)
        ]

    async def close(self) -> None:
        """Holds nothing."""


def _addresses_of(host: str) -> list[Any]:
    return socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)


async def _read(content: aiohttp.StreamReader, at_most: int) -> tuple[bytes, bool]:
    pieces, room_bytes = [], at_most
    while piece := await content.read(room_bytes + 1):
        pieces.append(piece)
        room_bytes -= len(piece)
        if room_bytes < 0:
            return b"".join(pieces)[:at_most], False
    return b"".join(pieces), True


def _place(url: str) -> str:
    """The host and its port, as far as a URL may be shown."""
    parsed = URL(url)
    return parsed.host_port_subcomponent or "the host"


def _failure(place: str, error: Exception) -> TryLater:
    name = type(error).__name__
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return TryLater(f"the certificate of {place} is not trusted", detail=str(error.certificate_error))
        case aiohttp.ClientConnectorDNSError():
            return TryLater(f"{place} has no address", detail=f"{name}: {error.os_error}")
        case aiohttp.ClientConnectorError():
            return TryLater(f"{place} cannot be reached", detail=f"{name}: {error.os_error}")
        case _:
            return TryLater(f"the call to {place} ended without an answer ({name})")
