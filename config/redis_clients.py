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
    """A client of the spool's server with its own small pool; close it with `aclose()`.

    What the URL says wins, as everywhere with redis-py (`?socket_timeout=20`). Raises ValueError for an option that
    is not one, here and not at the first command; the text names it and nothing else of the URL.
    """
    options: dict[str, Any] = dict(connection.parse_url(url))
    kind = _CONNECTIONS[options.pop("connection_class", connection.Connection)]
    of_the_pool = {
        "max_connections": int(options.pop("max_connections", connections)),
        "timeout": options.pop("timeout", answer_seconds),
    }
    of_a_connection: dict[str, Any] = {
        "socket_timeout": answer_seconds,
        "socket_connect_timeout": 5,
        "health_check_interval": 0,
        # The newer protocol adds nothing here, and a server before 6.0 could not even tell that it is old.
        "protocol": 2,
        **options,
        "retry": Retry(NoBackoff(), 0),
    }
    try:
        kind(**of_a_connection)
    except TypeError as error:
        unknown = str(error).rpartition(" ")[2]
        raise ValueError(f"the URL has an option that the Redis client does not know: {unknown}") from None
    pool = aioredis.BlockingConnectionPool(connection_class=kind, **of_the_pool, **of_a_connection)
    return aioredis.Redis.from_pool(pool)
