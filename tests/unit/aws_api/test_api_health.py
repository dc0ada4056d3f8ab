import dataclasses

import pytest

from aws_api.admin.feedback_words import feedback_notes
from aws_api.health import judged_health, silent_health
from spool.figures import Figures, Worker
from spool.safety import NO_ANSWER, UNCHECKED, SafetyReport
from spool.sending_quota import Pause, Trouble
from spool.states import IDENTITY, UNKNOWN_ANSWER, Place, awaits_function
from spool.waits import Wait
from tests.figures_at_rest import NOW_MS, SAFE, WELL, a_route, figures

UNSAFE = SafetyReport(is_safe=False, is_full=False, problems=("AOF is off.",))
FULL = SafetyReport(is_safe=True, is_full=True, problems=("Memory is full.",))
WEAK = dataclasses.replace(SAFE, problems=("A crash can lose mail.",))
PAUSED = Trouble("AccountSendingPausedException", "", NOW_MS - 60_000, NOW_MS + 5000, is_account=True)
AWAY = Trouble("ClientConnectorError", "no route to host", NOW_MS - 60_000, NOW_MS + 5000, is_account=False)
QUIET_WORKER = Worker("w", NOW_MS, NOW_MS - 900_000, NOW_MS - 300_000, claimed=0, active=0)


def test_safe_roomy_and_moving_is_healthy():
    health = judged_health(SAFE, WELL, stall_seconds=120)
    assert health.is_ok
    assert health.problems == ()
    assert health.figures["places"] == {"due": 0, "leased": 0, "parked": 0, "held": 0}
    assert health.figures["workers"] == 1
    assert health.figures["spool"]["is_safe"] is True


@pytest.mark.parametrize(
    ("report", "seen"),
    [
        (UNSAFE, WELL),
        (FULL, WELL),
        (UNCHECKED, WELL),
        (SAFE, figures(workers=())),
        (SAFE, figures(queues=None)),
        (SAFE, figures(longest_due_seconds=200.0, workers=(QUIET_WORKER,))),
        (SAFE, figures(draining={"worker-1": NOW_MS})),
        (SAFE, figures(routes=(a_route(trouble=PAUSED),))),
        (SAFE, figures(routes=(a_route(trouble=AWAY),))),
    ],
)
def test_anything_that_stops_mail_is_unhealthy_with_a_sentence(report: SafetyReport, seen: Figures):
    health = judged_health(report, seen, stall_seconds=120)
    assert not health.is_ok
    assert health.problems
    assert all(problem.endswith(".") for problem in health.problems)


def test_a_weak_durability_that_was_chosen_is_told_and_healthy():
    health = judged_health(WEAK, WELL, stall_seconds=120)
    assert health.is_ok
    assert health.problems == WEAK.problems


def test_held_and_parked_messages_do_not_make_the_service_unhealthy():
    places = {**WELL.places, Place.PARKED: 10**6, Place.HELD: 5}
    assert judged_health(SAFE, figures(places=places), stall_seconds=120).is_ok


def test_a_quiet_night_is_healthy():
    assert judged_health(SAFE, figures(workers=(QUIET_WORKER,)), stall_seconds=120).is_ok


def test_a_silent_server_is_unsafe_now_whatever_the_last_check_said():
    health = silent_health(SAFE, NO_ANSWER)
    assert not health.is_ok
    assert health.problems == (NO_ANSWER,)
    assert health.figures["spool"]["is_safe"] is False
    assert silent_health(UNSAFE, NO_ANSWER).problems == UNSAFE.problems


def test_a_route_in_trouble_is_told_in_words_with_the_next_probe():
    [problem] = judged_health(SAFE, figures(routes=(a_route(trouble=PAUSED),)), stall_seconds=120).problems
    assert "Route default: SES refuses the account, AccountSendingPausedException" in problem
    assert "next probe in 5.00 s" in problem
    health = judged_health(SAFE, figures(routes=(a_route(trouble=AWAY),)), stall_seconds=120)
    assert "SES cannot be reached" in health.problems[0]
    assert health.figures["routes"]["default"]["trouble"] == "ClientConnectorError"


def test_the_end_of_the_quota_and_a_pause_are_said_and_no_failure():
    pause = Pause("user:app@example.com", NOW_MS + 60_000, NOW_MS, "a secret", "somebody@here")
    route = a_route(daily_ended=True, next_slot_at_ms=NOW_MS + 600_000)
    health = judged_health(SAFE, figures(routes=(route,), pauses=(pause,)), stall_seconds=120)
    assert health.is_ok
    assert health.notes == (
        "Paused: user (see mailsluice queue), until 22:14 UTC.",
        "Route default: the daily quota is used up, next slot 22:23 UTC; 0 recipients wait.",
    )


def test_limits_that_are_only_assumed_are_said():
    route = a_route(is_fallback=True, quota_error="AccessDenied")
    [note] = judged_health(SAFE, figures(routes=(route,)), stall_seconds=120).notes
    assert "(AccessDenied), 14 recipients/s are assumed" in note


def test_mail_that_waits_for_somebody_is_a_note_with_its_number():
    places = {**WELL.places, Place.HELD: 2}
    reasons = {Place.PARKED: {IDENTITY: 1, f"{UNKNOWN_ANSWER}: Oops": 3, "throttled": 9}, Place.HELD: {"x": 2}}
    health = judged_health(SAFE, figures(places=places, reasons=reasons), 120)
    assert health.is_ok
    assert health.notes == (
        "2 messages held, nothing happens to them by itself: see mailsluice queue.",
        "1 message waits because SES does not know their sender: verify it in SES.",
        f"3 messages wait: {UNKNOWN_ANSWER}: Oops; report it.",
    )


def test_mail_that_waits_for_functions_is_a_note_for_each_rule_without_addresses_and_no_failure():
    waits = [
        Wait(Place.PARKED, awaits_function(rule), messages, None, None, "id", NOW_MS - 720_000)
        for rule, messages in (
            ("mail of b@example.com", 271),
            ("b", 7),
            ("c", 6),
            ("d", 5),
            ("e", 4),
            ("f", 3),
            ("g", 1),
        )
    ]
    health = judged_health(SAFE, WELL, 120, [Wait(Place.PARKED, "throttled", 9, None, None, ""), *waits])
    assert (health.is_ok, health.problems) == (True, ())
    first, *_, last = health.notes
    assert first == (
        "271 messages wait for the function of rule mail of …, the oldest accepted 12 min ago: "
        "mailsluice show ID tells its error and when it is asked again."
    )
    assert last == "4 messages more for those of 2 other rules: see mailsluice queue."
    assert len(health.notes) == 6


def test_events_of_ses_that_nobody_reads_are_a_note_where_they_are_to_be_read():
    at_ms = figures().taken_at_ms or 10_000_000
    fresh = figures(taken_at_ms=at_ms, feedback_seen_at_ms=at_ms - 299_000)
    old = figures(taken_at_ms=at_ms, feedback_seen_at_ms=at_ms - 301_000)
    never = figures(taken_at_ms=at_ms, feedback_seen_at_ms=0)
    assert feedback_notes(fresh, is_configured=True) == ()
    assert feedback_notes(never, is_configured=False) == ()
    [note] = feedback_notes(old, is_configured=True)
    assert "for 301 s" in note
    assert "feedback.away" in note
    assert "not read to their end yet" in feedback_notes(never, is_configured=True)[0]
