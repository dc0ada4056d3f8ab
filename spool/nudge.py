"""Tells the workers that messages are due: a Celery task with ids, pushed after the commit.

Theory of operation
1. Celery itself builds one message of each task at the start of the process, against kombu's in-memory transport;
   after that only its ids and arguments are replaced. `.delay()` costs half a millisecond and blocks, this 20 µs.
2. The push is not waited for and may fail: the sweeper finds what is due and nobody claims.
3. A long queue gets no further nudges: what waits there wakes the workers anyway, and they find the rest by
   sweeping. So a million messages do not make a million tasks, and under load the sweeper groups ids by fifty.
"""

import asyncio
import base64
import uuid
from collections.abc import Sequence
from typing import Any

import orjson
from kombu import Connection
from redis import asyncio as aioredis
from redis import exceptions

from config.celery_app import PROCESS_TASK, PUBLISH_TASK, make_celery
from config.errors import TryLater
from config.logs import get_log
from config.queues import EVENTS_QUEUE, KEY_PREFIX, PROCESS_QUEUE
from config.settings import Settings
from spool import scripts

IDS_PER_TASK = 50
# Queue length from which on a door leaves nudging to the sweepers.
ENOUGH_TASKS = 32


class Nudger:
    """Pushes nudges from an event loop. `broker` is a client of the server with Celery's queues."""

    def __init__(self, broker: aioredis.Redis, settings: Settings) -> None:
        self._broker = broker
        self._templates = {
            PROCESS_TASK: _template(settings, PROCESS_TASK),
            PUBLISH_TASK: _template(settings, PUBLISH_TASK),
        }
        self._waiting: list[str] = []
        self._pushes: asyncio.Task[None] | None = None
        self._queue_length = 0
        self._log = get_log()

    def process(self, message_ids: Sequence[str]) -> None:
        """These messages are due; returns at once and never raises."""
        self._waiting += message_ids
        if self._pushes is None:
            self._pushes = asyncio.create_task(self._push_waiting())

    async def drain(self) -> None:
        """Returns when nothing waits to be pushed."""
        while self._pushes is not None:
            await asyncio.wait([self._pushes])

    async def queue_length(self) -> int:
        """How many `process` tasks wait for a worker. Raises TryLater or redis errors."""
        self._queue_length = int(await self._broker.llen(KEY_PREFIX + PROCESS_QUEUE))
        return self._queue_length

    async def push(self, groups: Sequence[Sequence[str]], *, is_urgent: bool = False) -> None:
        """One `process` task for each group of ids, whatever the queue's length; urgent ones before all that wait.

        Raises TryLater or redis errors.
        """
        bodies = [self._message(PROCESS_TASK, [list(group)]) for group in groups]
        if bodies:  # workers take from the right, so the first of urgent ones is pushed last
            command, tasks = ("RPUSH", bodies[::-1]) if is_urgent else ("LPUSH", bodies)
            arguments: list[scripts.Argument] = [command, KEY_PREFIX + PROCESS_QUEUE, *tasks]
            self._queue_length = int(await scripts.PUSH(self._broker, arguments))

    async def push_publish(self, destination: str) -> None:
        """A `publish` task for a destination, unless enough of them wait already. Raises TryLater or redis errors."""
        if int(await self._broker.llen(KEY_PREFIX + EVENTS_QUEUE)) >= ENOUGH_TASKS:
            return
        task = self._message(PUBLISH_TASK, [destination])
        await scripts.PUSH(self._broker, ["LPUSH", KEY_PREFIX + EVENTS_QUEUE, task])

    async def _push_waiting(self) -> None:
        try:
            while self._waiting:
                ids, self._waiting = self._waiting, []
                if self._queue_length > ENOUGH_TASKS:
                    await self.queue_length()
                if self._queue_length <= ENOUGH_TASKS:
                    await self.push([ids[start : start + IDS_PER_TASK] for start in range(0, len(ids), IDS_PER_TASK)])
        except (TryLater, exceptions.RedisError, OSError) as error:
            self._log.warning("nudge.failed", error=str(error))
        finally:
            self._pushes = None

    def _message(self, task: str, arguments: list[Any]) -> bytes:
        template = self._templates[task]
        task_id = str(uuid.uuid4())
        body = orjson.dumps([arguments, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
        headers = {**template["headers"], "id": task_id, "root_id": task_id, "argsrepr": _shown(arguments[0])}
        properties = {
            **template["properties"],
            "correlation_id": task_id,
            "delivery_tag": str(uuid.uuid4()),
        }
        return orjson.dumps(
            {**template, "body": base64.b64encode(body).decode(), "headers": headers, "properties": properties}
        )


def _shown(argument: Any) -> str:
    """What Flower shows of a task: never more than a line."""
    if isinstance(argument, list) and len(argument) > 1:
        return f"{argument[0]} and {len(argument) - 1} more"
    return argument[0] if isinstance(argument, list) and argument else str(argument)


def _template(settings: Settings, task: str) -> dict[str, Any]:
    """A message of this task exactly as Celery puts it on the wire."""
    app = make_celery(settings)
    with Connection("memory://", transport_options={"polling_interval": 0}) as connection:
        channel: Any = connection.default_channel
        producer = app.amqp.Producer(channel)
        queue = EVENTS_QUEUE if task == PUBLISH_TASK else PROCESS_QUEUE
        app.send_task(task, args=[[]], producer=producer, queue=app.amqp.queues[queue])  # type: ignore[arg-type]
        message: dict[str, Any] = channel._queue_for(queue).get_nowait()  # noqa: SLF001 - only there is the wire form
        channel.close()
    return message
