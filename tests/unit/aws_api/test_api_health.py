import dataclasses

import pytest

from aws_api.health import judged_health, silent_health
from spool.figures import Figures, Worker
from spool.safety import NO_ANSWER, UNCHECKED, SafetyReport
from spool.states import Place
from tests.figures_at_rest import NOW_MS, SAFE, WELL, figures

UNSAFE = SafetyReport(is_safe=False, is_full=False, problems=("AOF is off.",))
FULL = SafetyReport(is_safe=True, is_full=True, problems=("Memory is full.",))
WEAK = dataclasses.replace(SAFE, problems=("A crash can lose mail.",))
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
    health = silent_health(SAFE)
    assert not health.is_ok
    assert health.problems == (NO_ANSWER,)
    assert health.figures["spool"]["is_safe"] is False
    assert silent_health(UNSAFE).problems == UNSAFE.problems
