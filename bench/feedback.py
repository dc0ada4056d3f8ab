"""What applying SES's events costs: `python -m bench.feedback`.

Messages that SES took lie in the spool; their Delivery events, or bounces, come out of a queue in memory, 80 a read as
from SQS, and are applied as `mailsluice feedback` does it: events a second and CPU an event of the one process, and
what is kept in Redis. Redis runs beside it with fsync always. What SQS itself takes is not in it.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import uvloop

from bench.figures import aligned
from config.failpoints import Failpoints
from config.logs import get_log, set_up_logging
from config.settings import DataSettings, LogSettings, Settings
from spool.feedback_inbox import FeedbackInbox
from spool.scripts import answer_of
from spool.store import Spool
from spool.tally import Tally
from tests.feedback_stand import FeedbackStand, a_bounce, a_delivery
from tests.servers import RedisServer
from tests.store.messages import open_test_spool
from worker.feedback.horizon import Horizon
from worker.feedback.process import make_applier
from worker.feedback.queue_reader import QueueReader
from worker.feedback.sqs_queue import Batch, QueueMessage
from worker.feedback.surroundings import Surroundings

_PAGE = 80
_RECIPIENTS = 10


class MemoryQueue:
    """Hands its messages out once."""

    source = "memory"

    def __init__(self, bodies: Sequence[str]) -> None:
        self._waiting = [QueueMessage(body, str(number), 0) for number, body in enumerate(bodies)]

    async def receive(self) -> Batch:
        page, self._waiting = tuple(self._waiting[:_PAGE]), self._waiting[_PAGE:]
        return Batch(page, is_end=len(page) < _PAGE)

    async def delete(self, messages: Sequence[QueueMessage]) -> int:
        assert messages
        return 0


def _enveloped(event: Any) -> str:
    envelope = {
        "Type": "Notification",
        "TopicArn": "arn:aws:sns:us-east-1:123456789012:e",
        "Message": orjson.dumps(event).decode(),
    }
    return orjson.dumps(envelope).decode()


async def _applied(spool: Spool, settings: Settings, bodies: Sequence[str]) -> tuple[float, float]:
    """Seconds and CPU seconds of this process until everything is applied."""

    async def clock_ms() -> int:
        seconds, microseconds = await answer_of(spool.redis.time())
        return int(seconds) * 1000 + int(microseconds) // 1000

    tally, log, failpoints = Tally(), get_log(), Failpoints("")
    applier = make_applier(settings, spool, tally=tally, failpoints=failpoints, log=log)
    around = Surroundings(tally, failpoints, log, clock_ms)
    queue = MemoryQueue(bodies)
    reader = QueueReader(queue, applier, FeedbackInbox(spool.redis), Horizon(spool, [queue.source]), around)
    began, cpu = time.perf_counter(), time.process_time()
    while await reader.read_page():
        pass
    return time.perf_counter() - began, time.process_time() - cpu


async def _measured(events: int) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("events", "events/s", "CPU ms an event", "Redis bytes an event, all kept")]
    with RedisServer() as server, tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=DataSettings(dir=Path(folder)))
        async with open_test_spool(server.url, Path(folder)) as spool:
            stand = FeedbackStand(spool)
            count = events // _RECIPIENTS
            ids = [await stand.sent(recipients=_RECIPIENTS, ses_id=f"ses-{number}") for number in range(count)]
            for name, make in (("Delivery", a_delivery), ("Bounce", a_bounce)):
                made = [
                    make(message_id, f"user{index}@example.net", messageId=f"ses-{number}")
                    for index in range(_RECIPIENTS)
                    for number, message_id in enumerate(ids)
                ]
                bodies = [_enveloped(event) for event in made]
                before = int((await spool.redis.info("memory"))["used_memory"])
                for again in ("", " again"):
                    seconds, cpu = await _applied(spool, settings, bodies)
                    grown = int((await spool.redis.info("memory"))["used_memory"]) - before
                    rate, each = f"{len(bodies) / seconds:,.0f}", f"{1000 * cpu / len(bodies):.2f}"
                    rows.append((name + again, rate, each, f"{grown / len(bodies):,.0f}"))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=20_000, help="events of each kind")
    chosen = parser.parse_args(arguments)
    set_up_logging(LogSettings(level="error"), "bench")
    rows = uvloop.run(_measured(chosen.events))
    sys.stdout.write(f"{os.cpu_count()} cores, Python {platform.python_version()}\n{aligned(rows)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
