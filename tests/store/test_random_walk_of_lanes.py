"""Random walks with lanes, turns, pauses and the operator's hand: after every step, in whatever order they come, zsets,
queues, schedules and counters say what the hashes of the messages say.

Nothing is foreseen here of where a message goes (test_accounting.py and test_every_move.py do that). The steps of a
seed are the same each time as far as the server's clock allows.
"""

import dataclasses
import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable

import pytest

from spool import keys, operator, scripts
from spool.records import Attempt, Lease, Message, Settlement
from spool.sending_quota import Lost, Pause, RouteFact, RouteLimits, Seat, Take
from spool.states import AWAITS_EVENT, HELD_BY_OPERATOR, IN_DOUBT, IN_LANE, Place, RecipientState
from spool.store import Spool
from tests.store.messages import ZSETS, a_message, an_intent, numbers
from tests.store.taking import lane_numbers

STEPS = 250
LANES = (("express", 100), ("bulk", 80))
ROUTES = (RouteLimits("main", 200, -1, LANES), RouteLimits("free", lanes=LANES), RouteLimits("day", 100, 60, LANES))
ONE_LANE_LESS = dataclasses.replace(ROUTES[0], lanes=LANES[:1])
SENDERS = ("", "ann", "bob", "c:d")
SCOPES = ("all", "route:main", "lane:bulk", "user:ann", "user:", "user:c:d")
REASONS = (AWAITS_EVENT, IN_DOUBT, HELD_BY_OPERATOR, "throttled", "")
_W, _S, _U = RecipientState.WAITING, RecipientState.SENT, RecipientState.UNKNOWN


class Walk:
    """Some workers, the gate, the clock and an operator, each without any sense."""

    def __init__(self, spool: Spool, seed: int) -> None:
        self.spool, self.random = spool, random.Random(seed)
        self.ids: list[str] = []
        self.leases: list[tuple[Lease, Message]] = []
        self.settlements = 0

    async def step(self) -> str:
        """Does something; its name."""
        [doing] = self.random.choices(list(_DOINGS), weights=list(_DOINGS.values()))
        if self.ids or doing is Walk.accept:
            await doing(self)
        return doing.__name__

    def some(self, most: int = 3) -> list[str]:
        return self.random.sample(self.ids, min(len(self.ids), self.random.randint(1, most)))

    async def accept(self) -> None:
        message = a_message(recipients=self.random.randint(1, 80))
        await self.spool.accept(message)
        self.ids.append(message.message_id)

    async def claim(self) -> None:
        self.leases += [(one.lease, one.message) for one in await self.spool.claim(self.some(), "w")]

    async def intend(self) -> None:
        if not self.leases:
            return
        at = self.random.randrange(len(self.leases))
        lease, message = self.leases[at]
        limits, recipients = self.random.choice(ROUTES), self.random.randint(1, min(50, len(message.recipients)))
        facts = (RouteFact(self.random.choice(["ok", "throttled", "unreachable"]), limits.name, "X", "why"),)
        settlement = Settlement(
            lease,
            self._number(),
            states=self._states(message),
            attempts=(an_intent(self.random.randint(1, 4), tuple(range(recipients))),),
            facts=facts[: self.random.randint(0, 1)],
        )
        take = Take(self._seat(limits.name), recipients, limits)
        if isinstance(await self.spool.intend(settlement, take), Lost):
            self.leases.pop(at)
        elif self.random.random() < 0.3:
            await self.spool.intend(settlement, take)

    async def settle(self) -> None:
        await self._settle(self.random.choice([None, "due", "parked", "held", "done"]), self.random.choice(REASONS))

    async def queue(self) -> None:
        await self._settle("lane", IN_LANE)

    async def _settle(self, to: str | None, reason: str) -> None:
        if not self.leases:
            return
        at = self.random.randrange(len(self.leases))
        lease, message = self.leases[at]
        settlement = Settlement(
            lease,
            self._number(),
            to,
            self.random.choice([0, 0, 50]),
            self._seat(self.random.choice(ROUTES).name) if to == "lane" else None,
            reason,
            (_S,) * len(message.recipients) if to == "done" else self._states(message),
            attempts=(self._outcome(),) if self.random.random() < 0.4 else (),
        )
        is_written = await self.spool.settle(settlement)
        if self.random.random() < 0.3:
            assert await self.spool.settle(settlement) or not is_written, "the repeat answers the same"
        if to and self.random.random() < 0.8:  # else somebody goes on with a lease that is over
            self.leases.pop(at)

    def _number(self) -> int:
        self.settlements += 1
        return self.settlements

    def _states(self, message: Message) -> tuple[RecipientState, ...]:
        return tuple(self.random.choice([_W, _W, _S, _U]) for _ in message.recipients)

    def _seat(self, route: str) -> Seat:
        lane, sender = self.random.choice(LANES)[0], self.random.choice(SENDERS)
        return Seat(route, lane, sender, self.random.choice([1.0, 0.5, 3.0]), "example.com")

    def _outcome(self) -> Attempt:
        outcome = self.random.choice(["accepted", "unknown", "split", "rejected", "throttled"])
        return dataclasses.replace(an_intent(self.random.randint(1, 4)), outcome=outcome, ended_at_ms=1)

    async def look(self) -> None:
        await self.spool.gate(ROUTES, limit=self.random.choice([1, 5, 100]))

    async def look_without_a_lane(self) -> None:
        await self.spool.gate([ONE_LANE_LESS], limit=5)

    async def sweep(self) -> None:
        await self.spool.sweep(limit=self.random.choice([1, 100]), max_crashes=3, nudges=10)

    async def let_a_lease_end(self) -> None:
        await self.spool.redis.zadd(keys.LEASED, dict.fromkeys(self.some(), 1), xx=True)

    async def let_an_hour_come(self) -> None:
        await self.spool.redis.zadd(keys.PARKED, dict.fromkeys(self.some(), 1), xx=True)

    async def confirm(self) -> None:
        await self.spool.confirm(self.some(1)[0], self.random.randint(1, 4), "ses-1", 5)

    async def unseat(self) -> None:
        await scripts.UNSEAT(self.spool.redis, [1000, *self.some()])

    async def release(self) -> None:
        await self.spool.release(self.some(1))

    async def drop(self) -> None:
        if message := await self.spool.load(self.some(1)[0]):
            await self.spool.drop(message, (RecipientState.DROPPED,) * len(message.states), reason="x", counts={})

    async def touch(self) -> None:
        await operator.touch(
            self.spool.redis, self.random.choice(["hold", "hold", "free", "retry", "wake"]), self.some()
        )

    async def pause(self) -> None:
        until_ms = self.random.choice([0, 1, 9_999_999_999_999])
        await operator.pause(self.spool.redis, [Pause(self.random.choice(SCOPES), until_ms)], b"{}")

    async def resume(self) -> None:
        await operator.resume(self.spool.redis, SCOPES, b"{}")

    async def be_in_trouble(self) -> None:
        trouble = {"t": "X", "ts": 1, "tp": 1, "ta": "1"}
        await self.spool.redis.hset(keys.route_key(self.random.choice(ROUTES).name), mapping=trouble)


_DOINGS: dict[Callable[[Walk], Awaitable[None]], int] = {
    Walk.accept: 4,
    Walk.claim: 8,
    Walk.intend: 6,
    Walk.settle: 5,
    Walk.queue: 8,
    Walk.look: 4,
    Walk.look_without_a_lane: 1,
    Walk.sweep: 3,
    Walk.let_a_lease_end: 2,
    Walk.let_an_hour_come: 2,
    Walk.confirm: 3,
    Walk.unseat: 2,
    Walk.release: 2,
    Walk.drop: 1,
    Walk.touch: 6,
    Walk.pause: 2,
    Walk.resume: 2,
    Walk.be_in_trouble: 1,
}


@dataclasses.dataclass
class Seen:
    """What the hashes of all messages say."""

    places: dict[Place, set[str]] = dataclasses.field(default_factory=lambda: {place: set() for place in ZSETS})
    ages: Counter[str] = dataclasses.field(default_factory=Counter)
    reasons: Counter[str] = dataclasses.field(default_factory=Counter)
    lanes: Counter[str] = dataclasses.field(default_factory=Counter)
    #: Key of a sender's line -> its messages and when they were accepted.
    lines: dict[str, dict[str, float]] = dataclasses.field(default_factory=lambda: defaultdict(dict))
    #: Lane -> keys of the senders with somebody waiting.
    waiting: dict[str, set[str]] = dataclasses.field(default_factory=lambda: defaultdict(set))

    def add(self, message_id: str, fields: dict[str, str]) -> None:
        place, reason = Place(fields["p"]), fields.get("why", "")
        assert place is Place.LEASED or not {"ho", "ev"} & fields.keys(), (place, fields)
        assert place in {Place.DUE, Place.LEASED} or "g" not in fields, "a turn is used or lost"
        assert ("l" in fields) == (place is Place.PARKED and reason == IN_LANE), (place, fields)
        if place is Place.DONE:
            return
        self.places[place].add(message_id)
        self.ages[str(int(fields["at"]) // 10_000)] += 1
        if place in {Place.PARKED, Place.HELD}:
            self.reasons[f"{place}:{reason}"] += 1
        if "l" in fields:
            self.add_seat(message_id, json.loads(fields["l"]), fields)

    def add_seat(self, message_id: str, seat: dict[str, str], fields: dict[str, str]) -> None:
        at, sender = f"{seat['route']}:{seat['lane']}", hashlib.sha1(seat["sender"].encode()).hexdigest()
        self.lanes[f"{at}:messages"] += 1
        if recipients := fields["r"].count("w"):
            self.lanes[f"{at}:recipients"] += recipients
        self.lines[f"{{ms}}:line:{at}:{sender}"][message_id] = float(fields["at"])
        self.waiting[at].add(sender)


async def scored(spool: Spool, key: str) -> dict[str, float]:
    return {name.decode(): score for name, score in await spool.redis.zrange(key, 0, -1, withscores=True)}


async def agree(spool: Spool) -> Seen:
    """Compares everything with the hashes."""
    found, seen = await spool.redis.keys("{ms}:m:*"), Seen()
    pipeline = spool.redis.pipeline(transaction=False)
    for key in found:
        pipeline.hgetall(key)
    for key, fields in zip(found, await pipeline.execute(), strict=True):
        seen.add(
            key.decode().removeprefix("{ms}:m:"), {name.decode(): value.decode() for name, value in fields.items()}
        )
    for place, key in ZSETS.items():
        assert set(await scored(spool, key)) == seen.places[place], place
    assert await numbers(spool.redis, keys.AGES) == seen.ages
    assert await numbers(spool.redis, keys.REASONS) == seen.reasons
    assert await lane_numbers(spool) == seen.lanes
    lines = {key.decode() for key in await spool.redis.keys("{ms}:line:*")}
    assert {key: await scored(spool, key) for key in lines} == seen.lines
    await schedules_agree(spool, seen)
    return seen


async def schedules_agree(spool: Spool, seen: Seen) -> None:
    """Every sender with waiting mail, and nobody else, is in the schedule of its lane or on the bench."""
    for at in {f"{route.name}:{lane}" for route in ROUTES for lane, _ in LANES}:
        scheduled, served = (
            set(await scored(spool, f"{{ms}}:lane:{at}")),
            set(await scored(spool, f"{{ms}}:served:{at}")),
        )
        benched = {sender.decode() for sender in await spool.redis.hkeys(f"{{ms}}:benched:{at}")}
        assert scheduled | benched == seen.waiting[at], at
        assert scheduled.isdisjoint(benched | served), at


async def finish_everything(walk: Walk) -> None:
    """Whatever happened, every message can be brought to its end."""
    spool = walk.spool
    await spool.redis.zadd(keys.LEASED, dict.fromkeys(walk.ids, 1), xx=True)
    await spool.sweep(limit=1000, max_crashes=3, nudges=0)
    await spool.release(walk.ids)
    for one in await spool.claim(walk.ids, "w"):
        assert await spool.settle(Settlement(one.lease, 1, "done", states=(_S,) * len(one.message.recipients)))


@pytest.mark.parametrize("seed", range(6))
async def test_after_every_step_the_tables_say_what_the_messages_say(spool: Spool, seed: int):
    walk, steps = Walk(spool, seed), []
    for _ in range(STEPS):
        steps.append(await walk.step())
        try:
            await agree(spool)
        except AssertionError as error:
            error.add_note(f"after {steps[-8:]}")
            raise
    await finish_everything(walk)
    seen = await agree(spool)
    assert not any(seen.places.values())
    assert not seen.ages
