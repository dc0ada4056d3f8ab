"""The Celery application, without tasks: they are in worker/tasks.py.

A task is only a nudge, the spool is the truth (docs/guarantees.md). So everything that would make Celery keep mail
is off: early ack, no prefetch, no results, no ETA, ids only in arguments, since Flower shows those.
"""

from typing import Any
from urllib.parse import quote

from celery import Celery
from kombu import Queue
from kombu.transport import TRANSPORT_ALIASES

from config.queues import ALL_QUEUES, EVENTS_QUEUE, KEY_PREFIX, PROCESS_QUEUE
from config.redis_clients import options_of_url, read_url
from config.settings import Settings

PROCESS_TASK = "process"
PUBLISH_TASK = "publish"

# So long a task begins SES calls; then it gives back what is left of its messages, and another task goes on.
BATCHES_SECONDS = 300
# After that a call may take its own time limit, twice for a large upload, and its outcome may wait for a server that is
# away. Celery's limits only catch bugs: they count from the start of the task and cut whatever is under way.
GRACE_SECONDS = 960


def make_celery(settings: Settings, *, pool: str = "worker.process:MailPool") -> Celery:
    """The application that `celery -A worker.app` finds; also used by the nudge to build its messages."""
    # A transport named in an URL wins over Celery's setting broker_transport, so ours goes by kombu's own name.
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "config.celery_transport:Transport"))
    app = Celery("mailsluice", broker=broker_url(settings.broker_url), set_as_current=False)
    app.conf.update(_options(settings, pool))
    return app


def broker_url(url: str) -> str:
    """Kombu's name for the same server: it calls a unix socket redis+socket; options are read by our transport."""
    plain = url.partition("?")[0]
    said = read_url(url)
    if "@" not in plain and (said.get("username") or said.get("password")):
        login = f"{quote(said.get('username') or '', safe='')}:{quote(said.get('password') or '', safe='')}@"
        plain = plain.replace("://", f"://{login}", 1)
    return plain.replace("unix://", "redis+socket://", 1) if plain.startswith("unix://") else plain


def _options(settings: Settings, pool: str) -> dict[str, Any]:
    return {
        # A lost nudge costs a second: no copies of tasks under way, which a full server could not even keep.
        "broker_transport_options": {
            "global_keyprefix": KEY_PREFIX,
            "url_options": options_of_url(settings.broker_url),
            "socket_connect_timeout": 5,
            "ack_emulation": False,
        },
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # A server that became a replica, or is not yet a master again, answers with errors (READONLY, UNBLOCKED, …).
        # That must not end a worker either: it connects anew until the server takes its commands.
        "broker_channel_error_retry": True,
        "task_queues": [Queue(name, routing_key=name) for name in ALL_QUEUES],
        "task_default_queue": PROCESS_QUEUE,
        "task_default_exchange": PROCESS_QUEUE,
        "task_default_routing_key": PROCESS_QUEUE,
        "task_routes": {PUBLISH_TASK: {"queue": EVENTS_QUEUE, "routing_key": EVENTS_QUEUE}},
        "task_create_missing_queues": False,
        "task_acks_late": False,
        "task_ignore_result": True,
        "task_send_sent_event": False,
        "task_soft_time_limit": BATCHES_SECONDS + GRACE_SECONDS + 2 * settings.relay.call_timeout_seconds,
        "task_time_limit": BATCHES_SECONDS + GRACE_SECONDS + 60 + 2 * settings.relay.call_timeout_seconds,
        "task_serializer": "json",
        "accept_content": ["json"],
        "worker_pool": pool,
        "worker_consumer": "worker.consumer:MailConsumer",
        "worker_concurrency": settings.worker.threads,
        "worker_disable_prefetch": True,
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "enable_utc": True,
        "timezone": "UTC",
    }
