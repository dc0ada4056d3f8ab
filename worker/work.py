"""One message on its way through the steps: what is known of it, and what was learnt but not yet written.

A step returns Continue with the changed work, or Stop. Facts (attempts, events, counts) gather in `unwritten` and go
to the spool with the next write, in one transaction with the states they belong to. A verdict that changed is one of
them, so nothing is ever sent under a verdict that the spool does not know.
"""

import asyncio
import dataclasses
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Literal, TypeVar, assert_never

from config.celery_app import GRACE_SECONDS
from spool.records import Attempt, Lease, Message, NewMessage, Settlement
from spool.scripts import StoreUnavailable
from spool.sending_quota import Denied, Granted, Lost, RouteFact, Seat, Take
from spool.verdicts import Verdict
from worker.steps.beside import Beside
from worker.tools import Tools

# An outcome is worth waiting for the store: without it the batch is in doubt.
# Below the grace that Celery leaves to a task after its last call (config/celery_app.py).
_PATIENCE_SECONDS = GRACE_SECONDS - 60
_PAUSE_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)

Answer = TypeVar("Answer")


class LeaseLost(Exception):  # noqa: N818 - a decision, not a failure
    """Another worker may have the message: this one stops at once and writes nothing more."""


class StepFailed(Exception):  # noqa: N818 - carries what the step had learnt; the cause says why it failed
    """A step ended early: `work` is what was known last, its `__cause__` is the error."""

    def __init__(self, work: "Work") -> None:
        super().__init__()
        self.work = work


@dataclass(frozen=True, slots=True)
class Unwritten:
    """Facts that wait for the next write."""

    attempts: tuple[Attempt, ...] = ()
    events: tuple[bytes, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    facts: tuple[RouteFact, ...] = ()
    verdict: Verdict | None = None


Place = Literal["due", "lane", "parked", "held"]


@dataclass(frozen=True, slots=True)
class Delay:
    """Why recipients still wait after this round, and where."""

    to: Place
    #: As the spool shows it.
    reason: str = ""
    #: What the event tells outside; "" = nobody is told, the message only waits for its turn.
    told: str = ""
    #: For parked; None = longer with every round, up to `longest_seconds`. For a lane: when it is looked at again if no
    #: turn comes before; None = only to expire.
    after_seconds: float | None = None
    longest_seconds: float = math.inf
    #: It says nothing about what else the message has for the same route.
    is_only_of_part: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed message between two steps."""

    message: Message
    lease: Lease
    content: bytes = field(default=b"", repr=False)
    unwritten: Unwritten = Unwritten()
    #: None while nothing keeps it from going on.
    delay: Delay | None = None
    #: The route and lane where it sends now or waits, once they are chosen.
    seat: Seat | None = None
    #: How many recipients want a turn there; None = all who wait.
    queued: int | None = None
    #: Reference → updated content that was just made: it need not be read again.
    contents: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    #: Calls of functions that decide nothing, while they run.
    beside: Beside = field(default_factory=Beside, repr=False)
    #: When the suppression list was asked last about who waits (tools.now_ms); 0 = it was not, or it was empty then.
    suppression_asked_at_ms: int = 0
    #: time.monotonic() after which no further batch is begun: the task has a time limit.
    deadline: float = math.inf
    numbers: "count[int]" = field(default_factory=lambda: count(1), repr=False)

    def learnt(
        self,
        message: Message,
        *,
        attempts: tuple[Attempt, ...] = (),
        events: tuple[bytes, ...] = (),
        facts: tuple[RouteFact, ...] = (),
        delay: Delay | None = None,
        **counts: int,
    ) -> "Work":
        """The work with a changed message and more facts to write."""
        known = self.unwritten
        merged = {name: known.counts.get(name, 0) + counts.get(name, 0) for name in {*known.counts, *counts}}
        latest = {attempt.number: attempt for attempt in (*known.attempts, *attempts)}
        verdict = known.verdict if message.verdict is self.message.verdict else message.verdict
        unwritten = Unwritten(tuple(latest.values()), known.events + events, merged, known.facts + facts, verdict)
        return dataclasses.replace(self, message=message, unwritten=unwritten, delay=delay or self.delay)

    @property
    def has_unwritten(self) -> bool:
        """Whether anything waits for the next write that would be lost without it: a verdict alone is found again."""
        return dataclasses.replace(self.unwritten, verdict=None) != Unwritten()

    def delayed(self, delay: Delay) -> "Work":
        """The work when its recipients have to wait."""
        return dataclasses.replace(self, delay=delay)


@dataclass(frozen=True, slots=True)
class Continue:
    """The next step follows."""

    work: Work


@dataclass(frozen=True, slots=True)
class Stop:
    """The message is settled; nothing follows."""

    why: str


Move = Literal["due", "parked", "lane", "held", "done"]


def age_seconds(work: Work, tools: Tools) -> float:
    """How old the message is by the server's clock: a claim tells when the lease ends, the rest is monotonic.

    The time for which an operator held it does not count, unless the settings say so.
    """
    lease_seconds = tools.spool.lease_seconds
    at_claim_ms = work.message.until_ms - lease_seconds * 1000 - work.message.accepted_at_ms
    if not tools.settings.relay.expire_while_paused:
        at_claim_ms -= work.message.kept_ms
    claimed_at = work.lease.deadline - lease_seconds
    return at_claim_ms / 1000 + time.monotonic() - claimed_at


async def write(
    work: Work,
    tools: Tools,
    *,
    to: Move | None = None,
    after_seconds: float = 0.0,
    reason: str = "",
    rounds: int | None = None,
    failures: int | None = None,
    told: frozenset[int] | None = None,
    spawned: tuple[NewMessage, ...] = (),
) -> Work:
    """Writes what is unwritten, and the move. Waits for a store that is away. Raises LeaseLost."""
    known = work.unwritten
    settlement = Settlement(
        lease=work.lease,
        number=next(work.numbers),
        to=to,
        seat=work.seat if to == "lane" else None,
        queued=work.queued if to == "lane" else None,
        after_seconds=after_seconds,
        reason=reason,
        states=work.message.states,
        suppressed=work.message.suppressed,
        verdict=known.verdict,
        rounds=rounds,
        failures=failures,
        attempts=known.attempts,
        told=told,
        events=known.events,
        counts=known.counts,
        spawned=spawned,
        facts=known.facts,
    )
    if not await _patiently(lambda: tools.spool.settle(settlement), work, tools):
        tools.leases.drop(work.lease)
        raise LeaseLost
    if to is not None:
        tools.leases.drop(work.lease)
    return dataclasses.replace(work, unwritten=Unwritten())


async def intend(work: Work, take: Take, tools: Tools) -> Work | Denied:
    """Writes what is unwritten, an intent with it, if the route allows the call now; else nothing at all.

    Raises LeaseLost, and StoreUnavailable when the store was away until the lease had ended.
    """
    known = work.unwritten
    settlement = Settlement(
        lease=work.lease,
        number=next(work.numbers),
        states=work.message.states,
        suppressed=work.message.suppressed,
        verdict=known.verdict,
        attempts=known.attempts,
        events=known.events,
        counts=known.counts,
        facts=known.facts,
    )
    answer = await _patiently(lambda: tools.spool.intend(settlement, take), work, tools, is_intent=True)
    match answer:
        case Denied():
            return answer
        case Granted():
            return dataclasses.replace(work, unwritten=Unwritten())
        case Lost():
            tools.leases.drop(work.lease)
            raise LeaseLost
        case _:
            assert_never(answer)


async def _patiently(
    ask: Callable[[], Awaitable[Answer]], work: Work, tools: Tools, *, is_intent: bool = False
) -> Answer:
    """The store's answer to a settlement, which may be asked for again. Raises StoreUnavailable."""
    waited = 0.0
    while True:
        try:
            return await ask()
        except StoreUnavailable as error:
            tools.log.warning("spool.unavailable", message_id=work.lease.message_id, error=error.detail)
            if waited > _PATIENCE_SECONDS or (is_intent and not tools.leases.is_valid(work.lease)):
                raise
        pause = _PAUSE_SECONDS[min(int(waited * 4), len(_PAUSE_SECONDS) - 1)]
        await asyncio.sleep(pause)
        waited += pause
