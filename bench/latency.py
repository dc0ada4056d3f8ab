"""Latency at 50 messages a second: from the final dot to the 250, and to the arrival of the whole call in the sink.

An open load: a message leaves every 20 ms, whether the one before was answered or not. Message and arrival are
stamped with the same monotonic clock; 1 KB messages over five sessions that stay.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from bench.figures import Sample, percentile
from bench.options import Options
from bench.ours import Ours
from bench.postfix import Postfix
from bench.sink import Sink, wait_for_arrivals
from bench.smtp_client import Connection, message_of

PER_SECOND = 50
SESSIONS = 5
WARM_UP = 50
PREFIX = "latency at 50/s, "


@dataclass(frozen=True, slots=True)
class Timed:
    """One message's instants, time.monotonic."""

    key: str
    dot_at: float
    ok_at: float


def measure(options: Options) -> Iterator[Sample]:
    """One run after another on each system; each at least 10 s, so that a p99 means something."""
    if not options.selected(PREFIX):
        return
    messages = round(PER_SECOND * max(10.0, options.seconds)) if options.runs > 1 else 3 * PER_SECOND
    with ExitStack() as stack:
        ours = stack.enter_context(Ours(workers=1))
        systems: list[tuple[Ours | Postfix, Sink]] = [(ours, ours.sink)]
        if options.has_postfix:
            sink = stack.enter_context(Sink("smtp"))
            systems.append((stack.enter_context(Postfix(sink.port)), sink))
        for system, sink in systems:
            _timed(system.port, sink, WARM_UP)
        for _ in range(options.runs):
            for system, sink in systems:
                yield from _samples(system.name, *_timed(system.port, sink, messages))


def _timed(port: int, sink: Sink, messages: int) -> tuple[list[Timed], dict[str, float]]:
    sink.reset()
    timed = asyncio.run(paced(port, messages))
    wait_for_arrivals(sink.arrived, messages)
    return timed, sink.stamps()


def _samples(who: str, timed: Sequence[Timed], stamps: dict[str, float]) -> Iterator[Sample]:
    answered = [1000 * (one.ok_at - one.dot_at) for one in timed]
    relayed = [1000 * (stamps[one.key] - one.dot_at) for one in timed]
    for percent in (50, 99):
        yield Sample(f"{PREFIX}DATA to 250, p{percent}", who, percentile(answered, percent))
        yield Sample(f"{PREFIX}DATA to SES call, p{percent}", who, percentile(relayed, percent))


async def paced(port: int, messages: int, *, per_second: float = PER_SECOND) -> list[Timed]:
    """Sends one message every 1/per_second seconds, each over a session that is free then."""
    free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
    for _ in range(SESSIONS):
        free.put_nowait(await Connection.open(port))
    content, timed = message_of(1024), []

    async def send(number: int) -> None:
        key, connection = f"t{number}", await free.get()
        await connection.envelope("app@example.com", f"{key}@example.net")
        dot_at = time.monotonic()
        (await connection.content(content)).expect(250)
        timed.append(Timed(key, dot_at, time.monotonic()))
        free.put_nowait(connection)

    started = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        for number in range(messages):
            await asyncio.sleep(max(0.0, started + number / per_second - asyncio.get_running_loop().time()))
            group.create_task(send(number))
    while not free.empty():
        await free.get_nowait().quit()
    return timed
