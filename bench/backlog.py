"""What waiting costs: messages are parked for an hour, and the line goes on beside them.

Measured at 1,000 and at many (100,000; `--backlog 1000000`): CPU while nothing happens, CPU of a message that is sent
meanwhile, and the memory Redis needs for a waiting message beyond its content.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.end_to_end import Relayed
from bench.figures import OURS, Sample
from bench.load import Load, sized_for
from bench.options import Options
from bench.ours import Ours, total
from bench.processes import spent, wait_until_quiet
from bench.smtp_client import message_of
from sending_events.records import EventRecord
from spool.records import NewMessage, Settlement, new_message_id
from spool.store import Spool

SMALL = 1000
PARKED_SECONDS = 3600.0
GROUP = 500
GROWTH = "backlog large to 1,000, cost a message"
MEMORY = "backlog large, Redis memory a message beyond its content"


@dataclass(frozen=True, slots=True)
class Cost:
    """With so many waiting."""

    waiting_percent: float
    message_ms: float
    redis_bytes_a_message: float


def measure(options: Options) -> Iterator[Sample]:
    """A fresh line for each size, since nothing is forgotten between them."""
    if not options.selected("backlog"):
        return
    costs = {}
    for size, waiting in (("1,000", SMALL), ("large", options.backlog)):
        costs[size] = cost = _cost_with(waiting, options)
        yield Sample(f"backlog {size}, CPU of waiting", OURS, cost.waiting_percent)
        yield Sample(f"backlog {size}, CPU a message sent meanwhile", OURS, cost.message_ms)
    yield Sample(GROWTH, OURS, costs["large"].message_ms / costs["1,000"].message_ms)
    yield Sample(MEMORY, OURS, costs["large"].redis_bytes_a_message / 1024)


def _cost_with(waiting: int, options: Options) -> Cost:
    with Ours(gateways=1, workers=0) as ours:
        empty_bytes = ours.redis_bytes()
        content_bytes = ours.line.run(lambda spool: park(spool, waiting))
        memory = (ours.redis_bytes() - empty_bytes - content_bytes) / waiting
        ours.rewrite_append_log()
        ours.start("worker")
        wait_until_quiet(ours.cpu)
        before, seconds = ours.cpu(), max(3.0, options.seconds)
        time.sleep(seconds)
        percent = 100 * total(spent(before, ours.cpu())) / seconds
        relayed = _Beside(ours, ours)
        load = sized_for(Load(300, 20, 1024), options.seconds, relayed.run)
        relayed.run(load)
        return Cost(percent, 1000 * total(relayed.cpu_seconds) / load.messages, memory)


class _Beside(Relayed):
    """Runs that leave what waits where it is."""

    def clear(self) -> None:
        assert isinstance(self.system, Ours)
        self.system.sink.reset()


async def park(spool: Spool, count: int) -> int:
    """Puts that many 1 KB messages into `parked` the way doors and workers do; the bytes of their contents."""
    content, total_bytes = message_of(1024), 0
    for start in range(0, count, GROUP):
        ids = [new_message_id() for _ in range(min(GROUP, count - start))]
        await asyncio.gather(*(spool.accept(_message(one, content)) for one in ids))
        claimed = await spool.claim(ids, "bench")
        assert len(claimed) == len(ids), "somebody else takes the messages"
        rows = (
            Settlement(one.lease, to="parked", after_seconds=PARKED_SECONDS, reason="throttled", rounds=1)
            for one in claimed
        )
        assert all(await asyncio.gather(*map(spool.settle, rows)))
        total_bytes += len(ids) * len(content)
    return total_bytes


def _message(message_id: str, content: bytes) -> NewMessage:
    return NewMessage(
        message_id=message_id,
        sender="app@example.com",
        recipients=(f"{message_id[17:25]}@example.net",),
        content=content,
        header_message_id=f"{message_id}@example.com",
        event=EventRecord("accepted", message_id, time.time_ns() // 1_000_000).encode(),
    )
