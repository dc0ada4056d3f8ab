"""The state of one simulator: settings, account, ledger, events, active faults. Built once in app.py."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from aiohttp import web

from simulator.account import Account
from simulator.faults import Fault
from simulator.feed import Feed
from simulator.ledger import Ledger
from simulator.settings import SimulatorSettings


@dataclass(slots=True)
class Simulated:
    """One process's worth of SES."""

    settings: SimulatorSettings
    account: Account
    ledger: Ledger
    feed: Feed
    random: Random
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
        self.feed.change(settings.events_delay_seconds)

    def let_everybody_go(self) -> None:
        """The end is near: nobody shall wait for anything."""
        self.release.set()
        self.feed.close()


def build(settings: SimulatorSettings, clock: Callable[[], float], unix_clock: Callable[[], float]) -> Simulated:
    """A fresh account with an empty ledger; `clock` never goes back, `unix_clock` dates the ledger."""
    return Simulated(
        settings=settings,
        account=Account(settings, clock),
        ledger=Ledger(settings.kept_ledger_lines, settings.kept_message_bytes, unix_clock),
        feed=Feed(settings.kept_event_bytes, settings.events_delay_seconds, clock),
        random=Random(),
    )


SIMULATED = web.AppKey("simulated", Simulated)
