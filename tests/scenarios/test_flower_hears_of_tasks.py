"""Every task is told with its beginning and end to whoever listens, as Flower does."""

import threading
from collections import Counter

import pytest

from config.celery_app import make_celery
from tests.line import Line, wait_until

pytestmark = pytest.mark.processes


def test_every_task_is_told_from_its_arrival_to_its_end():
    seen: list[tuple[str, str]] = []
    with Line() as line:
        app = make_celery(line.settings)
        line.worker()
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(
                connection, handlers={"*": lambda event: seen.append((event["type"], event.get("uuid", "")))}
            )
            thread = threading.Thread(target=receiver.capture, kwargs={"limit": None, "timeout": None})
            thread.start()
            try:
                wait_until(lambda: seen, "the worker is heard of")
                ids = [line.submit()[0] for _ in range(20)]
                line.wait_for(ids)

                def is_complete() -> bool:
                    events_of_tasks = Counter(task for kind, task in list(seen) if kind.startswith("task-"))
                    return len(events_of_tasks) >= 5 and set(events_of_tasks.values()) == {3}

                wait_until(is_complete, "each task was received, was started and succeeded")
            finally:
                receiver.should_stop = True
                thread.join(60)
    kinds = {kind for kind, _ in seen if kind.startswith("task-")}
    assert kinds == {"task-received", "task-started", "task-succeeded"}
