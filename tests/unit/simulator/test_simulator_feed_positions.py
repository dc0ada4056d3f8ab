"""The feed: positions, delay, bounds, and readers that wait."""

import asyncio

import orjson

from simulator.caller import Caller
from simulator.events import AcceptedCall
from simulator.feed import MAX_EVENTS_PER_ANSWER, Feed


def call(number: int = 0, headers: bytes = b"") -> AcceptedCall:
    to = "bounce@simulator.amazonses.com"
    return AcceptedCall(f"id-{number}", 1000, "a@x", (to,), None, (), headers, False, Caller("SendEmail"))


def feed(kept_bytes: int = 1_000_000, delay_seconds: float = 0.0) -> tuple[Feed, list[float]]:
    now = [1000.0]
    return Feed(kept_bytes, delay_seconds, lambda: now[0]), now


def told(read: tuple[list[bytes], int]) -> tuple[list[str], int]:
    lines, following = read
    events = [orjson.loads(line) for line in lines]
    return [f"{event['mail']['messageId']} {event['eventType']}" for event in events], following


def test_events_come_in_order_from_a_position_on():
    events, _ = feed()
    assert events.read(0) == ([], 0)
    events.append(call(1))
    events.append(call(2))
    assert told(events.read(0)) == (["id-1 Send", "id-1 Bounce", "id-2 Send", "id-2 Bounce"], 4)
    assert told(events.read(3)) == (["id-2 Bounce"], 4)
    assert events.read(4) == ([], 4)


def test_a_reader_of_an_earlier_life_gets_everything():
    events, _ = feed()
    assert events.read(500) == ([], 0)
    events.append(call(1))
    assert told(events.read(500)) == (["id-1 Send", "id-1 Bounce"], 2)


def test_one_answer_is_bounded():
    events, _ = feed(100_000_000)
    for number in range(MAX_EVENTS_PER_ANSWER):
        events.append(call(number))
    lines, following = events.read(0)
    assert (len(lines), following) == (MAX_EVENTS_PER_ANSWER, MAX_EVENTS_PER_ANSWER)
    assert events.has_more(following)
    assert told(events.read(following))[1] == 2 * MAX_EVENTS_PER_ANSWER
    assert not events.has_more(2 * MAX_EVENTS_PER_ANSWER)


def test_an_event_can_be_read_when_it_is_old_enough():
    events, now = feed(delay_seconds=5)
    events.append(call(1))
    now[0] += 4
    events.append(call(2))
    assert events.read(0) == ([], 0)
    now[0] += 1
    assert told(events.read(0)) == (["id-1 Send", "id-1 Bounce"], 2)


def test_another_delay_holds_for_those_that_wait_and_takes_nothing_back():
    events, now = feed(delay_seconds=5)
    events.append(call(1))
    events.change(0)
    assert told(events.read(0))[1] == 2
    events.change(60)
    assert told(events.read(0))[1] == 2
    events.append(call(2))
    now[0] += 59
    assert told(events.read(2)) == ([], 2)


def test_the_oldest_events_go_first_and_positions_stay():
    events, _ = feed(kept_bytes=10_000)
    for number in range(100):
        events.append(call(number, b"X: y\r\n" * 50))
    assert events.first_position > 180
    lines, following = told(events.read(0))
    assert following == 200
    assert lines[-1] == "id-99 Bounce"
    assert len(lines) == 200 - events.first_position
    assert events.read(200) == ([], 200)


def test_events_that_went_unread_behind_a_delay_do_not_disturb():
    events, now = feed(kept_bytes=2_300, delay_seconds=5)
    for number in range(10):
        events.append(call(number))
    assert events.read(0)[0] == []
    now[0] += 5
    assert told(events.read(0)) == (["id-8 Send", "id-8 Bounce", "id-9 Send", "id-9 Bounce"], 20)


async def test_a_waiting_reader_is_woken_by_the_next_call():
    events = Feed(1_000_000, 0.0, asyncio.get_running_loop().time)
    waiting = asyncio.create_task(events.wait(0, 600))
    await asyncio.sleep(0)
    assert not waiting.done()
    events.append(call(1))
    await asyncio.wait_for(waiting, 60)
    assert events.read(0)[1] == 2
    await asyncio.wait_for(events.wait(0, 600), 60)  # there is something: no wait


async def test_a_waiting_reader_is_woken_when_an_event_is_old_enough():
    events, now = feed(delay_seconds=0.0625)  # as long the reader sleeps, whatever our clock says
    events.append(call(1))
    waiting = asyncio.create_task(events.wait(0, 600))
    await asyncio.sleep(0)
    assert events.read(0)[1] == 0
    assert not waiting.done()
    now[0] += 0.0625
    await asyncio.wait_for(waiting, 60)
    assert events.read(0)[1] == 2


async def test_a_reader_waits_no_longer_than_it_asked_or_the_feed_lives():
    events = Feed(1_000_000, 0.0, asyncio.get_running_loop().time)
    await asyncio.wait_for(events.wait(0, 0.02), 60)
    await asyncio.wait_for(events.wait(0, 0), 60)
    waiting = asyncio.create_task(events.wait(0, 600))
    await asyncio.sleep(0)
    events.close()
    await asyncio.wait_for(waiting, 60)
