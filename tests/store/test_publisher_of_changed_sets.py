"""Sets that change while processes are at work: nobody is told, passed over or trimmed by what they were before."""

import dataclasses

import pytest

from config.errors import Refused, TryLater
from config.settings import Settings
from sending_events.configuration_sets.records import ConfigurationSet, EventDestination
from sending_events.configuration_sets.store import ConfigurationSets
from sending_events.progress import Kept, destination_key
from sending_events.replay import Window, dead_letters, redeem, replay
from sending_events.standing import standings
from spool import keys
from spool.figures import read_figures
from tests.publishing import Collecting, House, Sets, a_destination, add, opened_spool, stream_ids

NAME = "one:hook"
HOOK = a_destination("hook", "Send")


@pytest.fixture
async def spool(redis_url):
    async with opened_spool(redis_url) as opened:
        yield opened


@pytest.fixture
async def api(spool) -> ConfigurationSets:
    """One set with one enabled destination, made by the API."""
    sets = ConfigurationSets(spool.redis, Settings())
    await sets.create("one")
    await sets.put_destination("one", HOOK, is_new=True)
    return sets


async def update(api: ConfigurationSets, **changes: object) -> None:
    await api.put_destination("one", dataclasses.replace(HOOK, **changes), is_new=False)


class Both:
    """The API's sets below those of a file, as the store puts them together."""

    def __init__(self, api: ConfigurationSets, *of_file: EventDestination) -> None:
        self._api = api
        self._of_file = ConfigurationSet("one", of_file, is_of_file=True)

    async def version(self) -> str:
        return await self._api.version()

    async def all(self) -> tuple[ConfigurationSet, ...]:
        return (self._of_file, *(one for one in await self._api.all() if one.name != "one"))


def at_each_target(house: House) -> dict[str, Collecting]:
    """Lets the house open a collector for each target: `target["to"]`, "" = none was said."""
    targets: dict[str, Collecting] = {}

    def open_target(_: str, chosen: EventDestination) -> Collecting:
        return targets.setdefault(str(chosen.target.get("to", "")), Collecting())

    house.open_target = open_target
    return targets


async def disabled_in_the_file(api: ConfigurationSets, spool) -> None:
    """A process with a file that has the set, disabled, comes and goes."""
    off = dataclasses.replace(HOOK, is_enabled=False)
    assert await House(spool, Both(api, off)).publish_all() == []


async def test_a_destination_of_the_api_comes_back_when_the_files_set_is_gone(spool, api):
    await House(spool, api).publish_all()
    await disabled_in_the_file(api, spool)
    await add(spool, "send", "one")  # happens while it is disabled
    house = House(spool, api, "file")
    await house.publish_all()
    told = [await add(spool, "send", "one") for _ in range(2)]
    assert await house.publish_all() == ["file", NAME]
    assert house.told[NAME].ids == told
    assert await house.publisher.trim() == 3
    assert await spool.redis.xlen(keys.EVENTS) == 0
    assert await House(spool, api).publish_all() == []  # another process finds its place


async def test_who_serves_a_destination_of_the_api_goes_on_beside_a_process_whose_file_disables_it(spool, api):
    house = House(spool, api)
    await house.publish_all()
    told = [await add(spool, "send", "one")]
    await disabled_in_the_file(api, spool)
    assert await house.publish_all() == [NAME]
    house.look_again()
    told.append(await add(spool, "send", "one"))
    assert await house.publish_all() == [NAME]
    assert house.told[NAME].ids == told


async def test_one_that_the_file_disables_and_enables_again_is_not_told_what_happened_meanwhile(spool, api):
    await House(spool, Both(api, HOOK)).publish_all()
    await disabled_in_the_file(api, spool)
    await add(spool, "send", "one")
    house = House(spool, Both(api, HOOK))
    assert await house.publish_all() == []
    told = await add(spool, "send", "one")
    assert await house.publish_all() == [NAME]
    assert house.told[NAME].ids == [told]


async def test_a_destination_of_a_set_without_a_cursor_holds_nothing_back_and_is_given_one(spool, api):
    house = House(spool, api, "file", max_backlog=2, kept=Kept(3600, 1))
    await house.publish_all()
    await spool.redis.delete(keys.cursor_key(NAME))
    for _ in range(4):
        await add(spool, "send", "one")
    assert await house.publisher.publish(NAME) == 0
    assert await house.publisher.publish("file") == 4
    assert await house.publisher.backlogs() == {"file": 0, NAME: 0}
    standing = (await standings(spool.redis, [NAME]))[NAME]
    assert (standing.behind, standing.oldest_seconds) == (0, 0)
    assert (await read_figures(spool, spool.redis, [NAME])).backlogs[NAME].events == 0
    assert await house.publisher.trim() == 3  # one is kept for a replay
    assert not await spool.redis.hget(keys.COUNTERS, f"events_lost:{NAME}")
    assert await house.publish_all() == []
    told = await add(spool, "send", "one")
    assert await house.publish_all() == ["file", NAME]
    assert house.told[NAME].ids == [told]


async def updated(spool, api):
    await update(api, target={"to": "new"})


async def set_back(spool, api):
    assert await replay(spool.redis, NAME, Window(1))


async def redeemed(spool, api):
    assert await redeem(spool.redis, NAME, await dead_letters(spool.redis, NAME)) == 1


@pytest.mark.parametrize("mend", [updated, set_back, redeemed])
async def test_a_failure_that_began_before_a_mend_is_not_noted_after_it(spool, api, mend):
    house = House(spool, api)
    await house.publish_all()
    hook = house.told[NAME]
    await add(spool, "send", "one")
    hook.trouble = Refused("never")
    await house.publish_all()
    waiting = await add(spool, "send", "one")
    hook.trouble = TryLater("busy")
    await spool.redis.hset(destination_key(NAME), mapping={"failures": 9, "next_try_at_ms": 1, "error": "x"})

    async def meanwhile():
        await mend(spool, api)

    hook.before = meanwhile
    assert await house.publisher.publish(NAME) == 0
    state = await spool.redis.hgetall(destination_key(NAME))
    assert not state.keys() & {b"failures", b"next_try_at_ms", b"error"}
    hook.before = hook.trouble = None
    assert await house.publish_all() == [NAME]
    assert waiting in hook.ids


async def test_a_process_that_has_not_seen_an_update_passes_nothing_over(spool, api):
    house = House(spool, api)
    await house.publish_all()
    await update(api, event_types=frozenset({"Send", "Bounce"}))
    bounce = await add(spool, "suppressed", "one")
    assert await house.publish_all() == [NAME]  # no second has passed since it looked
    assert house.told[NAME].ids == [bounce]


async def test_a_round_does_not_go_on_with_the_target_and_the_types_of_before(spool, api):
    house = House(spool, api, batch=2)
    targets = at_each_target(house)
    await house.publish_all()
    sent = [await add(spool, "send", "one") for _ in range(4)]
    bounces: list[str] = []

    async def meanwhile():
        await update(api, event_types=frozenset({"Bounce"}), target={"to": "new"})
        bounces.append(await add(spool, "suppressed", "one"))

    targets[""].before = meanwhile
    assert await house.publisher.publish(NAME) == 0
    assert targets[""].ids == sent[:2]  # the part that was under way
    await house.publish_all()
    assert targets["new"].ids == bounces
    assert targets[""].ids == sent[:2]


async def test_nothing_is_told_to_the_target_of_a_destination_that_was_made_anew(spool, api):
    house = House(spool, api)
    targets = at_each_target(house)
    await house.publish_all()
    await api.delete_destination("one", "hook")
    await api.put_destination("one", dataclasses.replace(HOOK, target={"to": "new"}), is_new=True)
    told = await add(spool, "send", "one")
    assert await house.publisher.publish(NAME) == 1  # it looks at once
    assert (targets[""].ids, targets["new"].ids) == ([], [told])


class Changing:
    """The API's sets, of which there is one more whenever they have been read."""

    def __init__(self, api: ConfigurationSets) -> None:
        self._api = api
        self.reads = 0

    async def version(self) -> str:
        return await self._api.version()

    async def all(self) -> tuple[ConfigurationSet, ...]:
        found = await self._api.all()
        self.reads += 1
        await self._api.create(f"more-{self.reads}")
        return found


async def test_sets_that_change_all_the_time_stop_neither_the_others_nor_the_trimming(spool, api):
    house = House(spool, Changing(api))
    for _ in range(3):
        told = await add(spool, "send", "one")
        assert await house.publish_all() == [NAME]
        await house.publisher.trim()
    assert house.told[NAME].ids[-1] == told
    assert await stream_ids(spool.redis) == []


async def test_a_change_that_cannot_be_read_lets_those_of_the_last_good_look_go_on(spool, api):
    house = House(spool, api)
    await house.publish_all()
    await update(api, target={"to": "nowhere"})

    def open_target(set_name: str, chosen: EventDestination) -> Collecting:
        raise KeyError("to")

    house.open_target = open_target
    told = await add(spool, "send", "one")
    assert await house.publish_all() == [NAME]
    assert house.told[NAME].ids == [told]
    assert await house.publisher.trim() == 1


async def test_the_first_events_of_a_destination_made_while_another_process_trims_stay(spool):
    api = ConfigurationSets(spool.redis, Settings())
    house = House(spool, api)
    await add(spool, "send", "one")
    kept: list[str] = []

    most_bytes = house.publisher._progress.most_bytes

    async def slowly(wish: int) -> int:
        await api.create("one")
        await api.put_destination("one", HOOK, is_new=True)
        kept.append(await add(spool, "send", "one"))
        return await most_bytes(wish)

    house.publisher._progress.most_bytes = slowly
    assert await house.publisher.trim() == 1
    assert await stream_ids(spool.redis) == kept
    assert await house.publish_all() == [NAME]
    assert house.told[NAME].ids == kept


async def test_an_older_worker_gives_what_the_file_disables_its_place_for_a_moment_only(spool):
    old = House(spool, Sets(one=(HOOK,)))
    await old.publish_all()
    new = House(spool, Sets(one=(dataclasses.replace(HOOK, is_enabled=False),)))
    await new.publish_all()
    await old.publish_all()
    assert await spool.redis.exists(keys.cursor_key(NAME))
    await new.publisher.trim()
    assert not await spool.redis.exists(keys.cursor_key(NAME))
    await add(spool, "send", "one")
    again = House(spool, Sets(one=(HOOK,)))  # a later file enables it
    await again.publish_all()
    assert again.told[NAME].ids == []
