"""The publisher as a worker makes it of its settings: destinations of the file and those that the API made."""

from contextlib import AsyncExitStack

import orjson

from config.failpoints import Failpoints
from config.redis_clients import redis_client
from sending_events.configuration_sets.records import EventDestination
from sending_events.configuration_sets.store import ConfigurationSets
from sending_events.records import EventRecord
from spool import keys
from spool.assembly import open_spool
from tests.spooled import settings_of
from worker.publishing import open_publisher

SETS = {
    "shop": {
        "EventDestinations": [
            {
                "Name": "lines",
                "Enabled": True,
                "MatchingEventTypes": ["send", "sluice:Held"],
                "FileDestination": {"Path": "shop.ndjson"},
            }
        ]
    }
}


async def test_events_reach_the_destinations_of_their_sets(redis_url, tmp_path):
    settings = settings_of(
        redis_url,
        tmp_path,
        configuration_sets=SETS,
        events={"default_configuration_set": "shop", "destinations": ("file",)},
    )
    redis = redis_client(redis_url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(redis.aclose)
        spool = open_spool(settings, redis=redis)
        sets = ConfigurationSets(redis, settings)
        await sets.create("other")
        chosen = EventDestination("lines", is_enabled=True, event_types=frozenset({"Send"}), kind="log", target={})
        await sets.put_destination("other", chosen, is_new=True)
        publisher = open_publisher(settings, spool, Failpoints(""), stack)
        assert await publisher.with_work() == []
        for kind, name in (("send", "shop"), ("held", ""), ("reject", "shop"), ("send", "other")):
            record = EventRecord(kind, "ours", 1, (), configuration_set=name)
            await redis.xadd(keys.EVENTS, {"d": record.encode()})
        names = await publisher.with_work()
        assert sorted(names) == ["file", "other:lines", "shop:lines"]
        assert {name: await publisher.publish(name) for name in names} == {
            "file": 4,
            "other:lines": 1,
            "shop:lines": 2,
        }
        await sets.delete_destination("other", "lines")
        assert await publisher.trim() == 0  # kept for a replay
    told = [orjson.loads(line) for line in (tmp_path / "shop.ndjson").read_bytes().splitlines()]
    assert [one["eventType"] for one in told] == ["Send", "sluice:Held"]
    assert [one["mail"]["tags"]["ses:configuration-set"] for one in told] == [["shop"], ["shop"]]
    assert len((tmp_path / "events.ndjson").read_bytes().splitlines()) == 4
