"""The queue without its wire: what is hidden comes back, the newest receipt counts, and the oldest go."""

from simulator.queue import Queue


def put(queue: Queue, *texts: str, now: float = 0.0, visible_at: float = 0.0) -> None:
    for text in texts:
        queue.put(lambda text=text: text, 0, visible_at, now)  # type: ignore[misc]


def bodies(queue: Queue, most: int = 10, *, hidden: float = 30, now: float = 0.0) -> list[str]:
    return [message.body() for message in queue.receive(most, hidden, now, 0)]


def test_messages_come_in_their_order_and_so_many_as_were_asked_for() -> None:
    queue = Queue(100)
    put(queue, "a", "b", "c")
    assert bodies(queue, 2) == ["a", "b"]
    assert bodies(queue, 2) == ["c"]
    assert bodies(queue, 2) == []


def test_what_was_not_deleted_comes_back_behind_the_others() -> None:
    queue = Queue(100)
    put(queue, "a")
    assert bodies(queue, hidden=5) == ["a"]
    put(queue, "b", now=1)
    assert queue.next_visible_at() == 5
    assert bodies(queue, now=5) == ["b", "a"]


def test_a_delayed_message_is_not_there_before_its_time() -> None:
    queue = Queue(100)
    put(queue, "later", visible_at=3)
    assert bodies(queue, now=2.9) == []
    assert queue.counts(2.9) == (0, 0, 1)
    assert bodies(queue, now=3) == ["later"]


def test_only_the_newest_receipt_deletes() -> None:
    queue = Queue(100)
    put(queue, "a")
    (first,) = queue.receive(1, 0, 0, 0)
    old = first.receipt
    (second,) = queue.receive(1, 30, 0, 0)
    assert queue.delete(old)
    assert queue.counts(1) == (0, 1, 0)
    assert queue.delete(second.receipt)
    assert queue.counts(1) == (0, 0, 0)
    assert queue.delete(second.receipt)  # twice is no mistake
    assert not queue.delete("nonsense")


def test_visibility_is_changed_for_what_is_in_flight_alone() -> None:
    queue = Queue(100)
    put(queue, "a")
    receipt = queue.receive(1, 10, 0, 0)[0].receipt
    assert queue.change_visibility(receipt, 100, now=1) is True
    assert bodies(queue, now=50) == []
    assert queue.change_visibility(receipt, 0, now=51) is True
    assert bodies(queue, now=51) == ["a"]
    assert queue.change_visibility(receipt, 5, now=52) is False
    assert queue.change_visibility("nonsense", 5, now=52) is None


def test_the_oldest_go_when_there_are_too_many_and_are_counted() -> None:
    queue = Queue(2)
    put(queue, "a", "b", "c")
    assert queue.dropped == 1
    assert bodies(queue) == ["b", "c"]


def test_a_purged_queue_is_empty() -> None:
    queue = Queue(100)
    put(queue, "a", "b")
    bodies(queue, 1)
    queue.purge()
    assert (bodies(queue, now=100), queue.counts(100)) == ([], (0, 0, 0))
