"""Figures of a cluster where everything is well, for tests that change one thing."""

import dataclasses

from spool.figures import Figures, Worker
from spool.safety import SafetyReport
from spool.states import Place

NOW_MS = 1_700_000_000_000

WELL = Figures(
    taken_at_ms=NOW_MS,
    places=dict.fromkeys((Place.DUE, Place.LEASED, Place.PARKED, Place.HELD), 0),
    reasons={Place.PARKED: {}, Place.HELD: {}},
    oldest_waiting_seconds=0.0,
    longest_due_seconds=0.0,
    counters={},
    durations={},
    events_kept=0,
    backlogs={},
    workers=(Worker("worker-1", NOW_MS, NOW_MS - 60_000, NOW_MS - 2_000, claimed=1234, active=0),),
    queues={"process": 0, "events": 0},
)

SAFE = SafetyReport(is_safe=True, is_full=False, problems=(), memory_percent=12.5, free_disk_bytes=10**9)


def figures(**changed: object) -> Figures:
    """WELL with some fields changed."""
    return dataclasses.replace(WELL, **changed)
