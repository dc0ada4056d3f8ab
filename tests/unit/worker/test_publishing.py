"""Rounds of destinations in a worker: a task waits a moment only, whatever its destination does."""

import asyncio

import pytest
from structlog.testing import capture_logs

from config.errors import TryLater
from config.logs import get_log
from worker.publishing import Rounds


class Publisher:
    """Publishes what the test lets it: names in `hanging` wait for ever, those in `trouble` raise."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.hanging: set[str] = set()
        self.trouble: dict[str, Exception] = {}
        self.taken = 1

    async def publish(self, name: str) -> int:
        self.begun.append(name)
        try:
            if name in self.hanging:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        if name in self.trouble:
            raise self.trouble[name]
        return self.taken


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


def rounds_of(publisher: Publisher, news: list[str], **options: int) -> Rounds:
    return Rounds(publisher, get_log(), lambda: news.append("taken"), stop_seconds=0.05, **options)


async def test_a_round_that_is_quick_is_waited_for_and_what_it_took_is_news(publisher):
    news: list[str] = []
    rounds = rounds_of(publisher, news)
    await rounds.begin("file")
    assert (publisher.begun, news) == (["file"], ["taken"])
    publisher.taken = 0
    await rounds.begin("file")
    assert (publisher.begun, news) == (["file"] * 2, ["taken"])


async def test_hanging_destinations_hold_no_task_and_delay_no_other(publisher):
    news: list[str] = []
    rounds = rounds_of(publisher, news)
    publisher.hanging = {f"hook-{number}" for number in range(40)}
    async with asyncio.timeout(20):  # half a second each: one after the other they would take longer
        await asyncio.gather(*(rounds.begin(name) for name in publisher.hanging))
        await rounds.begin("good")
    assert news == ["taken"]
    await rounds.begin("hook-1")  # it has its round already
    assert len(publisher.begun) == 41
    await rounds.finish()
    assert sorted(publisher.cancelled) == sorted(publisher.hanging)


async def test_rounds_of_sets_are_bounded_in_number_and_the_settings_destinations_have_places_of_their_own(publisher):
    rounds = rounds_of(publisher, [], most=2)
    publisher.hanging = {"a:one", "a:two", "log"}
    await asyncio.gather(*(rounds.begin(name) for name in ("a:one", "a:two", "log")))
    await rounds.begin("a:three")
    await rounds.begin("file")
    assert sorted(publisher.begun) == ["a:one", "a:two", "file", "log"]
    await rounds.finish()
    await rounds.begin("a:three")
    assert publisher.begun[-1] == "a:three"
    await rounds.finish()


@pytest.mark.parametrize("error", [TryLater("away", detail="gone"), ZeroDivisionError("a bug")])
async def test_an_error_is_logged_and_ends_its_round_alone(publisher, error):
    publisher.trouble = {"bad": error}
    rounds = rounds_of(publisher, [])
    with capture_logs() as lines:
        await rounds.begin("bad")
        await rounds.begin("good")
    assert publisher.begun == ["bad", "good"]
    [line] = [one for one in lines if one["event"] == "events.round_failed"]
    assert line["destination"] == "bad"
