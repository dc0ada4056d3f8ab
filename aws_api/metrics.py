"""GET /metrics: the whole cluster for Prometheus, from the numbers that all processes keep in Redis.

Scrape one API process, not all: each tells the same. A counter of ours without a row below is not hidden: it comes
as `mailsluice_other_total{name=…}`. Without an answer of the spool's server the scrape fails with 503.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from aws_api.admin.event_words import destination_names
from aws_api.route_metrics import route_metrics
from aws_api.rule_metrics import rule_metrics
from aws_api.tools import TOOLS
from spool.assembly import limits_of
from spool.figures import Figures, read_figures
from spool.safety import SafetyReport
from spool.scripts import StoreUnavailable
from spool.tally import Histogram

ANSWER_SECONDS = 2.0

#: Counter in Redis → (metric without _total, help). All are shown from the start, at 0.
COUNTERS: dict[str, tuple[str, str]] = {
    "accepted_messages": ("mailsluice_accepted_messages", "Messages taken into the spool, bounces included."),
    "accepted_recipients": ("mailsluice_accepted_recipients", "Recipients of the messages taken into the spool."),
    "withdrawn_recipients": (
        "mailsluice_withdrawn_recipients",
        "Recipients taken back because their client was told 451; they count as accepted too.",
    ),
    "withdrawn_messages": ("mailsluice_withdrawn_messages", "Messages taken back likewise."),
    "finished_messages": ("mailsluice_finished_messages", "Messages whose every recipient has a final state."),
    "held_messages": ("mailsluice_held_messages", "Messages that were put aside for the operator, each time."),
    "sent_recipients": ("mailsluice_sent_recipients", "Recipients accepted by SES."),
    "rejected_recipients": (
        "mailsluice_rejected_recipients",
        "Recipients refused by SES for good, bounced by a rule, or on the suppression list.",
    ),
    "suppressed_recipients": (
        "mailsluice_suppressed_recipients",
        "Recipients of accepted mail that were on the suppression list; they count as rejected too.",
    ),
    "dropped_recipients": ("mailsluice_dropped_recipients", "Recipients dropped by a rule or the operator."),
    "expired_recipients": ("mailsluice_expired_recipients", "Recipients given up because they were too old."),
    "deferred_recipients": ("mailsluice_deferred_recipients", "Recipients put off to a later round, each time."),
    "throttled_recipients": ("mailsluice_throttled_recipients", "Recipients of throttled SES calls, each time."),
    "unavailable_recipients": (
        "mailsluice_unavailable_recipients",
        "Recipients of SES calls that failed before SES took them, each time.",
    ),
    "unknown_recipients": ("mailsluice_unknown_recipients", "Recipients of SES calls without an answer, each time."),
    "bounces_made": ("mailsluice_bounces", "Bounces made for senders."),
    "repeated_messages": (
        "mailsluice_repeated_messages",
        "Messages that came again with their key and were not taken.",
    ),
    "smtp_connections": ("mailsluice_smtp_connections", "SMTP connections opened."),
    "smtp_accepted": ("mailsluice_smtp_accepted", "Messages that an SMTP client was told OK for."),
    "api_accepted": ("mailsluice_api_accepted", "Sends that a client of the SES API was told the id of."),
    "events_trimmed": ("mailsluice_events_trimmed", "Events removed because every destination is past them."),
}

#: Prefix of a counter `prefix:label` → (metric without _total, label, help).
LABELLED_COUNTERS: dict[str, tuple[str, str, str]] = {
    "smtp_refused": ("mailsluice_smtp_refusals", "reason", "SMTP commands and messages refused, by reason."),
    "api_refused": ("mailsluice_api_refusals", "error", "Sends of clients of the SES API refused, by error."),
    "ses_calls": ("mailsluice_ses_calls", "outcome", "SES calls by outcome."),
    "feedback_events": ("mailsluice_feedback_events", "meaning", "SES's own events read, by what became of them."),
    "feedback_recipients": (
        "mailsluice_feedback_recipients",
        "happening",
        "Recipients of whom SES told something after it took their mail, by what.",
    ),
    "function_tries": ("mailsluice_function_tries", "rule", "Tries of functions that were begun, by their rule."),
    "function_failures": ("mailsluice_function_failures", "rule", "Tries of functions that failed, by their rule."),
    "function_fallbacks": (
        "mailsluice_function_fallbacks",
        "rule",
        "Calls of functions that the fallback of their rule decided.",
    ),
    "events_published": ("mailsluice_events_published", "destination", "Events a destination has taken."),
    "events_refused": ("mailsluice_events_refused", "destination", "Events a destination can never take."),
    "events_too_old": (
        "mailsluice_events_too_old",
        "destination",
        "Events that a failing destination did not take in time.",
    ),
    "events_lost": ("mailsluice_events_lost", "destination", "Events removed before a destination took them."),
}
_OTHER = ("mailsluice_other", "name", "Counters without a metric of their own.")

#: Prefix of a duration `prefix:label` → (metric, label, help).
DURATIONS: dict[str, tuple[str, str, str]] = {
    "step": ("mailsluice_step_duration_seconds", "step", "Time that a step of the pipeline took."),
    "task": ("mailsluice_task_duration_seconds", "task", "Time that a Celery task took."),
    "feedback": ("mailsluice_feedback_duration_seconds", "part", "lag = from SES's own instant until it was applied."),
    "smtp": ("mailsluice_smtp_duration_seconds", "part", "Time from the final dot to the spool's answer."),
    "api": ("mailsluice_api_duration_seconds", "part", "Time from a send that was read to the spool's answer."),
}
_OTHER_DURATION = ("mailsluice_other_duration_seconds", "name", "Durations without a metric of their own.")


class Snapshot(Collector):
    """One look at the cluster as Prometheus metrics."""

    def __init__(self, figures: Figures, report: SafetyReport) -> None:
        self._figures = figures
        self._report = report

    def collect(self) -> Iterable[Metric]:
        yield from _counters(self._figures.counters)
        yield from _durations(self._figures.durations)
        yield from _waiting(self._figures)
        yield from route_metrics(self._figures)
        yield from rule_metrics(self._figures)
        yield from _spool(self._report)
        yield from _surroundings(self._figures)


def exposition(figures: Figures, report: SafetyReport) -> bytes:
    """The text of a scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Snapshot(figures, report))
    return generate_latest(registry)


def _counters(numbers: Mapping[str, int]) -> Iterator[Metric]:
    for counter, (name, text) in COUNTERS.items():
        yield CounterMetricFamily(name, text, value=numbers.get(counter, 0))
    families = {
        prefix: CounterMetricFamily(name, text, labels=[label])
        for prefix, (name, label, text) in LABELLED_COUNTERS.items()
    }
    other = CounterMetricFamily(_OTHER[0], _OTHER[2], labels=[_OTHER[1]])
    for counter, number in numbers.items():
        if counter in COUNTERS:
            continue
        prefix, _, label = counter.partition(":")
        family = families.get(prefix)
        (family or other).add_metric([label if family else counter], number)
    yield from (*families.values(), other)


def _durations(histograms: Mapping[str, Histogram]) -> Iterator[Metric]:
    families = {
        prefix: HistogramMetricFamily(name, text, labels=[label]) for prefix, (name, label, text) in DURATIONS.items()
    }
    other = HistogramMetricFamily(_OTHER_DURATION[0], _OTHER_DURATION[2], labels=[_OTHER_DURATION[1]])
    for name, histogram in histograms.items():
        prefix, _, label = name.partition(":")
        family = families.get(prefix)
        (family or other).add_metric(
            [label if family else name], buckets=list(histogram.buckets), sum_value=histogram.sum_seconds
        )
    yield from (*families.values(), other)


def _waiting(figures: Figures) -> Iterator[Metric]:
    places = GaugeMetricFamily("mailsluice_waiting_messages", "Unfinished messages by place.", labels=["place"])
    for place, messages in figures.places.items():
        places.add_metric([place.value], messages)
    reasons = GaugeMetricFamily(
        "mailsluice_put_aside_messages", "Parked and held messages by reason.", labels=["place", "reason"]
    )
    for place, by_reason in figures.reasons.items():
        for reason, messages in by_reason.items():
            reasons.add_metric([place.value, reason], messages)
    yield from (places, reasons)
    yield GaugeMetricFamily(
        "mailsluice_oldest_waiting_age_seconds",
        "Age of the oldest unfinished message, up to 10 s too small.",
        value=figures.oldest_waiting_seconds,
    )
    yield GaugeMetricFamily(
        "mailsluice_longest_due_seconds",
        "How long work has been due that no worker has taken.",
        value=figures.longest_due_seconds,
    )


def _spool(report: SafetyReport) -> Iterator[Metric]:
    yield GaugeMetricFamily("mailsluice_spool_safe", "1 = the store keeps what it answers for.", value=report.is_safe)
    yield GaugeMetricFamily("mailsluice_spool_full", "1 = above the high-water mark.", value=report.is_full)
    if report.memory_percent is not None:
        yield GaugeMetricFamily(
            "mailsluice_spool_memory_used_ratio",
            "Share of the store's memory limit in use.",
            value=report.memory_percent / 100,
        )
    if report.free_disk_bytes is not None:
        yield GaugeMetricFamily(
            "mailsluice_free_disk_bytes", "Free space of the fullest disk in use.", value=report.free_disk_bytes
        )


def _surroundings(figures: Figures) -> Iterator[Metric]:
    yield GaugeMetricFamily("mailsluice_workers_alive", "Workers with a fresh heartbeat.", value=len(figures.workers))
    yield GaugeMetricFamily("mailsluice_events_kept", "Events kept for the destinations.", value=figures.events_kept)
    if figures.feedback_seen_at_ms:
        yield GaugeMetricFamily(
            "mailsluice_feedback_seen_age_seconds",
            "How long ago SES's events were read to their end.",
            value=max(0.0, (figures.taken_at_ms - figures.feedback_seen_at_ms) / 1000),
        )
    yield GaugeMetricFamily(
        "mailsluice_suppressed_addresses", "Addresses on the suppression list.", value=figures.suppressed_addresses
    )
    senders = GaugeMetricFamily(
        "mailsluice_reputation_senders", "Senders warned of or paused for bounces or complaints.", labels=["level"]
    )
    for level in ("warned", "paused"):
        senders.add_metric([level], sum(one.level == level for one in figures.standings))
    yield senders
    if figures.feedback_applied_at_ms:
        yield GaugeMetricFamily(
            "mailsluice_feedback_applied_age_seconds",
            "How long ago an event of SES was applied.",
            value=max(0.0, (figures.taken_at_ms - figures.feedback_applied_at_ms) / 1000),
        )
    yield GaugeMetricFamily(
        "mailsluice_feedback_waiting_events",
        "Events of SES in the spool's inbox: not applied yet, or about a send that is not known yet.",
        value=figures.feedback_waiting,
    )
    behind = GaugeMetricFamily(
        "mailsluice_events_backlog", "Events a destination has yet to take.", labels=["destination"]
    )
    age = GaugeMetricFamily(
        "mailsluice_events_backlog_age_seconds", "Age of the oldest of them.", labels=["destination"]
    )
    for destination, backlog in figures.backlogs.items():
        behind.add_metric([destination], backlog.events)
        age.add_metric([destination], backlog.oldest_seconds)
    queues = GaugeMetricFamily("mailsluice_celery_queue_tasks", "Tasks in a Celery queue.", labels=["queue"])
    for queue, tasks in (figures.queues or {}).items():
        queues.add_metric([queue], tasks)
    yield from (behind, age, queues)


async def metrics(request: web.Request) -> web.Response:
    """One scrape."""
    tools = request.app[TOOLS]
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            limits = list(limits_of(tools.settings).values())
            names = await destination_names(tools.settings, tools.configuration_sets)
            figures = await read_figures(tools.spool, tools.broker, names, limits)
    except (StoreUnavailable, TimeoutError):
        return web.Response(text="The spool's server does not answer: there are no figures.\n", status=503)
    text = exposition(figures, tools.watch.report)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})
