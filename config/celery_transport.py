"""Kombu's Redis transport for nudges, made to live on a server that has no memory left.

A worker has to start and to empty such a server: what it works on is in the spool, whose scripts work there. So no
copies of tasks under way are kept (`ack_emulation` off, config/celery_app.py), and a binding that cannot be written
is left out: tasks come by the name of their queue; only remote control (inspect, Flower's buttons) misses it.

It connects as our own clients do: database, timeouts and TLS as redis-py reads them in an URL. Kombu reads them in its
own way, and checks no certificate unless it is told to.
"""

from collections.abc import Mapping
from typing import Any

from kombu.transport import redis as kombu_redis
from redis import exceptions

from config.logs import get_log


class Channel(kombu_redis.Channel):
    """A channel whose bindings are not worth a worker's life."""

    #: What the URL says, config/redis_clients.py; comes with the options of the transport.
    url_options: Mapping[str, Any] = {}
    from_transport_options = (*kombu_redis.Channel.from_transport_options, "url_options")

    def _connparams(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        found: dict[str, Any] = super()._connparams(*arguments, **named)  # type: ignore[misc]
        return {**{name: value for name, value in found.items() if not name.startswith("ssl_")}, **self.url_options}

    def _queue_bind(self, *names: Any) -> None:
        try:
            super()._queue_bind(*names)  # type: ignore[misc]
        except (exceptions.OutOfMemoryError, exceptions.ExecAbortError) as error:
            get_log().warning("worker.binding_skipped", error=str(error))


class Transport(kombu_redis.Transport):
    """Found under the name redis, see config/celery_app.py."""

    Channel = Channel
