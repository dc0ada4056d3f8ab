import threading

import pytest

from spool.tally import MAX_NAMES, Tally, histograms


class FakePipeline:
    def __init__(self, server: "FakeServer") -> None:
        self._server = server
        self._rows: list[tuple[str, str, int]] = []

    def hincrby(self, key: str, name: str, by: int) -> None:
        self._rows.append((key, name, by))

    async def execute(self) -> None:
        if self._server.is_down:
            raise ConnectionRefusedError
        self._server.transactions += 1
        for key, name, by in self._rows:
            self._server.hashes.setdefault(key, {})
            self._server.hashes[key][name] = self._server.hashes[key].get(name, 0) + by


class FakeServer:
    def __init__(self) -> None:
        self.is_down = False
        self.transactions = 0
        self.hashes: dict[str, dict[str, int]] = {}

    def pipeline(self, *, transaction: bool) -> FakePipeline:
        assert transaction
        return FakePipeline(self)


async def test_counts_are_added_once_to_the_clusters():
    server, tally = FakeServer(), Tally()
    tally.count("smtp_refused:5.7.1")
    tally.count("smtp_refused:5.7.1", 2)
    await tally.flush(server)
    await tally.flush(server)
    assert server.hashes == {"{ms}:counters": {"smtp_refused:5.7.1": 3}}


async def test_a_flush_with_nothing_to_add_sends_nothing():
    server = FakeServer()
    await Tally().flush(server)
    assert server.transactions == 0


async def test_numbers_wait_for_a_server_that_is_down():
    server, tally = FakeServer(), Tally()
    server.is_down = True
    tally.count("a")
    tally.observe("step:relay", 1)
    await tally.flush(server)
    tally.count("a")
    server.is_down = False
    await tally.flush(server)
    assert server.hashes["{ms}:counters"] == {"a": 2}
    assert server.hashes["{ms}:durations"] == {"step:relay|1": 1, "step:relay|us": 1_000_000}


async def test_a_duration_falls_into_the_first_bucket_that_holds_it():
    server, tally = FakeServer(), Tally()
    for seconds in (0.0, 0.001, 0.0011, 0.07, 60, 61):
        tally.observe("task:process", seconds)
    await tally.flush(server)
    histogram = histograms(server.hashes["{ms}:durations"])["task:process"]
    buckets = dict(histogram.buckets)
    assert buckets["0.001"] == 2
    assert buckets["0.0025"] == 3
    assert buckets["0.05"] == 3
    assert buckets["0.1"] == 4
    assert buckets["60"] == 5
    assert buckets["+Inf"] == histogram.count == 6
    assert histogram.sum_seconds == pytest.approx(121.0721)


async def test_durations_of_different_names_do_not_mix():
    server, tally = FakeServer(), Tally()
    tally.observe("step:load", 0.1)
    tally.observe("step:relay", 0.1)
    tally.observe("step:relay", 0.1)
    await tally.flush(server)
    found = histograms(server.hashes["{ms}:durations"])
    assert {name: one.count for name, one in found.items()} == {"step:load": 1, "step:relay": 2}


async def test_too_many_names_end_in_one():
    server, tally = FakeServer(), Tally()
    for number in range(MAX_NAMES + 10):
        tally.count(f"smtp_refused:{number}")
    await tally.flush(server)
    names = server.hashes["{ms}:counters"]
    assert len(names) == MAX_NAMES + 1
    assert names["other_names"] == 10


async def test_threads_may_count_at_once():
    server, tally = FakeServer(), Tally()

    def count_often() -> None:
        for _ in range(5_000):
            tally.count("a")

    threads = [threading.Thread(target=count_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    await tally.flush(server)
    assert server.hashes["{ms}:counters"] == {"a": 20_000}
