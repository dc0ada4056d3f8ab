"""Kombu's Redis transport for nudges, made to live on a server that has no memory left.

A worker has to start and to empty such a server: what it works on is in the spool, whose scripts work there. So no
copies of tasks under way are kept (`ack_emulation` off, config/celery_app.py), and a binding that cannot be written
is left out: tasks come by the name of their queue; only remote control (inspect, Flower's buttons) misses it.
"""

from typing import Any

from kombu.transport import redis as kombu_redis
from redis import exceptions

from config.logs import get_log


class Channel(kombu_redis.Channel):
    """A channel whose bindings are not worth a worker's life."""

    def _queue_bind(self, *names: Any) -> None:
        try:
            super()._queue_bind(*names)  # type: ignore[misc]
        except (exceptions.OutOfMemoryError, exceptions.ExecAbortError) as error:
            get_log().warning("worker.binding_skipped", error=str(error))


class Transport(kombu_redis.Transport):
    """Found under the name redis, see config/celery_app.py."""

    Channel = Channel
