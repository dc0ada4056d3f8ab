"""The only factory of Redis clients: no silent retries, a time limit on every answer.

Whether a repeat is safe is known to the caller alone.
"""

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlsplit

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


#: Options of a URL that can be used, beside those of TLS (ssl_…). Others would change what our code reads (decoding) or
#: repeat in silence.
_OPTIONS = {
    *("username", "password", "db", "client_name", "max_connections", "timeout"),
    *("socket_timeout", "socket_connect_timeout", "socket_keepalive", "health_check_interval"),
}
#: Of our own pools, not of a connection.
_OF_A_POOL = {"max_connections", "timeout"}
_PLACE = {"connection_class", "host", "port", "path", "username", "password"}


def read_url(url: str) -> dict[str, Any]:
    """What the URL says, by redis-py's names. Raises ValueError; its text names the option and nothing else of it."""
    for name in parse_qs(urlsplit(url).query):
        if name not in _OPTIONS and not name.startswith("ssl_"):
            raise ValueError(f"the option {name!r} cannot be used here")
    said: dict[str, Any] = {"connection_class": connection.Connection, **connection.parse_url(url)}
    try:  # nothing connects yet
        said["connection_class"](**_of_a_connection(said))
    except TypeError as error:
        raise ValueError(f"the option {str(error).rpartition(' ')[2]} cannot be used here") from None
    except exceptions.RedisError as error:
        raise ValueError(str(error)) from None
    return said


def options_of_url(url: str) -> dict[str, Any]:
    """What the URL says of each connection beyond where the server is and who asks; for clients that are not ours."""
    said = read_url(url)
    return {name: value for name, value in said.items() if name not in _PLACE | _OF_A_POOL}


def _of_a_connection(said: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if name not in _OF_A_POOL | {"connection_class"}}


def redis_client(url: str, *, connections: int = 8, answer_seconds: float = 10) -> aioredis.Redis:
    """A client of the spool's server with its own small pool; close it with `aclose()`.

    What the URL says wins, as everywhere with redis-py (`?socket_timeout=20`). Raises ValueError as `read_url` does.
    """
    said = read_url(url)
    pool = aioredis.BlockingConnectionPool(
        connection_class=_CONNECTIONS[said["connection_class"]],
        max_connections=said.get("max_connections", connections),
        timeout=said.get("timeout", answer_seconds),
        retry=Retry(NoBackoff(), 0),
        **{
            "socket_timeout": answer_seconds,
            "socket_connect_timeout": 5,
            "health_check_interval": 0,
            # The newer protocol adds nothing here, and a server before 6.0 could not even tell that it is old.
            "protocol": 2,
            **_of_a_connection(said),
        },
    )
    return aioredis.Redis.from_pool(pool)
