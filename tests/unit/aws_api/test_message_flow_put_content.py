"""PutRawMessageContent and the runs of functions, with a message flow that does something while S3 is asked."""

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from aws_api.message_flow.put_content import put_raw_message_content
from aws_api.tools import TOOLS
from aws_api.wire.failures import OperationRefused
from aws_api.wire.memory import MemoryBudget, Reservation
from aws_api.wire.services import Call
from config.settings import Settings
from spool.content import ContentMissing
from spool.message_flow import BegunPut

ORIGINAL = b"From: a@example.com\r\nDate: Mon, 1 Jan 2029 00:00:00 +0000\r\n\r\nhello\r\n"
UPDATED = ORIGINAL + b"and a footer\r\n"


class Flow:
    """A message with one run after the other."""

    def __init__(self, run: str, original: bytes = ORIGINAL) -> None:
        self.run, self.original, self.is_known = run, original, True
        self.puts: list[tuple[bytes, str]] = []

    async def begin_put(self, message_id: str) -> BegunPut | None:
        return BegunPut(message_id, self.run, len(self.original), None) if self.is_known else None

    async def original_of(self, begun: BegunPut) -> bytes:
        if begun.size_bytes != len(self.original):
            raise ContentMissing("replaced")
        return self.original

    async def put(self, message_id: str, content: bytes, begun: BegunPut | None = None) -> str:
        assert begun is not None
        self.puts.append((content, begun.run))
        return "kept"


class Fetches:
    """What S3 holds; `meanwhile` happens while it is fetched."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.meanwhile, self.beside_bytes = meanwhile, list[int]()

    @asynccontextmanager
    async def fetched(self, location: object, *, beside_bytes: int):
        self.beside_bytes.append(beside_bytes)
        self.meanwhile()
        yield UPDATED


def put(flow: Flow, fetches: Fetches) -> Awaitable[Any]:
    tools = SimpleNamespace(flow=flow, updates=fetches, settings=Settings())
    request: Any = SimpleNamespace(app={TOOLS: tools})
    content = {"s3Reference": {"bucket": "bucket", "key": "key"}}
    return put_raw_message_content(
        Call({"messageId": "0000-a", "content": content}, None, "r", request, Reservation(MemoryBudget(1)))
    )


async def test_an_update_is_put_for_the_run_in_which_its_request_began():
    flow = Flow("first")
    fetches = Fetches(lambda: setattr(flow, "run", "second"))
    assert await put(flow, fetches) == {}
    assert flow.puts == [(UPDATED, "first")]
    assert fetches.beside_bytes == [len(ORIGINAL)]


async def test_one_that_cannot_be_compared_any_more_is_compared_with_what_the_next_run_has_and_stays_too_late():
    flow = Flow("first")

    def next_run() -> None:
        flow.run, flow.original = "second", UPDATED

    fetches = Fetches(next_run)
    assert await put(flow, fetches) == {}
    assert flow.puts == [(UPDATED, "first")]
    assert fetches.beside_bytes == [len(ORIGINAL), len(UPDATED)]


async def test_one_whose_message_has_ended_meanwhile_finds_none():
    flow = Flow("first")

    def ended() -> None:
        flow.is_known, flow.original = False, b""

    with pytest.raises(OperationRefused) as caught:
        await put(flow, Fetches(ended))
    assert caught.value.code == "ResourceNotFoundException"
    assert not flow.puts
