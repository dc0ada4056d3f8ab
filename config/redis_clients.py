"""The only factory of Redis clients: no silent retries, a time limit on every answer.

Whether a repeat is safe is known to the caller alone.
"""

import asyncio
from typing import Any

from redis import asyncio as aioredis
from redis import exceptions
from redis.asyncio import connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


class _CancellableSend:
    """Sends without asyncio.wait_for, which on Python 3.11 loses a cancellation that comes as the send ends.

    Half of the cancelled tasks that talk to Redis in a loop lived on; asyncio.timeout has no such window.
    """

    socket_timeout: float | None

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's signature
        seconds, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(seconds):
                await super().send_packed_command(command, check_health)  # type: ignore[misc]
        except TimeoutError as error:
            raise exceptions.TimeoutError("the server takes nothing") from error
        finally:
            self.socket_timeout = seconds


class _TcpConnection(_CancellableSend, connection.Connection):
    pass


class _TlsConnection(_CancellableSend, connection.SSLConnection):
    pass


class _UnixConnection(_CancellableSend, connection.UnixDomainSocketConnection):
    pass


_CONNECTIONS: dict[type[connection.AbstractConnection], type[connection.AbstractConnection]] = {
    connection.Connection: _TcpConnection,
    connection.SSLConnection: _TlsConnection,
    connection.UnixDomainSocketConnection: _UnixConnection,
}


def redis_client(url: str, *, connections: int = 8, answer_seconds: float = 10) -> aioredis.Redis:
    """A client of the spool's server with its own small pool; close it with `aclose()`."""
    options: dict[str, Any] = dict(connection.parse_url(url))
    kind = _CONNECTIONS[options.pop("connection_class", connection.Connection)]
    pool = aioredis.BlockingConnectionPool(
        connection_class=kind,
        max_connections=connections,
        timeout=answer_seconds,
        socket_timeout=answer_seconds,
        socket_connect_timeout=5,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        # The newer protocol adds nothing here, and a server before 6.0 could not even tell that it is old.
        **{"protocol": 2, **options},
    )
    return aioredis.Redis.from_pool(pool)
