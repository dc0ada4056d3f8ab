"""The inbox of events on a real server, and what reads it."""

import asyncio

import orjson
import pytest
import structlog

from config.failpoints import Failpoints
from spool import keys
from spool.feedback_inbox import INBOX, FeedbackInbox, NoRoom
from spool.records import new_message_id
from spool.scripts import StoreFull, StoreUnavailable
from spool.store import Spool
from tests.feedback_stand import FeedbackStand, a_bounce, a_delivery, as_notification
from tests.servers import RedisServer
from tests.store.messages import numbers
from worker.feedback.horizon import Horizon
from worker.feedback.inbox_reader import InboxReader, pause_seconds
from worker.feedback.surroundings import Surroundings


async def show_now(spool: Spool) -> None:
    """As if the time had come for everything that waits."""
    for member in await spool.redis.zrange(INBOX, 0, -1):
        await spool.redis.zadd(INBOX, {member: 1})


async def next_millisecond(spool: Spool) -> None:
    """Returns when the server's clock tells what comes next from what was."""
    begun_ms = await now_ms_of(spool)
    while await now_ms_of(spool) == begun_ms:
        await asyncio.sleep(0)


async def now_ms_of(spool: Spool) -> int:
    seconds, micros = await spool.redis.time()
    return int(seconds) * 1000 + int(micros) // 1000


def reader_of(
    stand: FeedbackStand, *, keep_unknown_seconds: float = 600, now_ms: int = 1_700_000_000_000
) -> InboxReader:
    async def clock_ms() -> int:
        return now_ms

    around = Surroundings(stand.tally, Failpoints(""), structlog.get_logger(), clock_ms)
    horizon = Horizon(stand.spool, ["inbox"])
    return InboxReader(stand.inbox, stand.applier, horizon, around, keep_unknown_seconds=keep_unknown_seconds)


async def test_what_is_kept_is_shown_until_it_is_removed(spool: Spool):
    inbox = FeedbackInbox(spool.redis)
    await asyncio.gather(*(inbox.keep(b'{"n":%d}' % n) for n in range(5)))
    shown = await inbox.take(10)
    assert {one.event for one in shown} == {b'{"n":%d}' % n for n in range(5)}
    assert await inbox.take(10) == [], "nobody else gets them for a while"
    await inbox.remove([one.id for one in shown[:4]])
    await show_now(spool)
    assert [one.event for one in await inbox.take(10)] == [shown[4].event]
    assert await inbox.waiting() == 1


async def test_the_same_event_waits_once_and_a_later_look_is_later(spool: Spool):
    inbox = FeedbackInbox(spool.redis)
    for _ in range(3):
        await inbox.keep(b"{}", after_seconds=60)
    assert await inbox.waiting() == 1
    assert await inbox.take(10) == []
    await show_now(spool)
    [one] = await inbox.take(10)
    await inbox.put_off([one.id], 60)
    assert await inbox.take(10) == []
    await inbox.put_off(["no such id"], 0)
    assert await inbox.waiting() == 1


async def test_there_is_an_end_of_what_waits(spool: Spool):
    inbox = FeedbackInbox(spool.redis, most_events=2)
    await inbox.keep(b"1")
    await inbox.keep(b"2")
    with pytest.raises(NoRoom):
        await inbox.keep(b"3")
    await inbox.keep(b"2")  # it is there already


async def test_a_full_server_takes_nothing_and_gives_back_what_it_has(own_server: RedisServer, tmp_path):
    from tests.store.messages import open_test_spool

    async with open_test_spool(own_server.url, tmp_path) as spool:
        inbox = FeedbackInbox(spool.redis)
        await inbox.keep(b"kept")
        own_server.call("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StoreFull):
            await inbox.keep(b"refused")
        [one] = await inbox.take(10)
        assert one.event == b"kept"
        await inbox.remove([one.id])
        assert await inbox.waiting() == 0


async def test_the_reader_applies_and_removes(spool: Spool):
    stand = FeedbackStand(spool)
    message_id = await stand.sent()
    await stand.inbox.keep(orjson.dumps(a_delivery(message_id)))
    await stand.inbox.keep(b"Successfully validated SNS topic for Amazon SES event publishing.")
    await stand.inbox.keep(b"garbage")
    assert await reader_of(stand).read_page() == 3
    assert await stand.inbox.waiting() == 0
    assert await stand.letters(message_id) == "d"
    assert stand.counted == {
        "feedback_events:written": 1,
        "feedback_events:foreign": 1,
        "feedback_events:garbage": 1,
    }
    assert await spool.feedback_seen_at_ms() == 1_700_000_000_000 - 75_000


async def test_an_unknown_send_is_looked_for_until_it_is_foreign(spool: Spool):
    stand = FeedbackStand(spool)
    await stand.inbox.keep(orjson.dumps(as_notification(a_delivery())))
    assert await reader_of(stand).read_page() == 1
    assert await stand.inbox.waiting() == 1
    await show_now(spool)
    assert await reader_of(stand, keep_unknown_seconds=0).read_page() == 1
    assert await stand.inbox.waiting() == 0
    assert stand.counted == {"feedback_events:foreign": 1}


async def test_a_send_that_becomes_known_gets_its_event(spool: Spool):
    stand = FeedbackStand(spool)
    await stand.inbox.keep(orjson.dumps(as_notification(a_delivery())))
    await reader_of(stand).read_page()
    message_id = await stand.sent(message_id=new_message_id())
    await show_now(spool)
    await reader_of(stand).read_page()
    assert await stand.letters(message_id) == "d"
    assert await stand.inbox.waiting() == 0


@pytest.mark.parametrize("trouble", ["killed", "spool away"])
async def test_what_was_taken_and_not_applied_proves_nothing_about_the_past(spool: Spool, trouble: str):
    stand = FeedbackStand(spool)
    message_id = await stand.sent()
    await stand.inbox.keep(orjson.dumps(a_bounce(message_id)))
    later_ms = await now_ms_of(spool) + 3_600_000
    reader = reader_of(stand, now_ms=later_ms)
    if trouble == "killed":
        await stand.inbox.take(50)
    else:
        stand.suppression.troubles = [StoreUnavailable("the spool does not answer")]
        with pytest.raises(StoreUnavailable):
            await reader.read_page()
    assert await reader.read_page() == 0, "it is hidden"
    assert await spool.feedback_seen_at_ms() == 0
    await show_now(spool)
    assert await reader.read_page() == 1
    assert await spool.feedback_seen_at_ms() == later_ms - 75_000


async def test_mail_of_others_takes_no_room_of_ours_and_does_not_stop_the_clock(spool: Spool):
    stand = FeedbackStand(spool)
    stand.inbox = inbox = FeedbackInbox(spool.redis, most_events=6, most_unknown=3)
    for n in range(5):
        await inbox.keep(orjson.dumps({**as_notification(a_delivery()), "n": n}), after_seconds=60, is_unknown=True)
        await next_millisecond(spool)
    assert await inbox.waiting() == 3
    await show_now(spool)
    assert {orjson.loads(one.event)["n"] for one in await inbox.take(9)} == {2, 3, 4}, "the oldest are foreign"
    # Pushed by the topic, and found to be about unknown sends.
    for n in range(5, 8):
        await inbox.keep(orjson.dumps({**as_notification(a_delivery()), "n": n}))
    with pytest.raises(NoRoom):
        await inbox.keep(b"ours")
    assert await reader_of(stand).read_page() == 3
    assert await inbox.waiting() == 3
    await inbox.keep(b"ours")
    assert (await numbers(spool.redis, keys.COUNTERS))["feedback_events:foreign"] == 5
    await reader_of(stand).read_page()
    assert await spool.feedback_seen_at_ms() == 1_700_000_000_000 - 75_000


def test_looks_grow_rarer():
    assert [pause_seconds(age) for age in (0, 4, 60, 10_000)] == [1, 2, 30, 60]
