"""The state of one simulator: settings, account, ledger, events and their ways, active faults. Built once in app.py."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from aiohttp import web

from simulator.account import Account
from simulator.event_routes import EventRoutes
from simulator.faults import Fault
from simulator.feed import Feed
from simulator.ledger import Ledger
from simulator.queues import Queues
from simulator.settings import SimulatorSettings
from simulator.suppressed import SuppressionList


@dataclass(slots=True)
class Simulated:
    """One process's worth of SES."""

    settings: SimulatorSettings
    account: Account
    ledger: Ledger
    feed: Feed
    routes: EventRoutes
    suppression: SuppressionList
    random: Random
    #: in seconds, never going back; and Unix time
    clock: Callable[[], float]
    unix_clock: Callable[[], float]
    faults: list[Fault] = field(default_factory=list)
    #: calls that are kept waiting wait for this; replaced whenever the faults change
    release: asyncio.Event = field(default_factory=asyncio.Event)

    def set_faults(self, faults: list[Fault]) -> None:
        """Replace all faults; calls that the old ones keep waiting are let go."""
        self.faults = faults
        self.release.set()
        self.release = asyncio.Event()

    def set_settings(self, settings: SimulatorSettings) -> None:
        """Behave otherwise from now on."""
        self.settings = settings
        self.account.change(settings)
        self.routes.carry_all()
        self.feed.change(settings.events_delay_seconds)
        self.routes.set_raw(is_raw=settings.events_raw)
        self.routes.queues.wake()

    def let_everybody_go(self) -> None:
        """The end is near: nobody shall wait for anything."""
        self.release.set()
        self.feed.close()
        self.routes.queues.close()


def build(settings: SimulatorSettings, clock: Callable[[], float], unix_clock: Callable[[], float]) -> Simulated:
    """A fresh account with an empty ledger; `clock` never goes back, `unix_clock` dates the ledger."""
    feed = Feed(settings.kept_event_bytes, settings.events_delay_seconds, clock)
    routes = EventRoutes(feed, Queues(clock), clock, unix_clock)
    routes.set_raw(is_raw=settings.events_raw)
    return Simulated(
        settings=settings,
        account=Account(settings, clock),
        ledger=Ledger(settings.kept_ledger_lines, settings.kept_message_bytes, unix_clock),
        feed=feed,
        routes=routes,
        suppression=SuppressionList(unix_clock),
        random=Random(),
        clock=clock,
        unix_clock=unix_clock,
    )


SIMULATED = web.AppKey("simulated", Simulated)
