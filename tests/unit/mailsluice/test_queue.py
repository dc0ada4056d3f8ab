import dataclasses
import json

from aws_api.admin.picture import Picture, advice, described
from mailsluice.queue import told
from spool.figures import Backlog, Figures
from spool.safety import SafetyReport
from spool.sending_quota import LaneView, Pause
from spool.states import FAR_FUTURE_MS, IN_LANE, Place, awaits_function
from spool.waits import Wait
from tests.figures_at_rest import LIMITS, NOW_MS, SAFE, WELL, a_route, figures

PARKED = Wait(Place.PARKED, "throttled", 1200, NOW_MS + 12_000, NOW_MS + 600_000, "id-1")
HELD = Wait(Place.HELD, "workers lost", 2, NOW_MS - 3_600_000, NOW_MS - 60_000, "id-2")
UNSAFE = SafetyReport(is_safe=False, is_full=True, problems=("AOF is off.",))


def picture(
    seen: Figures = WELL, *, waits: tuple[Wait, ...] = (), report: SafetyReport = SAFE, stall_seconds: float = 120
) -> Picture:
    return Picture(seen, waits, report, stall_seconds, {"default": LIMITS})


def busy(**changed: object) -> Picture:
    places = {Place.DUE: 3, Place.LEASED: 16, Place.PARKED: 1200, Place.HELD: 2}
    return picture(figures(places=places, oldest_waiting_seconds=11_520.0, **changed), waits=(HELD, PARKED))


def test_an_empty_queue_needs_no_advice():
    text = told(picture())
    assert text.startswith("Nothing waits.")
    assert "What to do" not in text
    assert "Store: safe, 12 % of its memory used" in text
    assert advice(picture()) == ()


def test_the_age_of_mail_that_has_just_come_is_not_told_as_nothing():
    seen = figures(places={**WELL.places, Place.DUE: 1}, oldest_waiting_seconds=0.0)
    assert told(picture(seen)).startswith("1 message unfinished, the oldest for less than 10 s\n")


def test_one_wake_up_is_told_once():
    once = dataclasses.replace(PARKED, messages=1, last_at_ms=PARKED.first_at_ms)
    seen = figures(places={**WELL.places, Place.PARKED: 1})
    assert "next at 2023-11-14 22:13:32 UTC (in 12 s)\n" in told(picture(seen, waits=(once,)))


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
    assert "mailsluice cancel" in sentence


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
        *("advice", "notes", "routes", "pauses"),
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
        "oldest_at": None,
    }
    assert found["workers"][0]["last_claim_at"] == "2023-11-14T22:13:18.000Z"
    assert found["events"] == {
        "kept": 0,
        "destinations": {"file": {"behind": 7, "oldest_seconds": 1.5, "error": ""}},
    }
    assert found["store"]["is_safe"] is True
    assert len(found["advice"]) == 1


def test_who_waits_for_which_rule_is_told_with_the_oldest():
    waits = (
        Wait(Place.PARKED, awaits_function("disclaimer"), 271, NOW_MS + 5000, NOW_MS + 5000, "id-4", NOW_MS - 720_000),
        Wait(Place.PARKED, awaits_function("b@example.com"), 1, None, None, ""),
    )
    shown = picture(figures(places={**WELL.places, Place.PARKED: 272}), waits=waits)
    look = "mailsluice show {} tells its error and when it is asked again."
    assert "\n            271 waits for a function: disclaimer; next at" in told(shown)
    assert described(shown)["notes"] == (
        f"271 messages wait for the function of rule disclaimer, the oldest accepted 12 min ago: {look.format('id-4')}",
        f"1 message waits for the function of rule b@example.com: {look.format('ID')}",
    )
    assert described(shown)["waits"][0]["oldest_at"] == "2023-11-14T22:01:20.000Z"


def waiting(**changed: object) -> Picture:
    """400 messages with 412 recipients wait in bulk until the daily quota has room."""
    seen = {"express": LaneView(100), "bulk": LaneView(80, 400, 412, drained_at_ms=NOW_MS + 11_000_000)}
    route = a_route(**{"lanes": seen, "daily_ended": True, "next_slot_at_ms": NOW_MS + 600_000, **changed})
    places = {**WELL.places, Place.PARKED: 400}
    wait = Wait(Place.PARKED, IN_LANE, 400, FAR_FUTURE_MS, FAR_FUTURE_MS, "id-3")
    pauses = (Pause("route:other", 0, NOW_MS - 1000, "move \x1b[2J", "somebody@here"),)
    draining = {"worker-1": NOW_MS - 1000}
    return picture(figures(places=places, routes=(route,), pauses=pauses, draining=draining), waits=(wait,))


def test_why_a_lane_waits_and_until_when_is_told():
    text = told(waiting())
    for part in (
        "\n            400 waits for its turn, see the routes below\n",
        "\nRoute default: 13.86 recipients/s (SES says 14/s); 1,204 recipients in 24 h of 50,000 (SES says so)\n",
        "\n  lane bulk: 400 messages, 412 recipients wait for daily quota; next slot 22:23 UTC; drained by 01:17 UTC",
        "\n  - Paused: route other, until mailsluice resume, by somebody@here: move \\x1b[2J; mailsluice resume",
        "worker-1: works on 0, claimed 1,234, last 2.00 s ago, is being drained",
    ):
        assert part in text, part
    assert "lane express" not in text


def test_a_lane_that_waits_stands_in_the_object_with_its_words():
    found = json.loads(json.dumps(described(waiting())))
    [route] = found["routes"]
    assert (route["name"], route["rate"], route["daily_limit"], route["daily_ended"]) == ("default", 13.86, 5e4, True)
    assert route["next_slot_at"] == "2023-11-14T22:23:20.000Z"
    express, bulk = route["lanes"]
    assert (express["waits_for"], express["words"]) == (None, "")
    assert (bulk["waits_for"], bulk["messages"], bulk["recipients"]) == ("daily quota", 400, 412)
    assert bulk["words"].startswith("412 recipients wait for daily quota; next slot 22:23 UTC")
    assert found["pauses"][0]["until"] is None
    assert found["workers"][0]["draining_since"] == "2023-11-14T22:13:19.000Z"
    assert len(found["notes"]) == 3


def test_no_limit_is_null_in_the_object():
    found = described(waiting(rate=float("inf"), daily_limit=float("inf")))
    assert (found["routes"][0]["rate"], found["routes"][0]["daily_limit"]) == (None, None)
    assert json.dumps(found, allow_nan=False)
