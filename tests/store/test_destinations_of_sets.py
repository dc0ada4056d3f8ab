"""Events of a configuration set through publisher and spool to real destinations: webhook, Redis stream, file."""

import asyncio

import orjson
import pytest
from aiohttp import web

from config.failpoints import Failpoints
from config.settings import DataSettings, EventsSettings, Settings
from sending_events.configuration_sets.records import ConfigurationSet, EventDestination
from sending_events.destinations.opening import make_context, open_target
from sending_events.publisher import Publisher
from sending_events.records import EventRecord
from sending_events.registry import Registry
from spool import keys
from tests.publishing import accept, ids_of, until_true
from tests.unit.sending_events.receivers import receiving

SET = "shop"


class Sets:
    def __init__(self, *destinations):
        self.sets = (ConfigurationSet(SET, destinations, is_of_file=True),)

    async def version(self):
        return "1"

    async def all(self):
        return self.sets


def destination(name, kind, **target):
    return EventDestination(name, True, frozenset({"Send"}), kind, target)


def webhook(name, port, **more):
    return destination(name, "webhook", Url=f"http://127.0.0.1:{port}/{name}", Secret="s" * 16, **more)


@pytest.fixture
async def publisher_to(spool, tmp_path):
    contexts = []

    def make(*destinations):
        settings = Settings(data=DataSettings(dir=tmp_path), events=EventsSettings(allowed_targets=("127.0.0.1",)))
        context = make_context(settings, spool.redis)
        contexts.append(context)
        registry = Registry({}, Sets(*destinations), lambda name, one: open_target(name, one, context))
        return Publisher(spool, registry, Failpoints(""))

    yield make
    for context in contexts:
        await context.close()


async def send_events(spool, number):
    """Their ids."""
    message_id, ids = await accept(spool), []
    for attempt in range(1, number + 1):
        record = EventRecord("send", message_id, 1_700_000_000_123, (0,), "ses", attempt=attempt, configuration_set=SET)
        ids.append((await spool.redis.xadd(keys.EVENTS, {"d": record.encode()})).decode())
    return ids


async def test_each_kind_gets_the_same_events_in_order(spool, publisher_to, tmp_path):
    posted = []

    async def answer(request):
        posted.extend(event["eventId"] for event in await request.json())
        return web.Response()

    async with receiving(answer) as port:
        publisher = publisher_to(
            webhook("hook", port, BatchSize=3),
            destination("kept", "redis_stream", Key="shop-events"),
            destination("lines", "file", Path="shop.ndjson"),
        )
        await publisher.with_work()
        ids = await send_events(spool, 10)
        for name in publisher.names:
            assert await publisher.publish(name) == 10
    assert posted == ids
    assert ids_of((tmp_path / "shop.ndjson").read_bytes().splitlines()) == ids
    assert [fields[b"eventId"].decode() for _, fields in await spool.redis.xrange("shop-events")] == ids
    assert await publisher.backlogs() == dict.fromkeys(publisher.names, 0)


async def test_a_webhook_that_failed_goes_on_and_only_what_it_cannot_use_is_put_aside(spool, publisher_to):
    posted, troubles = [], [400]

    async def answer(request):
        events = await request.json()
        if troubles:
            return web.Response(status=troubles.pop())
        if any(event["mail"]["tags"]["sluice:attempt"] == ["4"] for event in events):
            return web.Response(status=422)
        posted.extend(event["eventId"] for event in events)
        return web.Response(status=202)

    async with receiving(answer) as port:
        publisher = publisher_to(webhook("hook", port))
        await publisher.with_work()
        ids = await send_events(spool, 8)

        async def is_through():
            await publisher.publish("shop:hook")
            return await publisher.backlogs() == {"shop:hook": 0}

        await until_true(is_through)
    assert posted == ids[:3] + ids[4:]
    [(_, dead)] = await spool.redis.xrange("{ms}:dead:shop:hook")
    assert dead[b"id"].decode() == ids[3]
    assert b"HTTP 422" in dead[b"why"]


async def test_a_receiver_that_hangs_holds_up_itself_alone(spool, publisher_to):
    is_over, posted = asyncio.Event(), []

    async def answer(request):
        if request.path == "/hanging":
            await is_over.wait()
        posted.append((request.path, [event["eventId"] for event in orjson.loads(await request.read())]))
        return web.Response()

    async with receiving(answer) as port:
        publisher = publisher_to(webhook("hanging", port, TimeoutSeconds=25), webhook("quick", port))
        await publisher.with_work()
        ids = await send_events(spool, 5)
        hanging = asyncio.create_task(publisher.publish("shop:hanging"))
        assert await publisher.publish("shop:quick") == 5
        assert posted == [("/quick", ids)]
        assert not hanging.done()
        is_over.set()
        assert await hanging == 5
        assert posted == [("/quick", ids), ("/hanging", ids)]
