"""How mail goes, and what a rule's changes make of that; a Way is a Part without its recipients. Pure."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import assert_never

from spool.verdicts import DecidedAction, Direction, Part
from worker.rules.records import (
    AddHeader,
    AddTags,
    Archive,
    Change,
    ReplaceRecipient,
    StopRules,
    Tee,
    UseConfigurationSet,
    UseLane,
    UseRoute,
)

#: How inbound mail is marked for the filters of mailboxes, by what was decided.
MARKS: Mapping[DecidedAction, tuple[tuple[str, str], ...]] = {
    "MOVE_TO_JUNK": (("X-Sluice-Action", "MOVE_TO_JUNK"), ("X-Spam-Flag", "YES")),
    "BYPASS_SPAM_CHECK": (("X-Sluice-Action", "BYPASS_SPAM_CHECK"), ("X-Spam-Flag", "NO")),
    "DEFAULT": (),
    "DROP": (),
    "BOUNCE": (),
}


@dataclass(frozen=True, slots=True)
class Way:
    """Hashable: recipients who go the same way are one part."""

    direction: Direction
    lane: str = ""
    route: str = ""
    configuration_set: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    archives: tuple[str, ...] = ()

    def part(self, recipients: Iterable[int]) -> Part:
        """The part of those who go this way."""
        return Part(
            recipients=tuple(recipients),
            direction=self.direction,
            lane=self.lane,
            route=self.route,
            configuration_set=self.configuration_set,
            tags=dict(self.tags),
            headers=self.headers,
            archives=self.archives,
        )

    def towards(self, direction: Direction) -> "Way":
        """The same for mail of this direction."""
        return dataclasses.replace(self, direction=direction)

    def marked(self, action: DecidedAction) -> "Way":
        """The way of mail about which this was decided."""
        return dataclasses.replace(self, headers=(*self.headers, *MARKS[action])) if MARKS[action] else self


def changed(way: Way, change: Change) -> Way:
    """The way after a change; of what can be had once, the later wins. Recipients are no matter of the way."""
    match change:
        case AddHeader(name, value):
            way = dataclasses.replace(way, headers=tuple(dict.fromkeys((*way.headers, (name, value)))))
        case Archive(archive):
            way = dataclasses.replace(way, archives=tuple(dict.fromkeys((*way.archives, archive))))
        case UseLane(lane):
            way = dataclasses.replace(way, lane=lane)
        case UseRoute(route):
            way = dataclasses.replace(way, route=route)
        case UseConfigurationSet(name):
            way = dataclasses.replace(way, configuration_set=name)
        case AddTags(tags):
            way = dataclasses.replace(way, tags=tuple({**dict(way.tags), **tags}.items()))
        case ReplaceRecipient() | Tee() | StopRules():
            pass
        case _:
            assert_never(change)
    return way


def words_of(change: Change) -> str:
    """The change in words; no addresses, for it stands in the log."""
    match change:
        case AddHeader(name, _):
            words = f"header {name}"
        case ReplaceRecipient():
            words = "recipient replaced"
        case Archive(archive):
            words = f"archive {archive}"
        case UseLane(lane):
            words = f"lane {lane}"
        case UseRoute(route):
            words = f"route {route}"
        case UseConfigurationSet(name):
            words = f"configuration set {name}"
        case AddTags(tags):
            words = f"tags {', '.join(f'{name}={value}' for name, value in tags.items())}"
        case Tee():
            words = "copy to one more"
        case StopRules():
            words = "stop"
        case _:
            assert_never(change)
    return words
