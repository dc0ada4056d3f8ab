"""The question at RCPT: what it costs, and what a silent store means."""

import asyncio

import pytest

from smtp_gateway.suppressed import SILENT_SECONDS, SuppressedRecipients
from spool.scripts import StoreUnavailable
from spool.suppression import Entry


class List:
    """A suppression list in memory; counts who asks."""

    def __init__(self, *addresses: str, is_known_empty: bool = False) -> None:
        self.addresses = addresses
        self.is_known_empty = is_known_empty
        self.error: Exception | None = None
        self.is_silent = False
        self.asked = 0

    async def is_empty(self) -> bool:
        self.asked += 1
        if self.error:
            raise self.error
        if self.is_silent:
            await asyncio.Event().wait()
        return not self.addresses

    async def among(self, addresses) -> dict[str, Entry]:
        return {one: Entry(one, "BOUNCE", "feedback", 1) for one in addresses if one.lower() in self.addresses}


async def test_who_is_on_the_list_is_refused():
    suppressed = SuppressedRecipients(List("bob@example.net"))
    assert await suppressed.has("Bob@example.net")
    assert not await suppressed.has("ann@example.net")


@pytest.mark.parametrize("suppression", [None, List("bob@example.net", is_known_empty=True)])
async def test_nothing_is_asked_while_the_list_is_empty_or_not_used(suppression):
    assert not await SuppressedRecipients(suppression).has("bob@example.net")
    assert suppression is None or suppression.asked == 0


@pytest.mark.parametrize("trouble", ["error", "silence"])
async def test_a_store_that_does_not_answer_refuses_nobody_and_is_left_alone_for_a_second(trouble):
    now, suppression = [100.0], List("bob@example.net")
    if trouble == "error":
        suppression.error = StoreUnavailable("away")
    else:
        suppression.is_silent = True
    suppressed = SuppressedRecipients(suppression, answer_seconds=0.01, clock=lambda: now[0])
    assert not await suppressed.has("bob@example.net")
    suppression.error, suppression.is_silent = None, False
    assert not await suppressed.has("bob@example.net")
    assert suppression.asked == 1
    now[0] += SILENT_SECONDS
    assert await suppressed.has("bob@example.net")
