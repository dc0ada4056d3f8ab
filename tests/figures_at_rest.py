"""Figures of a cluster where everything is well, for tests that change one thing."""

import dataclasses

from spool.figures import Figures, Worker
from spool.safety import SafetyReport
from spool.sending_quota import LaneView, RouteLimits, RouteView
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

LIMITS = RouteLimits("default", lanes=(("express", 100), ("bulk", 80)))


def a_route(**changed: object) -> RouteView:
    """A route of 14/s and 50,000 a day with nobody waiting, some fields changed."""
    well = RouteView(
        "default",
        rate=13.86,
        lanes={"express": LaneView(100), "bulk": LaneView(80)},
        max_send_rate=14.0,
        max_24_hour_send=50_000.0,
        sent_last_24_hours=1204.0,
        daily_limit=50_000.0,
        fetched_at_ms=NOW_MS - 20_000,
        taken_at_ms=NOW_MS,
    )
    return dataclasses.replace(well, **changed)


def figures(**changed: object) -> Figures:
    """WELL with some fields changed."""
    return dataclasses.replace(WELL, **changed)
