"""A worker that an operator drains: it takes no more tasks, finishes what it has, and goes on living.

The operator writes the worker's name into the spool's hash of drains; the heartbeat reads it every two seconds and
calls `obey`. Celery's consumers are then cancelled from inside, exactly as `celery control cancel_consumer` does it,
so that other workers get the tasks; without the field they are added again. A task that was already on its way to
this process is given back to the queue by WorkerProcess.
"""

from typing import Any

from celery.signals import worker_ready

from config.logs import get_log


class Intake:
    """Whether Celery brings tasks to this process. `obey` may be called from any thread, again and again."""

    def __init__(self) -> None:
        self._consumer: Any = None
        self._queues: tuple[str, ...] = ()
        self.is_open = True
        self._log = get_log()

    def attach(self) -> None:
        """Waits for the consumer, which exists only after the pool has started; a reconnection tells it anew."""
        worker_ready.connect(self._on_ready, weak=False, dispatch_uid="mailsluice.intake")

    def obey(self, *, is_drained: bool) -> None:
        """Opens or closes the intake."""
        if self.is_open != is_drained:
            return
        self.is_open = not is_drained
        if is_drained:
            self._log.warning("worker.drained")
        else:
            self._log.warning("worker.resumed")
        if self._consumer is not None:
            self._consumer.call_soon(self._apply)

    def _on_ready(self, sender: Any, **_: Any) -> None:
        self._consumer = sender
        self._queues = self._queues or tuple(sender.app.amqp.queues.consume_from)
        if not self.is_open:
            self._apply()

    def _apply(self) -> None:
        """In Celery's own thread."""
        for name in self._queues:
            if self.is_open:
                self._consumer.add_task_queue(name)
            else:
                self._consumer.cancel_task_queue(name)
