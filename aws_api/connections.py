"""The connections of the HTTP door, bounded in time and in number: anybody can open one and send half a request.

Theory of operation
1. A connection waits for its client until a whole request is there, head and body. One that waits for a head is closed
   WAITING_SECONDS after it was opened or last answered, however often a byte comes; bodies have their own time
   (wire/bodies.py).
2. When there are as many as there may be, a new one takes the place of the one that was opened first of those that
   wait. So /healthz answers also while somebody opens connections for nothing. When none waits, the new one is closed.
3. There may be fewer than the process has descriptors: Redis, S3 and the contents of messages need some too.
A request that runs is never cut by this; an answer that its client does not take may be.
"""

import asyncio
import contextlib
import resource
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

#: Clients that keep connections open for later requests make a new one after this.
WAITING_SECONDS: Final = 30.0
MOST_CONNECTIONS: Final = 1000
#: Enough for MOST_CONNECTIONS and all else; many systems start processes with 1,024 or fewer.
WANTED_DESCRIPTORS: Final = 4096
GRACE_SECONDS: Final = 5.0


def raise_descriptors() -> int:
    """Lets the process open as many descriptors as it wants and may; how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(WANTED_DESCRIPTORS, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return WANTED_DESCRIPTORS
    with contextlib.suppress(ValueError, OSError):  # a system may have a lower limit of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def most_connections(descriptors: int) -> int:
    """How many connections a process with so many descriptors may have."""
    return min(MOST_CONNECTIONS, descriptors * 3 // 4)


class Connections:
    """Lets an application listen. `close` must be called, also after a `listen` that failed."""

    def __init__(
        self, app: web.Application, *, most: int = MOST_CONNECTIONS, waiting_seconds: float = WAITING_SECONDS
    ) -> None:
        self._most = most
        self._requests: dict[asyncio.BaseProtocol, web.Request] = {}
        self._listener: asyncio.Server | None = None
        app.middlewares.insert(0, self._noting())
        # A signature is of the bytes as they were sent, so a compressed body is left as it is.
        self._runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=GRACE_SECONDS,
            auto_decompress=False,
            keepalive_timeout=waiting_seconds,
        )

    async def listen(self, host: str, port: int) -> int:
        """The port, for who asked for port 0. Raises OSError."""
        await self._runner.setup()
        self._listener = await asyncio.get_running_loop().create_server(self._connection, host, port, backlog=128)
        found: int = self._listener.sockets[0].getsockname()[1]
        return found

    async def close(self) -> None:
        """Takes no connection any more; running requests get GRACE_SECONDS."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()

    def _noting(self) -> Middleware:
        @web.middleware
        async def noting(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._requests[request.protocol] = request
            try:
                return await handler(request)
            finally:
                self._requests.pop(request.protocol, None)

        return noting

    def _connection(self) -> asyncio.BaseProtocol:
        server = self._runner.server
        if server is None:  # closed in the meantime
            return _Closed()
        open_ones = [one for one in server.connections if one.transport is not None]
        if len(open_ones) >= self._most:
            oldest = next(filter(self._is_waiting, open_ones), None)
            if oldest is None:
                return _Closed()
            _cut(oldest)
        return server()

    def _is_waiting(self, connection: web.RequestHandler) -> bool:
        request = self._requests.get(connection)
        return request is None or not request.content.is_eof()


def _cut(connection: web.RequestHandler) -> None:
    if connection.transport is not None:
        # Closing alone would wait for a client that does not take what was answered before.
        connection.transport.abort()
    connection.force_close()


class _Closed(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
