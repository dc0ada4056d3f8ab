import dataclasses

import orjson
import pytest

from spool.figures import Figures, Worker, living_workers, standstills
from spool.states import AWAITS_EVENT, Place

NOW = 1_700_000_000_000


def beat(**changed: object) -> bytes:
    return orjson.dumps(
        {
            "at_ms": NOW - 1000,
            "claimed": 7,
            "active": 2,
            "started_at_ms": NOW - 60_000,
            "last_claim_at_ms": NOW - 500,
            **changed,
        }
    )


def figures(*, due_seconds: float = 0.0, queues: object = (), workers: tuple[Worker, ...] | None = None) -> Figures:
    return Figures(
        taken_at_ms=NOW,
        places=dict.fromkeys((Place.DUE, Place.LEASED, Place.PARKED, Place.HELD), 1),
        reasons={Place.PARKED: {}, Place.HELD: {}},
        oldest_waiting_seconds=0.0,
        longest_due_seconds=due_seconds,
        counters={},
        durations={},
        events_kept=0,
        backlogs={},
        workers=living_workers({b"w1": beat()}, NOW) if workers is None else workers,
        queues={"process": 0} if queues == () else queues,
    )


def worker(*, started: int, last_claim: int) -> Worker:
    return Worker("w", NOW, NOW - started * 1000, NOW - last_claim * 1000 if last_claim else 0, 0, 0)


def test_a_fresh_heartbeat_is_a_living_worker():
    assert living_workers({b"w1": beat()}, NOW) == (
        Worker("w1", NOW - 1000, NOW - 60_000, NOW - 500, claimed=7, active=2),
    )


def test_a_worker_that_was_silent_for_half_a_minute_is_gone():
    rows = {b"old": beat(at_ms=NOW - 30_001), b"new": beat(at_ms=NOW - 30_000)}
    assert [one.name for one in living_workers(rows, NOW)] == ["new"]


@pytest.mark.parametrize("row", [b"", b"not json", b"[]", b"3", b'{"at_ms": "soon"}', b'{"at_ms": {}}'])
def test_a_row_that_is_no_heartbeat_is_passed_over(row):
    assert [one.name for one in living_workers({b"a": row, b"b": beat()}, NOW)] == ["b"]


def test_a_heartbeat_without_a_claim_yet_counts_from_the_start():
    workers = living_workers({b"w": beat(last_claim_at_ms=None)}, NOW)
    assert figures(workers=workers).idle_seconds == 60


def test_the_last_claim_of_any_worker_counts():
    assert figures(workers=(worker(started=500, last_claim=300), worker(started=500, last_claim=20))).idle_seconds == 20
    assert figures(workers=()).idle_seconds is None


def test_all_unfinished_messages_wait():
    assert figures().waiting == 4


def test_mail_that_moves_stands_nowhere_still():
    assert standstills(figures(), stall_seconds=120) == ()


def test_no_worker_is_a_standstill():
    [problem] = standstills(figures(workers=()), stall_seconds=120)
    assert "mailsluice worker" in problem


def test_a_broker_without_an_answer_is_a_standstill():
    [problem] = standstills(figures(queues=None), stall_seconds=120)
    assert "broker" in problem


@pytest.mark.parametrize(
    ("due", "idle", "is_still"),
    [
        (121, 121, True),
        (119, 121, False),  # a quiet night, and mail that has just come
        (121, 119, False),  # a long queue that is being worked on
    ],
)
def test_work_that_is_due_and_not_claimed_for_long_is_a_standstill(due, idle, is_still):
    found = figures(due_seconds=due, workers=(worker(started=1000, last_claim=idle),))
    assert bool(standstills(found, stall_seconds=120)) == is_still


@pytest.mark.parametrize(
    ("doubts", "seen_at_ms", "words"),
    [
        (3, NOW - 61_000, "were not read for 61 s, and messages in doubt wait for them (3)"),
        (3, 0, "were never read"),
        (3, NOW - 60_000, ""),
        (0, NOW - 600_000, ""),  # nobody misses them
    ],
)
def test_doubts_stand_still_while_the_events_of_ses_are_not_read(doubts: int, seen_at_ms: int, words: str):
    reasons = {Place.PARKED: {AWAITS_EVENT: doubts} if doubts else {}, Place.HELD: {}}
    found = dataclasses.replace(figures(), reasons=reasons, feedback_seen_at_ms=seen_at_ms)
    said = standstills(found, stall_seconds=120)
    assert len(said) == bool(words)
    assert words in "".join(said)
