import dataclasses

from prometheus_client.parser import text_string_to_metric_families

from aws_api.metrics import COUNTERS, DURATIONS, LABELLED_COUNTERS, exposition
from spool.figures import Backlog, Figures
from spool.safety import SafetyReport
from spool.sending_quota import LaneView, Pause, Trouble
from spool.states import Place
from spool.tally import Histogram
from tests.figures_at_rest import NOW_MS, SAFE, WELL, a_route, figures


def scraped(seen: Figures = WELL, report: SafetyReport = SAFE) -> dict[tuple[str, ...], float]:
    """(name, label values in the order of their names …) → number."""
    text = exposition(seen, report).decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_metric_has_a_help_text_and_a_name_of_ours():
    for family in text_string_to_metric_families(exposition(WELL, SAFE).decode()):
        assert family.documentation.endswith(".")
        assert family.name.startswith("mailsluice_")


def test_no_two_rows_make_the_same_metric():
    names = [name for name, *_ in (*COUNTERS.values(), *LABELLED_COUNTERS.values(), *DURATIONS.values())]
    assert len(names) == len(set(names))


def test_counters_are_there_before_anything_was_counted():
    found = scraped()
    for name, _ in COUNTERS.values():
        assert found[f"{name}_total",] == 0


def test_counters_of_all_processes_come_with_their_labels():
    found = scraped(
        figures(
            counters={
                "accepted_messages": 12,
                "sent_recipients": 7,
                "smtp_refused:relay_denied": 3,
                "ses_calls:throttled": 2,
                "events_lost:file": 1,
                "function_tries:a: b": 5,
                "function_failures:a: b": 4,
                "function_fallbacks:a: b": 3,
            }
        )
    )
    assert found["mailsluice_accepted_messages_total",] == 12
    assert found["mailsluice_sent_recipients_total",] == 7
    assert found["mailsluice_smtp_refusals_total", "relay_denied"] == 3
    assert found["mailsluice_ses_calls_total", "throttled"] == 2
    assert found["mailsluice_events_lost_total", "file"] == 1
    figures_of_functions = ("tries", "failures", "fallbacks")
    assert [found[f"mailsluice_function_{one}_total", "a: b"] for one in figures_of_functions] == [5, 4, 3]


def test_a_counter_without_a_row_is_not_hidden():
    assert scraped(figures(counters={"new_thing": 4}))["mailsluice_other_total", "new_thing"] == 4
    assert scraped(figures(counters={"new:thing": 4}))["mailsluice_other_total", "new:thing"] == 4


def test_durations_are_histograms_by_step_and_task():
    histogram = Histogram((("0.1", 2), ("1", 3), ("+Inf", 4)), sum_seconds=9.5)
    found = scraped(figures(durations={"step:relay": histogram, "task:process": histogram, "odd": histogram}))
    assert found["mailsluice_step_duration_seconds_bucket", "0.1", "relay"] == 2
    assert found["mailsluice_step_duration_seconds_bucket", "+Inf", "relay"] == 4
    assert found["mailsluice_step_duration_seconds_count", "relay"] == 4
    assert found["mailsluice_step_duration_seconds_sum", "relay"] == 9.5
    assert found["mailsluice_task_duration_seconds_count", "process"] == 4
    assert found["mailsluice_other_duration_seconds_count", "odd"] == 4


def test_what_waits_is_told_by_place_and_reason():
    found = scraped(
        figures(
            places={**WELL.places, Place.PARKED: 5, Place.HELD: 1},
            reasons={Place.PARKED: {"throttled": 5}, Place.HELD: {'odd "reason"\n': 1}},
            oldest_waiting_seconds=33.5,
            longest_due_seconds=4.0,
        )
    )
    assert found["mailsluice_waiting_messages", "due"] == 0
    assert found["mailsluice_waiting_messages", "parked"] == 5
    assert found["mailsluice_put_aside_messages", "parked", "throttled"] == 5
    assert found["mailsluice_put_aside_messages", "held", 'odd "reason"\n'] == 1
    assert found["mailsluice_oldest_waiting_age_seconds",] == 33.5
    assert found["mailsluice_longest_due_seconds",] == 4


def test_the_spools_safety_is_one_or_nought():
    found = scraped()
    assert found["mailsluice_spool_safe",] == 1
    assert found["mailsluice_spool_full",] == 0
    assert found["mailsluice_spool_memory_used_ratio",] == 0.125
    found = scraped(report=SafetyReport(is_safe=False, is_full=True, problems=()))
    assert found["mailsluice_spool_safe",] == 0
    assert found["mailsluice_spool_full",] == 1
    assert ("mailsluice_spool_memory_used_ratio",) not in found


def test_destinations_workers_and_queues_are_counted():
    found = scraped(figures(backlogs={"file": Backlog(7, 1.5)}, events_kept=9, queues={"process": 3}))
    assert found["mailsluice_events_backlog", "file"] == 7
    assert found["mailsluice_events_backlog_age_seconds", "file"] == 1.5
    assert found["mailsluice_events_kept",] == 9
    assert found["mailsluice_workers_alive",] == 1
    assert found["mailsluice_celery_queue_tasks", "process"] == 3


def test_a_broker_without_an_answer_leaves_its_queues_out():
    assert not [key for key in scraped(dataclasses.replace(WELL, queues=None)) if "celery_queue" in key[0]]


def test_a_route_has_its_limits_its_use_and_its_lanes():
    lanes = {"express": LaneView(100), "bulk": LaneView(80, 3, 120)}
    trouble = Trouble("Throttling", "", NOW_MS, NOW_MS, is_account=True)
    found = scraped(figures(routes=(a_route(lanes=lanes, factor=0.7, trouble=trouble, daily_ended=True),)))
    assert found["mailsluice_route_max_send_rate", "default"] == 14
    assert found["mailsluice_route_effective_rate", "default"] == 13.86
    assert found["mailsluice_route_rate_factor", "default"] == 0.7
    assert found["mailsluice_route_daily_used_recipients", "default"] == 1204
    assert found["mailsluice_route_daily_limit_recipients", "default"] == 50_000
    assert found["mailsluice_route_daily_quota_ended", "default"] == 1
    assert found["mailsluice_route_breaker_open", "default"] == 1
    assert found["mailsluice_route_limits_age_seconds", "default"] == 20
    assert found["mailsluice_lane_messages", "bulk", "default"] == 3
    assert found["mailsluice_lane_recipients", "bulk", "default"] == 120
    assert found["mailsluice_lane_recipients", "express", "default"] == 0


def test_what_ses_never_told_is_absent_and_no_limit_is_infinite():
    route = a_route(max_send_rate=None, fetched_at_ms=0, rate=float("inf"), daily_limit=float("inf"))
    found = scraped(figures(routes=(route,)))
    assert ("mailsluice_route_max_send_rate", "default") not in found
    assert ("mailsluice_route_limits_age_seconds", "default") not in found
    assert found["mailsluice_route_effective_rate", "default"] == float("inf")
    assert found["mailsluice_route_daily_limit_recipients", "default"] == float("inf")


def test_pauses_and_drains_are_counted():
    found = scraped(figures(pauses=(Pause("all"), Pause("lane:bulk"), Pause("lane:x")), draining={"worker-1": 1}))
    assert [found["mailsluice_pauses", kind] for kind in ("all", "route", "lane", "user", "domain")] == [1, 0, 2, 0, 0]
    assert found["mailsluice_workers_draining",] == 1


def test_the_age_of_the_last_read_of_ses_s_events_is_absent_before_the_first():
    assert ("mailsluice_feedback_seen_age_seconds",) not in scraped(figures())
    found = scraped(figures(feedback_seen_at_ms=NOW_MS - 90_000))
    assert found["mailsluice_feedback_seen_age_seconds",] == 90
