"""What the steps of a worker process work with: built once when the worker starts, passed to every step."""

import asyncio
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from config.failpoints import Failpoints
from config.settings import Settings
from spool.message_flow import MessageFlow
from spool.nudge import Nudger
from spool.store import Spool
from spool.suppression import Suppression
from spool.tally import Tally
from worker.functions.calling import Functions
from worker.leases import LeaseKeeper
from worker.relay.retry import Backoff
from worker.relay.routes import Routes
from worker.relay.waiting_lines import WaitingLines
from worker.repeats import Repeats
from worker.room import Room
from worker.rules.keeper import RuleKeeper
from worker.steps.beside import Left
from worker.steps.function_places import FunctionPlaces


@dataclass(frozen=True, slots=True)
class Tools:
    """Shared by all tasks of a process; nothing in it belongs to one message."""

    settings: Settings
    spool: Spool
    routes: Routes
    leases: LeaseKeeper
    nudger: Nudger
    tally: Tally
    failpoints: Failpoints
    log: FilteringBoundLogger
    #: Name of this process in attempts and heartbeats.
    worker: str
    backoff: Backoff
    #: Bytes of stored contents that may be in memory at once.
    content_room: Room
    #: What messages are judged by now.
    rules: RuleKeeper
    #: Asks the functions of rules.
    functions: Functions
    #: What functions may read and replace.
    flow: MessageFlow
    #: Who is not mailed any more; None = everybody is.
    suppression: Suppression | None = None
    #: How many messages may be with their functions at once.
    places: FunctionPlaces = field(default_factory=FunctionPlaces)
    #: Async calls that go on without their message.
    left: Left = field(default_factory=Left)
    #: Set when the process has been asked to stop: no call is begun any more.
    stopping: threading.Event = field(default_factory=threading.Event)
    #: Set when the gate should look now and not at its next round: a message was put into a lane, or a limit is known.
    gate_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    #: Who waits for a few tokens without giving its message back.
    lines: WaitingLines = field(default_factory=WaitingLines)
    #: What the log is told once for many messages.
    repeats: Repeats = field(default_factory=Repeats)
    #: Milliseconds since the epoch, for records; decisions about leases use the server's clock.
    now_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)
    chance: Callable[[], float] = field(default=random.random)
