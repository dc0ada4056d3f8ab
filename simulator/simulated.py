"""The state of one simulator: account, ledger, active faults. Built once in app.py and handed to every handler."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from aiohttp import web

from simulator.account import Account
from simulator.faults import Fault
from simulator.ledger import Ledger
from simulator.settings import SimulatorSettings


@dataclass(slots=True)
class Simulated:
    """One process's worth of SES."""

    settings: SimulatorSettings
    account: Account
    ledger: Ledger
    latency_seconds: float
    random: Random
    faults: list[Fault] = field(default_factory=list)
    #: calls that are kept waiting wait for this; replaced whenever the faults change
    release: asyncio.Event = field(default_factory=asyncio.Event)

    def set_faults(self, faults: list[Fault]) -> None:
        """Replace all faults; calls that the old ones keep waiting are let go."""
        self.faults = faults
        self.release.set()
        self.release = asyncio.Event()


def build(settings: SimulatorSettings, clock: Callable[[], float], unix_clock: Callable[[], float]) -> Simulated:
    """A fresh account with an empty ledger; `clock` never goes back, `unix_clock` dates the ledger."""
    return Simulated(
        settings=settings,
        account=Account(settings.max_send_rate, settings.max_24_hour_send, clock),
        ledger=Ledger(settings.kept_ledger_lines, settings.kept_message_bytes, unix_clock),
        latency_seconds=settings.latency_seconds,
        random=Random(),
    )


SIMULATED = web.AppKey("simulated", Simulated)
