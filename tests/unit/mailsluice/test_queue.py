import json

from mailsluice.queue import Picture, advice, described, told
from spool.figures import Backlog, Figures
from spool.safety import SafetyReport
from spool.states import Place
from spool.waits import Wait
from tests.figures_at_rest import NOW_MS, SAFE, WELL, figures

PARKED = Wait(Place.PARKED, "throttled", 1200, NOW_MS + 12_000, NOW_MS + 600_000, "id-1")
HELD = Wait(Place.HELD, "workers lost", 2, NOW_MS - 3_600_000, NOW_MS - 60_000, "id-2")
UNSAFE = SafetyReport(is_safe=False, is_full=True, problems=("AOF is off.",))


def picture(
    seen: Figures = WELL, *, waits: tuple[Wait, ...] = (), report: SafetyReport = SAFE, stall_seconds: float = 120
) -> Picture:
    return Picture(seen, waits, report, stall_seconds)


def busy(**changed: object) -> Picture:
    places = {Place.DUE: 3, Place.LEASED: 16, Place.PARKED: 1200, Place.HELD: 2}
    return picture(figures(places=places, oldest_waiting_seconds=11_520.0, **changed), waits=(HELD, PARKED))


def test_an_empty_queue_needs_no_advice():
    text = told(picture())
    assert text.startswith("Nothing waits.")
    assert "What to do" not in text
    assert "Store: safe, 12 % of its memory used" in text
    assert advice(picture()) == ()


def test_totals_reasons_and_wake_ups_are_told():
    text = told(busy())
    for part in (
        "1,221 messages unfinished, the oldest for 3 h 12 min",
        "3 due",
        "16 leased",
        "1,200 parked in all, tried again by themselves:\n",
        "\n          1,200 throttled; next at 2023-11-14 22:13:32 UTC (in 12 s), last at 2023-11-14 22:23:20 UTC",
        "2 held in all, wait for you:\n",
        "\n              2 workers lost; since 2023-11-14 21:13:20 UTC (1 h ago), for instance id-2",
        "Workers: 1 alive",
        "worker-1: works on 0, claimed 1,234, last 2.00 s ago",
        "Celery queues: process 0, events 0",
    ):
        assert part in text


def test_held_messages_come_with_the_commands_that_help():
    [sentence] = advice(busy())
    assert "mailsluice show id-2" in sentence
    assert "mailsluice release" in sentence
    assert "mailsluice drop" in sentence


def test_each_odd_thing_has_its_line():
    late = Backlog(500, 61.0, "disk full\x1b[2J")
    odd = picture(figures(workers=(), queues=None, backlogs={"file": late, "log": Backlog(1, 59.0)}), report=UNSAFE)
    found = advice(odd)
    assert len(found) == 4
    assert found[0] == "AOF is off."
    assert "No worker" in found[1]
    assert "broker" in found[2]
    assert "file" in found[3]
    text = told(odd)
    assert "NOT SAFE" in text
    assert "FULL" in text
    assert "Celery queues: no answer" in text
    assert "Events: file 500 behind, log 1 behind" in text
    assert "disk full\\x1b[2J" in text


def test_a_reason_that_the_window_does_not_show_has_no_instants():
    wait = Wait(Place.PARKED, "\x1b[2J", 5, None, None, "")
    assert "5 parked in all, tried again by themselves:\n              5 \\x1b[2J\n" in told(
        picture(figures(places={**WELL.places, Place.PARKED: 5}), waits=(wait,))
    )


def test_the_object_has_the_documented_fields():
    found = json.loads(json.dumps(described(busy(backlogs={"file": Backlog(7, 1.5)}))))
    assert set(found) == {
        *("waiting", "oldest_waiting_seconds", "places", "waits", "workers", "celery_queues", "events", "store"),
        "advice",
    }
    assert found["waiting"] == 1221
    assert found["places"] == {"due": 3, "leased": 16, "parked": 1200, "held": 2}
    assert found["waits"][1] == {
        "place": "parked",
        "reason": "throttled",
        "messages": 1200,
        "first_at": "2023-11-14T22:13:32.000Z",
        "last_at": "2023-11-14T22:23:20.000Z",
        "example": "id-1",
    }
    assert found["workers"][0]["last_claim_at"] == "2023-11-14T22:13:18.000Z"
    assert found["events"] == {
        "kept": 0,
        "destinations": {"file": {"behind": 7, "oldest_seconds": 1.5, "error": ""}},
    }
    assert found["store"]["is_safe"] is True
    assert len(found["advice"]) == 1
