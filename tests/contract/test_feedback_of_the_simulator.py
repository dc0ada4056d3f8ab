"""SES's events as the simulator writes them, read over its feed: each is about the call it should be about."""

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from simulated_ses import SimulatedSes, simulated_ses

from spool.records import new_message_id
from worker.feedback.events import call_of
from worker.feedback.simulator_feed import Page, SimulatorFeed


@pytest.fixture
def ses() -> Iterator[SimulatedSes]:
    with simulated_ses() as running:
        yield running


def send(ses: SimulatedSes, recipient: str, *, batch: str = "", tag: str = "", client: Any = None) -> str:
    """One mail by the unmodified AWS client; SES's id of it."""
    header = f"X-Sluice-Batch: {batch}\r\n" if batch else ""
    answer = (client or ses.client("ses")).send_raw_email(
        Source="ann@example.com",
        Destinations=[recipient],
        RawMessage={"Data": f"{header}From: ann@example.com\r\nTo: {recipient}\r\n\r\nbody\r\n".encode()},
        Tags=[{"Name": "sluice-batch", "Value": tag}] if tag else [],
    )
    return str(answer["MessageId"])


async def read(ses: SimulatedSes, since: int = 0) -> Page:
    feed = SimulatorFeed(ses.url, wait_seconds=0.1)
    try:
        return await feed.read(since)
    finally:
        await feed.close()


@pytest.mark.parametrize("local_part", ["success", "bounce", "complaint", "ooto", "suppressionlist"])
async def test_every_event_about_a_call_proves_it_by_tag_or_header(ses: SimulatedSes, local_part: str):
    tagged, headed = new_message_id(), new_message_id()
    recipient = f"{local_part}@simulator.amazonses.com"
    ids = {
        tagged: await asyncio.to_thread(send, ses, recipient, tag=f"{tagged}.1"),
        headed: await asyncio.to_thread(send, ses, recipient, batch=f"{headed}.7"),
    }
    page = await read(ses)
    calls = [call_of(orjson.loads(line)) for line in page.lines]
    assert len(calls) >= 4
    assert {(call.message_id, call.attempt_number, call.ses_message_id) for call in calls if call} == {
        (tagged, 1, ids[tagged]),
        (headed, 7, ids[headed]),
    }
    assert None not in calls
    assert (await read(ses, page.next)).lines == ()


async def test_mail_without_our_mark_is_foreign(ses: SimulatedSes):
    await asyncio.to_thread(send, ses, "success@simulator.amazonses.com")
    page = await read(ses)
    assert [call_of(orjson.loads(line)) for line in page.lines] == [None] * len(page.lines)
    assert page.lines


async def test_a_new_simulator_has_another_feed_and_a_long_one_says_that_there_is_more(ses: SimulatedSes):
    client = ses.client("ses")
    for _ in range(501):
        await asyncio.to_thread(send, ses, "success@simulator.amazonses.com", client=client)
    page = await read(ses)
    assert page.is_cut
    rest = await read(ses, page.next)
    assert not rest.is_cut
    assert len(page.lines) + len(rest.lines) == 1002
    with simulated_ses() as other:
        assert (await read(other)).feed != page.feed == rest.feed
