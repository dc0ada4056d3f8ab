"""What tasks tell Flower is sent several at a time, and nothing of it is forgotten."""

import time

import pytest

from worker.consumer import MailConsumer


class Hub:
    """Calls that wait for the loop, and timers."""

    def __init__(self) -> None:
        self.soon: list[tuple] = []
        self.timers: list[tuple] = []

    def call_soon(self, *call) -> None:
        self.soon.append(call)

    def call_later(self, *timer) -> None:
        self.timers.append(timer)

    def turn(self) -> None:
        """Of the loop, long after: everything is called."""
        for calls in (self.soon, self.timers):
            due, calls[:] = list(calls), []
            for call in due:
                (call[0] if calls is self.soon else call[1])(*call[1 if calls is self.soon else 2 :])


class Dispatcher:
    flushes = 0

    def flush(self) -> None:
        self.flushes += 1


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The instant that it is."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def consumer(clock) -> MailConsumer:
    made = MailConsumer.__new__(MailConsumer)
    made.hub, made.event_dispatcher = Hub(), Dispatcher()
    return made


def test_many_events_are_one_flush_a_moment_later(consumer):
    for _ in range(20):
        consumer.on_send_event_buffered()
    assert [call[0] for call in consumer.hub.soon] == [consumer.hub.call_later]
    consumer.hub.turn()
    assert consumer.event_dispatcher.flushes == 1


def test_what_comes_after_a_flush_gets_the_next(consumer):
    for flushes in (1, 2, 3):
        consumer.on_send_event_buffered()
        consumer.hub.turn()
        assert consumer.event_dispatcher.flushes == flushes


def test_a_flush_that_a_new_loop_has_forgotten_is_asked_for_again(consumer, clock):
    consumer.on_send_event_buffered()
    consumer.hub = Hub()
    consumer.on_send_event_buffered()
    assert not consumer.hub.soon
    clock[0] += 2.1
    consumer.on_send_event_buffered()
    consumer.hub.turn()
    assert consumer.event_dispatcher.flushes == 1


def test_without_a_loop_or_a_broker_nothing_happens(consumer):
    consumer.event_dispatcher = None
    consumer.on_send_event_buffered()
    consumer.hub.turn()
    consumer.hub = None
    consumer.on_send_event_buffered()
