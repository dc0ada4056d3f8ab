"""Celery's consumer, with the events that Flower shows sent several at a time.

Celery sends what a task tells (received, started, succeeded) as soon as its loop turns: three messages a task, the
largest part of its thread's time under load. Here they wait for a quarter of a second, or for 24 of them.
"""

import time
from typing import Any

from celery.worker.consumer import Consumer

_FLUSH_SECONDS = 0.25
# A loop that was set up anew has forgotten that it should flush.
_FORGOTTEN_SECONDS = 2.0


class MailConsumer(Consumer):
    """The consumer: `worker_consumer = "worker.consumer:MailConsumer"`."""

    hub: Any
    event_dispatcher: Any
    _flush_wanted_at: float | None = None

    def on_send_event_buffered(self) -> None:  # type: ignore[override]  # Celery's own returns nothing either
        """Called by the threads of the pool as well."""
        now, wanted_at = time.monotonic(), self._flush_wanted_at
        if self.hub and (wanted_at is None or now - wanted_at > _FORGOTTEN_SECONDS):
            self._flush_wanted_at = now
            self.hub.call_soon(self.hub.call_later, _FLUSH_SECONDS, self._flush)  # timers are the loop's own

    def _flush(self) -> None:
        self._flush_wanted_at = None  # before: what comes meanwhile is flushed next time
        if self.event_dispatcher:
            self.event_dispatcher.flush()

    def stop(self) -> None:
        """The last events are sent, if the broker is there."""
        self._flush()
        super().stop()
