"""Celery's connections are those of our own clients: database, password, timeouts and TLS as the URL says them."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu.exceptions import OperationalError

from config.celery_app import make_celery
from config.redis_clients import redis_client
from config.settings_source import load_settings
from tests.contract.test_ses_client_environment import certificate
from tests.servers import RedisServer, free_port


@contextlib.contextmanager
def channel_to(url: str) -> Iterator[Any]:
    """Kombu's channel of an application whose spool and broker are at that URL."""
    with make_celery(load_settings(environ={"SLUICE_REDIS_URL": url})).connection_for_write() as connection:
        connection.ensure_connection(max_retries=1)
        yield connection.default_channel


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer(port=free_port()) as one:
        with redis.Redis(unix_socket_path=str(one.socket_path)) as client:
            client.config_set("requirepass", "p@w")
        yield one


@pytest.mark.parametrize(
    "url",
    [
        "unix://:p%40w@{socket}",
        "unix://{socket}?password=p%40w",
        "unix://:p%40w@{socket}?db=3",
        "unix://{socket}?password=p%40w&db=3&socket_timeout=20&health_check_interval=5&max_connections=4&timeout=2",
        "redis://:p%40w@127.0.0.1:{port}",
        "redis://:p%40w@127.0.0.1:{port}/3",
        "redis://:p%40w@127.0.0.1:{port}/1?db=3",
        "redis://127.0.0.1:{port}?password=p%40w&db=3&socket_keepalive=1&socket_connect_timeout=7&client_name=sluice",
    ],
)
async def test_celery_is_in_the_same_database_with_the_same_password(server: RedisServer, url: str):
    url = url.format(socket=server.socket_path, port=server.options["port"])
    ours = redis_client(url)
    try:
        await ours.set("mark", "ours")
        with channel_to(url) as channel:
            assert channel.client.dbsize() == 1
        await ours.delete("mark")
        with channel_to(url) as channel:
            assert channel.client.dbsize() == 0
    finally:
        await ours.aclose()


def test_timeouts_of_the_url_are_those_of_celery_too(server: RedisServer):
    with channel_to(f"redis://:p%40w@127.0.0.1:{server.options['port']}?socket_timeout=20") as channel:
        told = channel.client.connection_pool.connection_kwargs
        assert (told["socket_timeout"], told["socket_connect_timeout"]) == (20, 5)


@contextlib.asynccontextmanager
async def tls_before(server: RedisServer, folder: Path) -> AsyncIterator[tuple[int, Path]]:
    """A port that speaks TLS and passes everything on to the server; the port and its authority."""
    authority, key = certificate(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority, key)

    async def copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while some := await reader.read(65536):
                writer.write(some)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server = await asyncio.open_unix_connection(str(server.socket_path))
        await asyncio.gather(copied(reader, to_server[1]), copied(to_server[0], writer))

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with listening:
        yield listening.sockets[0].getsockname()[1], authority


async def test_the_certificate_of_the_broker_is_checked_unless_the_url_says_otherwise(tmp_path: Path):
    def is_reached(url: str) -> bool:
        with channel_to(url) as channel:
            return bool(channel.client.ping())

    with RedisServer() as server:
        async with tls_before(server, tmp_path) as (port, authority):
            url = f"rediss://127.0.0.1:{port}"
            with pytest.raises(OperationalError, match="certificate verify failed"):
                await asyncio.to_thread(is_reached, url)
            assert await asyncio.to_thread(is_reached, f"{url}?ssl_ca_certs={authority}")
            assert await asyncio.to_thread(is_reached, f"{url}?ssl_cert_reqs=none&ssl_check_hostname=false")
