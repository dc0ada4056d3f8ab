"""The configuration sets of an installation: those of mailsluice.toml, and those that the API has made, in Redis.

Every change is one script (sending_events/lua/configuration_sets.lua): it is done wholly or not at all, and with it the
cursor of the destination is set or removed, so that an enabled one is told what happens from that instant on. It also
ends the turn of who serves the destination, and notes its version, so that nobody serves it by what it was before. The
file's sets cannot be changed here; where the API made one of the same name before the file had it, the file's counts.

Readers see the destinations of each set as they were at one instant, not all sets at the same one: `version` is read
before `all`, and whoever finds another one later reads again. A stored destination that this version cannot read,
because another one or a hand wrote it, is disabled here and logged: it must not keep the others from their events.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final, Literal

import orjson
from redis import asyncio as aioredis

from config.errors import Refused
from config.logs import get_log
from config.queues import KEY_PREFIX
from config.settings import Settings
from sending_events.configuration_sets.records import KINDS, ConfigurationSet, EventDestination
from sending_events.configuration_sets.set_file import MAX_DESTINATIONS, sets_of_file
from sending_events.configuration_sets.shapes import is_set_name
from sending_events.progress import EventScript
from spool.scripts import Argument, answer_of

MAX_SETS: Final = 10_000
#: How long a set that was known counts as known without a look.
_KNOWN_SECONDS: Final = 1.0
#: Names remembered for that; beyond it all are forgotten at once.
_KNOWN_NAMES: Final = 10_000
#: Sets read with one request.
_READ_AT_ONCE: Final = 500

_SETS = KEY_PREFIX + "sets"
_VERSION = KEY_PREFIX + "sets:version"
_CHANGE = EventScript("configuration_sets")

WhyNot = Literal[
    "no_set", "set_exists", "too_many_sets", "no_destination", "destination_exists", "too_many_destinations", "of_file"
]

_REASONS: Final[Mapping[WhyNot, str]] = {
    "no_set": "there is no such configuration set",
    "set_exists": "there is such a configuration set",
    "too_many_sets": f"there are {MAX_SETS} configuration sets, more are not allowed",
    "no_destination": "there is no such event destination",
    "destination_exists": "there is such an event destination",
    "too_many_destinations": f"the configuration set has {MAX_DESTINATIONS} event destinations, more are not allowed",
    "of_file": "the configuration set stands in mailsluice.toml and can be changed there only",
}


class SetRefused(Refused):
    """The change cannot be made; nothing was changed."""

    def __init__(self, why: WhyNot) -> None:
        super().__init__(_REASONS[why])
        self.why: WhyNot = why


class ConfigurationSets:
    """Raises TryLater from every asynchronous method when the server cannot do it now."""

    def __init__(
        self, redis: aioredis.Redis, settings: Settings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises WrongSetFile when the file's sets cannot be used."""
        self._redis = redis
        self._of_file = sets_of_file(settings)
        self._clock = clock
        # Sets of SES that mail can be sent with, although nothing is told here about what is sent with them.
        named = {route.ses_configuration_set for route in settings.routes_by_name.values()}
        self._always_known = frozenset({*self._of_file, *settings.relay.configuration_sets, *named} - {""})
        self._known_until: dict[str, float] = {}

    async def create(self, name: str) -> None:
        """A set without destinations. The name is a right one. Raises SetRefused."""
        if name in self._of_file:
            raise SetRefused("set_exists")
        await self._change(name, "create", name, MAX_SETS)

    async def delete(self, name: str) -> None:
        """The set, its destinations and what waits for them. Raises SetRefused."""
        await self._change(name, "delete", name)
        self._known_until.pop(name, None)

    async def put_destination(self, set_name: str, destination: EventDestination, *, is_new: bool) -> None:
        """Adds a destination, or replaces the one of this name. Raises SetRefused."""
        arguments = (set_name, destination.name, _encoded(destination), int(is_new), MAX_DESTINATIONS)
        await self._change(set_name, "put", *arguments)

    async def delete_destination(self, set_name: str, destination: str) -> None:
        """The destination and what waits for it. Raises SetRefused."""
        await self._change(set_name, "remove", set_name, destination)

    async def get(self, name: str) -> ConfigurationSet | None:
        """One set with its destinations."""
        if (of_file := self._of_file.get(name)) or not is_set_name(name):
            return of_file
        pipeline = self._redis.pipeline(transaction=False)  # a full server answers it, a transaction it does not
        pipeline.zscore(_SETS, name)
        pipeline.hgetall(_set_key(name))
        score, destinations = await answer_of(pipeline.execute())
        return None if score is None else _set_of(name, destinations)

    async def names(self, after: str, limit: int) -> tuple[str, ...]:
        """The next names behind `after` in the order of their characters, the file's among them; "" = the first."""
        found = await answer_of(self._redis.zrangebylex(_SETS, f"({after}" if after else "-", "+", 0, limit))
        names = {_text(name) for name in found} | {name for name in self._of_file if name > after}
        return tuple(sorted(names)[:limit])

    async def all(self) -> tuple[ConfigurationSet, ...]:
        """Every set with its destinations, in the order of their names."""
        sets = dict(self._of_file)
        names = [_text(name) for name in await answer_of(self._redis.zrange(_SETS, 0, -1))]
        for start in range(0, len(names), _READ_AT_ONCE):
            some = names[start : start + _READ_AT_ONCE]
            pipeline = self._redis.pipeline(transaction=False)
            for name in some:
                pipeline.hgetall(_set_key(name))
            for name, destinations in zip(some, await answer_of(pipeline.execute()), strict=True):
                sets.setdefault(name, _set_of(name, destinations))
        return tuple(sets[name] for name in sorted(sets))

    async def version(self) -> str:
        """A number that is higher after every change of a set."""
        found = await answer_of(self._redis.get(_VERSION))
        return found.decode() if found else "0"

    async def is_known(self, name: str) -> bool:
        """Whether mail may name the set: ours, or one of SES's that the settings name.

        One that was known is believed to be for a second; one that was not is looked for each time, as it may have
        been made a moment ago.
        """
        if name in self._always_known or self._known_until.get(name, 0.0) > self._clock():
            return True
        if not is_set_name(name) or await answer_of(self._redis.zscore(_SETS, name)) is None:
            return False
        if len(self._known_until) >= _KNOWN_NAMES:
            self._known_until.clear()
        self._known_until[name] = self._clock() + _KNOWN_SECONDS
        return True

    async def _change(self, set_name: str, act: str, *arguments: Argument) -> None:
        if set_name in self._of_file:
            raise SetRefused("of_file")
        if not is_set_name(set_name):
            raise SetRefused("no_set")
        answer = (await _CHANGE(self._redis, [act, *arguments])).decode()
        if answer != "done":
            raise SetRefused(answer)


def _set_key(name: str) -> str:
    """Hash: name of a destination → its JSON. The name is a right one."""
    return f"{KEY_PREFIX}set:{name}"


def _set_of(name: str, destinations: Mapping[bytes, bytes]) -> ConfigurationSet:
    return ConfigurationSet(name, tuple(_read(name, _text(key), destinations[key]) for key in sorted(destinations)))


def _encoded(destination: EventDestination) -> bytes:
    values = {
        "on": destination.is_enabled,
        "types": sorted(destination.event_types),
        "kind": destination.kind,
        "target": destination.target,
    }
    return orjson.dumps(values)


def _read(set_name: str, name: str, raw: bytes) -> EventDestination:
    try:
        return _decoded(name, raw)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        # Without its text, which may have a secret in it.
        get_log().error(
            "events.destination_unreadable",
            configuration_set=set_name,
            destination=name,
            error=type(error).__name__,
        )
        return EventDestination(name, is_enabled=False, event_types=frozenset(), kind="log", target={})


def _decoded(name: str, raw: bytes) -> EventDestination:
    """Raises ValueError, LookupError, TypeError or AttributeError for what `_encoded` did not write."""
    values = orjson.loads(raw)
    is_enabled, event_types, kind, target = (values[key] for key in ("on", "types", "kind", "target"))
    if not isinstance(is_enabled, bool) or not isinstance(target, dict) or kind not in KINDS.values():
        raise ValueError("not a destination of this version")
    if not isinstance(event_types, list) or not all(isinstance(one, str) for one in event_types):
        raise ValueError("not a list of event types")
    return EventDestination(name, is_enabled, frozenset(event_types), kind, target)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
