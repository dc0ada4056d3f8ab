"""The reader: positions, repeats, garbage, sources and spools that are away."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pytest
import structlog

from config.errors import TryLater
from config.failpoints import Failpoint, Failpoints
from spool.records import new_message_id
from spool.scripts import StoreUnavailable
from spool.tally import Tally
from worker.feedback.horizon import Horizon
from worker.feedback.patience import pause_seconds, read_on
from worker.feedback.reader import NotAllApplied, Position, Reader, position_of
from worker.feedback.simulator_feed import FeedAway, Page
from worker.feedback.surroundings import Surroundings

URL = "http://127.0.0.1:2581"


def a_line(message_id: str, number: int = 1, event_type: str = "Send") -> bytes:
    mail = {
        "timestamp": "2016-10-14T05:02:16.645Z",
        "messageId": "ses-id",
        "tags": {"sluice-batch": [f"{message_id}.{number}"]},
    }
    return orjson.dumps({"eventType": event_type, "mail": mail})


class FakeFeed:
    """A list of lines, as the simulator keeps it."""

    def __init__(self, *lines: bytes, page: int = 1000) -> None:
        self.source = URL
        self.feed = "one"
        self.lines = list(lines)
        self.page = page
        self.reads: list[int] = []
        self.troubles: list[TryLater] = []

    async def read(self, since: int) -> Page:
        self.reads.append(since)
        if self.troubles:
            raise self.troubles.pop()
        lines = tuple(self.lines[since : since + self.page])
        end = min(since, len(self.lines)) + len(lines)
        return Page(self.feed, lines, end, is_cut=len(lines) == self.page)


class FakeSpool:
    """What the reader asks of a spool."""

    def __init__(self) -> None:
        self.positions: dict[str, str] = {}
        self.seen_at_ms = 0
        self.writes = 0

    async def feedback_position(self, source: str) -> str:
        return self.positions.get(source, "")

    async def feedback_seen(self, source: str, position: str, seen_at_ms: int) -> None:
        self.positions[source] = position
        self.seen_at_ms = seen_at_ms or self.seen_at_ms
        self.writes += 1


class FakeApplier:
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.applied: list[tuple[str, int]] = []
        self.answers: dict[str, Any] = {}
        self.troubles: list[TryLater] = []

    async def apply_all(self, events: Sequence[Mapping[str, Any]]) -> list[Any]:
        if self.troubles:
            raise self.troubles.pop()
        batches = [event["mail"]["tags"]["sluice-batch"][0].rpartition(".") for event in events]
        self.applied += [(message_id, int(number)) for message_id, _, number in batches]
        return [self.answers.get(message_id, "written") for message_id, _, _ in batches]


class FakeInbox:
    """Remembers what it kept."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    async def keep(self, event: bytes, *, after_seconds: float = 0, is_unknown: bool = False) -> None:
        assert after_seconds > 0
        self.kept.append(event)


class Stand:
    """A reader on fakes."""

    def __init__(self, *lines: bytes, page: int = 1000, failpoints: str = "") -> None:
        self.spool, self.feed, self.tally = FakeSpool(), FakeFeed(*lines, page=page), Tally()
        self.applier, self.inbox = FakeApplier(), FakeInbox()
        self.pauses: list[float] = []
        self.now_ms = 0
        self.failpoints = failpoints
        self.reader = self.anew()

    def anew(self) -> Reader:
        """The reader after a restart of its process."""
        around = Surroundings(self.tally, Failpoints(self.failpoints), structlog.get_logger(), self._clock_ms)
        horizon = Horizon(self.spool, [URL])
        self.reader = Reader(self.spool, self.feed, self.applier, self.inbox, horizon, around=around)
        return self.reader

    async def _clock_ms(self) -> int:
        self.now_ms += 1000
        return self.now_ms

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    @property
    def counted(self) -> dict[str, int]:
        return dict(self.tally._counts)


async def test_every_event_is_applied_and_the_position_written_after_it():
    one, two = new_message_id(), new_message_id()
    stand = Stand(a_line(one), a_line(one, event_type="Delivery"), a_line(two, 3))
    assert await stand.reader.read_page() == 3
    assert stand.applier.applied == [(one, 1), (one, 1), (two, 3)]
    assert stand.spool.positions == {URL: "one:3"}
    assert stand.spool.seen_at_ms == 1000  # from before the read
    assert await stand.reader.read_page() == 0
    assert stand.feed.reads == [0, 3]
    assert stand.spool.seen_at_ms == 2000  # a read without events is news too: there were none


async def test_garbage_is_counted_and_stops_nothing():
    ours = new_message_id()
    stand = Stand(b"garbage", b"[1]", b"\xff\xfe", a_line(ours))
    await stand.reader.read_page()
    assert stand.applier.applied == [(ours, 1)]
    assert stand.counted == {"feedback_events:garbage": 3}
    assert stand.spool.positions == {URL: "one:4"}


async def test_an_event_about_a_send_that_is_not_known_yet_goes_to_the_inbox():
    known, unknown = new_message_id(), new_message_id()
    stand = Stand(a_line(unknown), a_line(known))
    stand.applier.answers[unknown] = "unknown"
    await stand.reader.read_page()
    assert [orjson.loads(one) for one in stand.inbox.kept] == [orjson.loads(a_line(unknown))]
    assert stand.spool.positions == {URL: "one:2"}


async def test_a_restart_goes_on_where_the_last_one_stopped():
    stand = Stand(a_line(new_message_id()), a_line(new_message_id()))
    await stand.reader.read_page()
    stand.feed.lines.append(a_line(late := new_message_id()))
    await stand.anew().read_page()
    assert stand.feed.reads == [0, 2]
    assert stand.applier.applied[2:] == [(late, 1)]


async def test_a_crash_before_the_position_repeats_the_page_and_skips_nothing():
    one, two = new_message_id(), new_message_id()
    stand = Stand(a_line(one), a_line(two), failpoints="feedback.before_position=raise")
    with pytest.raises(Failpoint):
        await stand.reader.read_page()
    assert stand.spool.writes == 0
    stand.failpoints = ""
    await stand.anew().read_page()
    assert stand.applier.applied == [(one, 1), (two, 1)] * 2


async def test_while_a_backlog_is_read_nothing_says_that_the_end_was_reached():
    stand = Stand(*(a_line(new_message_id()) for _ in range(5)), page=2)
    await stand.reader.read_page()
    await stand.anew().read_page()
    assert stand.spool.seen_at_ms == 0
    await stand.reader.read_page()
    assert stand.spool.seen_at_ms == 3000
    assert len(stand.applier.applied) == 5
    assert stand.feed.reads == [0, 2, 4]


@pytest.mark.parametrize("feed", ["two", "one"])
async def test_a_feed_that_began_anew_is_read_from_its_start(feed):
    stand = Stand(*(a_line(new_message_id()) for _ in range(3)))
    await stand.reader.read_page()
    fresh = new_message_id()
    stand.feed.feed = feed
    stand.feed.lines = [a_line(fresh)] * (4 if feed == "two" else 1)
    await stand.reader.read_page()
    await stand.reader.read_page()
    assert stand.feed.reads == [0, 3, 0]
    assert set(stand.applier.applied[3:]) == {(fresh, 1)}


async def test_a_position_in_another_source_counts_for_nothing():
    stand = Stand(a_line(new_message_id()))
    stand.spool.positions["http://elsewhere:2581"] = "one:77"
    await stand.reader.read_page()
    assert stand.feed.reads == [0]


async def until(stand: Stand, writes: int) -> None:
    running = asyncio.ensure_future(read_on(stand.reader, structlog.get_logger(), stand.sleep))
    async with asyncio.timeout(60):
        while stand.spool.writes < writes:
            await asyncio.sleep(0)
    running.cancel()


async def test_a_source_that_is_away_is_asked_again_with_growing_pauses():
    stand = Stand(a_line(ours := new_message_id()))
    stand.feed.troubles = [FeedAway("it does not answer")] * 4
    with structlog.testing.capture_logs() as logs:
        await until(stand, writes=1)
    assert stand.pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert stand.applier.applied == [(ours, 1)]
    told = [line["event"] for line in logs if line["event"] in {"feedback.away", "feedback.back"}]
    assert told == ["feedback.away", "feedback.back"]


async def test_a_broken_source_is_asked_again_and_what_lasts_is_said_every_ten_minutes():
    class Broken:
        source, idle_seconds, reads = "broken", 0.0, 0

        async def read_page(self) -> int:
            self.reads += 1
            if self.reads == 400:
                raise asyncio.CancelledError
            raise KeyError("a bug")

    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    with structlog.testing.capture_logs() as logs, pytest.raises(asyncio.CancelledError):
        await read_on(Broken(), structlog.get_logger(), sleep, lambda: sum(pauses))
    said = [line["failures"] for line in logs if line["event"] == "feedback.broken"]
    assert said[0] == 1
    assert len(said) == 1 + int(sum(pauses) // 600)


async def test_a_feed_whose_events_have_to_wait_is_read_again_from_there():
    stand = Stand(a_line(ours := new_message_id()), a_line(new_message_id()))
    stand.applier.answers = {ours: "later"}
    with pytest.raises(NotAllApplied):
        await stand.reader.read_page()
    assert stand.spool.writes == 0


async def test_a_spool_that_is_away_in_the_middle_of_a_page_gets_the_page_again():
    ids = [new_message_id() for _ in range(45)]
    stand = Stand(*(a_line(one) for one in ids))
    stand.applier.troubles = [StoreUnavailable("the spool does not answer")]
    await until(stand, writes=1)
    assert {one for one, _ in stand.applier.applied} == set(ids)
    assert stand.feed.reads[:2] == [0, 0]


def test_pauses_grow_to_a_limit():
    pauses = [pause_seconds(failures) for failures in range(1, 100)]
    assert pauses == sorted(pauses)
    assert pauses[0] == 0.1
    assert pauses[-1] == 5.0


@pytest.mark.parametrize("position", [Position("a feed:with colons", 17), Position("", 0)])
def test_a_position_comes_back_as_it_was_written(position):
    assert position_of(position.encode()) == position


@pytest.mark.parametrize("text", ["", "garbage", "one:", "one:x", "one:-1"])
def test_a_position_of_another_form_is_the_start(text):
    assert position_of(text) == Position()
