"""What publishing costs: `python -m bench.events`.

- rate: events that wait in the spool are given to one destination of a configuration set, Firehose and a webhook, by
  the rounds of one worker process: events a second and CPU an event (reading, rendering, giving away; one process with
  nothing else to do, Redis and the sink beside it).
- delay: events are written at a steady rate to a webhook, alone and then beside destinations that never answer: how
  long after it was written an event arrives. Workers look for news each 0.2 s, which is most of the delay.
"""

import argparse
import asyncio
import os
import platform
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop

from bench.figures import aligned, percentile
from config.failpoints import Failpoints
from config.logs import get_log, set_up_logging
from config.settings import DataSettings, EventsSettings, LogSettings, Settings
from sending_events.configuration_sets.records import ConfigurationSet, EventDestination, Kind
from sending_events.destinations.opening import make_context, open_target
from sending_events.publisher import Publisher
from sending_events.records import EventRecord
from sending_events.registry import Registry
from spool import keys
from spool.store import Spool
from tests.publishing import accept, opened_spool
from tests.servers import RedisServer
from worker.publishing import Rounds

HOUSE = Path(__file__).resolve().parents[1]
SET = "bench"
# As workers look for news.
_LOOK_SECONDS = 0.2
_MESSAGES = 500
_RATE_PER_SECOND = 200


class Sets:
    """One set with the destinations of a measurement."""

    def __init__(self, destinations: Sequence[EventDestination]) -> None:
        self._sets = (ConfigurationSet(SET, tuple(destinations), is_of_file=True),)

    async def version(self) -> str:
        return "1"

    async def all(self) -> tuple[ConfigurationSet, ...]:
        return self._sets


class Line:
    """A spool with messages, a sink, and the rounds of a worker process between them."""

    def __init__(self, spool: Spool, url: str) -> None:
        self.spool = spool
        self.url = url
        self.message_ids: list[str] = []

    async def write(self, number: int) -> None:
        """So many events, the messages in turn."""
        at_ms = int(time.time() * 1000)
        pipeline = self.spool.redis.pipeline(transaction=False)
        for one in range(number):
            message_id = self.message_ids[one % len(self.message_ids)]
            record = EventRecord("send", message_id, at_ms, (0,), "0102-ses", attempt=1, configuration_set=SET)
            pipeline.xadd(keys.EVENTS, {"d": record.encode()})
        await pipeline.execute()

    async def figures(self) -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/figures") as answer:
            found: dict[str, Any] = orjson.loads(await answer.read())
            return found

    def publisher(self, destinations: Sequence[EventDestination], folder: Path) -> tuple[Publisher, Any]:
        settings = Settings(data=DataSettings(dir=folder), events=EventsSettings(allowed_targets=("127.0.0.1",)))
        context = make_context(settings, self.spool.redis)
        registry = Registry({}, Sets(destinations), partial(open_target, context=context))
        return Publisher(self.spool, registry, Failpoints("")), context


@asynccontextmanager
async def published(line: Line, destinations: Sequence[EventDestination], folder: Path) -> AsyncIterator[asyncio.Event]:
    """Rounds as the announcer and the tasks of a worker make them, from when the event that this gives is set."""
    publisher, context = line.publisher(destinations, folder)
    await publisher.with_work()  # the cursors are at the end of the stream now
    rounds, may_begin = Rounds(publisher, get_log(), lambda: None), asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            announcer = group.create_task(_announce(publisher, rounds, may_begin, group))
            yield may_begin
            announcer.cancel()
        await rounds.finish()
    finally:
        await context.close()


async def _announce(publisher: Publisher, rounds: Rounds, may_begin: asyncio.Event, group: asyncio.TaskGroup) -> None:
    await may_begin.wait()
    while True:
        for name in await publisher.with_work():
            group.create_task(rounds.begin(name))
        await asyncio.sleep(_LOOK_SECONDS)


def destination(name: str, kind: Kind, target: dict[str, Any]) -> EventDestination:
    return EventDestination(name, True, frozenset({"Send"}), kind, target)


def webhook(name: str, url: str) -> EventDestination:
    return destination(name, "webhook", {"Url": url, "Secret": "x" * 32, "BatchSize": 500})


def firehose(name: str, stream: str) -> EventDestination:
    arn = f"arn:aws:firehose:us-east-1:123456789012:deliverystream/{stream}"
    return destination(name, "firehose", {"DeliveryStreamARN": arn})


async def rate(line: Line, one: EventDestination, events: int, folder: Path) -> tuple[float, float]:
    """Events a second, CPU seconds an event."""
    async with published(line, [one], folder) as may_begin:
        await line.write(events)
        before = (await line.figures())["events"]
        begin, cpu = time.monotonic(), time.process_time()
        may_begin.set()
        while (found := await line.figures())["events"] < before + events:  # noqa: ASYNC110 - counted by the sink
            await asyncio.sleep(0.1)
        return events / (found["last_at"] - begin), (time.process_time() - cpu) / events


async def delay(line: Line, destinations: Sequence[EventDestination], seconds: float, folder: Path) -> list[float]:
    """Milliseconds from the writing of each event to its arrival."""
    async with published(line, destinations, folder) as may_begin:
        await line.figures()
        may_begin.set()
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            await line.write(_RATE_PER_SECOND // 20)
            await asyncio.sleep(1 / 20)
        await asyncio.sleep(1)
        return sorted((await line.figures())["delays_ms"])


async def measure(arguments: argparse.Namespace, server_url: str, url: str, folder: Path) -> str:
    async with opened_spool(server_url) as spool:
        line = Line(spool, url)
        line.message_ids = [await accept(spool) for _ in range(_MESSAGES)]
        rows = [["to", "events/s", "CPU an event"]]
        for name, one in (("Firehose", firehose("f", "events")), ("webhook", webhook("h", f"{url}/hook"))):
            per_second, cpu = await rate(line, one, arguments.events, folder)
            rows.append([name, f"{per_second:,.0f}", f"{cpu * 1e6:.0f} µs"])
        hanging = [webhook("hanging-hook", f"{url}/hang"), destination("hanging-topic", "sns", _TOPIC)]
        delays = [["webhook", "events", "delay median", "99 %", "most"]]
        for name, others in (("alone", []), ("beside two that hang", hanging), ("alone again", [])):
            found = await delay(line, [webhook(f"d{len(delays)}", f"{url}/hook"), *others], arguments.seconds, folder)
            told = [f"{value:.0f} ms" for value in (percentile(found, 50), percentile(found, 99), found[-1])]
            delays.append([name, f"{len(found)}", *told])
        return f"{aligned(rows)}\n\n{aligned(delays)}"


_TOPIC = {"TopicARN": "arn:aws:sns:us-east-1:123456789012:hang"}


@contextmanager
def sink() -> Iterator[str]:
    """Its URL."""
    process = subprocess.Popen([sys.executable, "-m", "bench.events_sink"], cwd=HOUSE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.events", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="events of a rate (20000)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a run of delays (10)")
    parser.add_argument("--quick", action="store_true", help="one short run each")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.events, arguments.seconds = 2000, 2.0
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}")
    set_up_logging(LogSettings(level="error"), "bench")
    with RedisServer() as server, sink() as url:
        os.environ |= {
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_ENDPOINT_URL": url,
            "AWS_ENDPOINT_URL_SNS": f"{url}/hang",
        }
        print(uvloop.run(measure(arguments, server.url, url, server.folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
