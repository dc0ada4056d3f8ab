"""Random moves against a real server: every message in exactly one place, the side tables exact at every moment."""

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from config.redis_clients import redis_client
from spool import keys
from spool.content import FolderContents
from spool.records import Lease, Settlement
from spool.states import MESSAGE_TABLE, Move, Place, RecipientState
from spool.store import Spool
from spool.verdicts import Verdict
from tests.servers import RedisServer
from tests.store.messages import ZSETS, a_message, end_lease, numbers, wake_now

REASONS = st.sampled_from(["throttled", "daily quota", "in doubt", ""])
MAX_CRASHES = 3


class SpoolMachine(RuleBasedStateMachine):
    """A model of places beside the server. `server` is set by the test."""

    server: RedisServer
    messages = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.server.call("FLUSHALL", "SYNC")
        self.spool = Spool(
            redis_client(self.server.url),
            FolderContents(Path(tempfile.gettempdir()) / "never-made"),
            inline_content_bytes=1 << 20,
            keep_finished_seconds=3600,
            lease_seconds=600,
        )
        self.places: dict[str, Place] = {}
        self.reasons: dict[str, str] = {}
        self.crashes: dict[str, int] = {}
        self.leases: dict[str, list[Lease]] = {}
        self.settlements = self.written = 0

    def teardown(self) -> None:
        self.run(self.spool.close())
        self.loop.close()

    def run(self, doing):
        return self.loop.run_until_complete(doing)

    def moved(self, message_id: str, move: Move, reason: str = "") -> None:
        after = MESSAGE_TABLE[self.places[message_id], move]
        if after is not self.places[message_id]:
            self.places[message_id], self.reasons[message_id] = after, reason

    @rule(target=messages, recipients=st.integers(1, 3))
    def accept(self, recipients: int):
        message = a_message(recipients=recipients)
        self.run(self.spool.accept(message))
        self.places[message.message_id] = Place.DUE
        return message.message_id

    @rule(ids=st.lists(messages, max_size=5))
    def claim(self, ids: list[str]):
        expected = {one for one in ids if self.places[one] is Place.DUE}
        claimed = self.run(self.spool.claim(ids, "w"))
        assert {one.lease.message_id for one in claimed} == expected
        for one in claimed:
            self.moved(one.lease.message_id, Move.CLAIM)
            self.leases.setdefault(one.lease.message_id, []).append(one.lease)

    @rule(
        id_=messages,
        move=st.sampled_from([Move.PUT_BACK, Move.PARK, Move.HOLD, Move.FINISH, None]),
        reason=REASONS,
        which=st.integers(0, 3),
        spawns=st.integers(0, 2),
        adds=st.integers(0, 2),
    )
    def settle(self, id_: str, move: Move | None, reason: str, which: int, spawns: int, adds: int):
        if id_ not in self.leases:
            return
        leases = self.leases[id_]
        lease = leases[max(0, len(leases) - 1 - which)]
        to = {Move.PUT_BACK: "due", Move.PARK: "parked", Move.HOLD: "held", Move.FINISH: "done", None: None}[move]
        spawned = tuple(a_message() for _ in range(spawns))
        self.settlements += 1
        verdict, states = self.judged(id_, adds)
        settlement = Settlement(
            lease,
            number=self.settlements,
            to=to,
            after_seconds=3600,
            reason=reason,
            spawned=spawned,
            counts={"settled": 1, "accepted_recipients": adds},
            states=states,
            verdict=verdict,
        )
        may = self.places[id_] is Place.LEASED and lease is leases[-1]
        assert self.run(self.spool.settle(settlement)) == may
        assert self.run(self.spool.settle(settlement)) == may, "the repeat answers the same"
        if not may:
            return
        self.written += 1
        for new in spawned:
            self.places[new.message_id] = Place.DUE
        if move:
            self.moved(id_, move, reason)
            self.crashes[id_] = 0

    def judged(self, id_: str, adds: int) -> tuple[Verdict, tuple[RecipientState, ...]]:
        """What rules might say about the message now: so many more recipients."""
        message = self.run(self.spool.load(id_))
        known = message.verdict or Verdict("1")
        more = tuple(f"tee{len(known.added) + number}@example.org" for number in range(adds))
        message = message.judged(replace(known, added=known.added + more))
        return message.verdict, message.states

    @rule(id_=messages)
    def lease_ends(self, id_: str):
        if self.places[id_] is Place.LEASED:
            self.run(end_lease(self.spool.redis, id_))
            self.run(self.spool.sweep(limit=100, max_crashes=MAX_CRASHES, nudges=0))
            self.crashes[id_] = self.crashes.get(id_, 0) + 1
            self.moved(id_, Move.LEASE_END)
            if self.crashes[id_] >= MAX_CRASHES:
                self.places[id_], self.reasons[id_] = Place.HELD, "workers lost"

    @rule(id_=messages)
    def wake(self, id_: str):
        if self.places[id_] is Place.PARKED:
            self.run(wake_now(self.spool.redis, id_))
            assert self.run(self.spool.sweep(limit=100, max_crashes=MAX_CRASHES, nudges=0)).woken == 1
            self.moved(id_, Move.WAKE)

    @rule(id_=messages)
    def release(self, id_: str):
        may = self.places[id_] in {Place.PARKED, Place.HELD}
        assert self.run(self.spool.release([id_])) == [may]
        if may:
            self.moved(id_, Move.RELEASE)
            self.crashes[id_] = 0

    @rule(id_=messages)
    def drop(self, id_: str):
        message = self.run(self.spool.load(id_))
        if message is None:
            return
        may = self.places[id_] in {Place.PARKED, Place.HELD}
        dropped = (RecipientState.DROPPED,) * len(message.states)
        assert self.run(self.spool.drop(message, dropped, reason="x", counts={"finished_messages": 1})) == may
        if may:
            self.moved(id_, Move.DROP)

    @rule(id_=messages)
    def withdraw(self, id_: str):
        may = self.places[id_] is Place.DUE and id_ not in self.leases
        assert self.run(self.spool.withdraw([id_])) == [may]
        if may:
            self.places[id_] = Place.DONE  # as far as the tables are concerned

    @precondition(lambda self: self.places)
    @rule()
    def finish_everything(self):
        """What waits is brought to its end: all side tables are empty then."""
        stuck = [one for one, place in self.places.items() if place in {Place.PARKED, Place.HELD}]
        self.run(self.spool.release(stuck))
        due = [one for one, place in self.places.items() if place is not Place.DONE]
        for claimed in self.run(self.spool.claim(due, "w")):
            self.leases.setdefault(claimed.lease.message_id, []).append(claimed.lease)
        for one in due:
            assert self.run(self.spool.settle(Settlement(self.leases[one][-1], to="done")))
            self.places[one] = Place.DONE

    @invariant()
    def every_message_is_in_exactly_one_place(self):
        for place, key in ZSETS.items():
            there = {id_.decode() for id_ in self.run(self.spool.redis.zrange(key, 0, -1))}
            assert there == {id_ for id_, where in self.places.items() if where is place}, place

    @invariant()
    def the_side_tables_agree(self):
        unfinished = sum(place is not Place.DONE for place in self.places.values())
        ages = self.run(numbers(self.spool.redis, keys.AGES))
        assert sum(ages.values()) == unfinished
        assert all(value > 0 for value in ages.values())
        expected: dict[str, int] = {}
        for id_, place in self.places.items():
            if place in {Place.PARKED, Place.HELD}:
                name = f"{place.value}:{self.reasons.get(id_, '')}"
                expected[name] = expected.get(name, 0) + 1
        assert self.run(numbers(self.spool.redis, keys.REASONS)) == expected
        counters = self.run(numbers(self.spool.redis, keys.COUNTERS))
        assert counters.get("accepted_messages", 0) == len(self.places)
        assert counters.get("settled", 0) == self.written

    @invariant()
    def every_recipient_is_counted_once(self):
        found = [message for one in self.places if (message := self.run(self.spool.load(one)))]
        counters = self.run(numbers(self.spool.redis, keys.COUNTERS))
        there = counters.get("accepted_recipients", 0) - counters.get("withdrawn_recipients", 0)
        assert there == sum(len(message.states) for message in found)
        assert all(len(message.recipients) == len(message.states) for message in found)

    @invariant()
    def the_hash_and_the_places_say_the_same(self):
        for id_, place in self.places.items():
            raw = self.run(self.spool.redis.hget(keys.message_key(id_), "p"))
            assert raw is None or raw.decode() == place.value


@pytest.mark.timeout(300)
def test_no_sequence_of_moves_brings_the_tables_out_of_step(server: RedisServer):
    machine = type("Machine", (SpoolMachine,), {"server": server})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
