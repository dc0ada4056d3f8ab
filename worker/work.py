"""One message on its way through the steps: what is known of it, and what was learnt but not yet written.

A step returns Continue with the changed work, or Stop. Facts (attempts, events, counts) gather in `unwritten` and go
to the spool with the next write, in one transaction with the states they belong to.
"""

import asyncio
import dataclasses
import math
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from config.celery_app import GRACE_SECONDS
from spool.records import Attempt, Lease, Message, NewMessage, Settlement
from spool.scripts import StoreUnavailable
from worker.tools import Tools

# An outcome is worth waiting for the store: without it the batch is in doubt.
# Below the grace that Celery leaves to a task after its last call (config/celery_app.py).
_PATIENCE_SECONDS = GRACE_SECONDS - 60
_PAUSE_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)


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


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed message between two steps."""

    message: Message
    lease: Lease
    content: bytes = field(default=b"", repr=False)
    unwritten: Unwritten = Unwritten()
    #: Why recipients still wait after this round, and the longest distance asked for; "" when none do.
    delay_reason: str = ""
    #: time.monotonic() after which no further batch is begun: the task has a time limit.
    deadline: float = math.inf
    numbers: "count[int]" = field(default_factory=lambda: count(1), repr=False)

    def learnt(
        self,
        message: Message,
        *,
        attempts: tuple[Attempt, ...] = (),
        events: tuple[bytes, ...] = (),
        delay_reason: str | None = None,
        **counts: int,
    ) -> "Work":
        """The work with a changed message and more facts to write."""
        known = self.unwritten
        merged = {name: known.counts.get(name, 0) + counts.get(name, 0) for name in {*known.counts, *counts}}
        latest = {attempt.number: attempt for attempt in (*known.attempts, *attempts)}
        return dataclasses.replace(
            self,
            message=message,
            unwritten=Unwritten(tuple(latest.values()), known.events + events, merged),
            delay_reason=self.delay_reason if delay_reason is None else delay_reason,
        )


@dataclass(frozen=True, slots=True)
class Continue:
    """The next step follows."""

    work: Work


@dataclass(frozen=True, slots=True)
class Stop:
    """The message is settled; nothing follows."""

    why: str


Move = Literal["due", "parked", "held", "done"]


def age_seconds(work: Work, tools: Tools) -> float:
    """How old the message is by the server's clock: a claim tells when the lease ends, the rest is monotonic."""
    lease_seconds = tools.spool.lease_seconds
    at_claim_ms = work.message.until_ms - lease_seconds * 1000 - work.message.accepted_at_ms
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
    settlement = Settlement(
        lease=work.lease,
        number=next(work.numbers),
        to=to,
        after_seconds=after_seconds,
        reason=reason,
        states=work.message.states,
        rounds=rounds,
        failures=failures,
        attempts=work.unwritten.attempts,
        told=told,
        events=work.unwritten.events,
        counts=work.unwritten.counts,
        spawned=spawned,
    )
    if not await settled(settlement, tools):
        tools.leases.drop(work.lease)
        raise LeaseLost
    if to is not None:
        tools.leases.drop(work.lease)
    return dataclasses.replace(work, unwritten=Unwritten())


async def settled(settlement: Settlement, tools: Tools) -> bool:
    """Writes a settlement, waiting for a store that is away; False when the lease is lost. Raises StoreUnavailable."""
    is_intent = settlement.to is None and any(attempt.outcome is None for attempt in settlement.attempts)
    waited = 0.0
    while True:
        try:
            return await tools.spool.settle(settlement)
        except StoreUnavailable as error:
            tools.log.warning("spool.unavailable", message_id=settlement.lease.message_id, error=error.detail)
            if waited > _PATIENCE_SECONDS or (is_intent and not tools.leases.is_valid(settlement.lease)):
                raise
        pause = _PAUSE_SECONDS[min(int(waited * 4), len(_PAUSE_SECONDS) - 1)]
        await asyncio.sleep(pause)
        waited += pause
