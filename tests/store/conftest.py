"""A server of every binary found on the machine, shared by the tests of a session and empty for each of them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from spool.store import Spool
from tests.servers import RedisServer, redis_binaries
from tests.store.messages import open_test_spool


@pytest.fixture(scope="session", params=list(redis_binaries()))
def binary(request: pytest.FixtureRequest) -> Path:
    return redis_binaries()[request.param]


@pytest.fixture(scope="session")
def shared_server(binary: Path) -> Iterator[RedisServer]:
    with RedisServer(binary=binary) as server:
        yield server


@pytest.fixture
def server(shared_server: RedisServer) -> RedisServer:
    """A running, empty server; a test that kills, freezes or configures one takes `own_server`."""
    shared_server.call("FLUSHALL", "SYNC")
    return shared_server


@pytest.fixture
def own_server(binary: Path) -> Iterator[RedisServer]:
    """A running server of this test alone."""
    with RedisServer(binary=binary) as server:
        yield server


@pytest.fixture
async def spool(server: RedisServer, tmp_path: Path) -> AsyncIterator[Spool]:
    async with open_test_spool(server.url, tmp_path) as spool:
        yield spool
