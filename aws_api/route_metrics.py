"""The routes as Prometheus metrics: what SES allows, what is used, who waits, and what stops it. Pure.

A limit that does not exist is +Inf; a figure that SES never told is absent.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from spool.figures import Figures
from spool.sending_quota import RouteView


def _age_seconds(view: RouteView) -> float | None:
    return max(0.0, (view.taken_at_ms - view.fetched_at_ms) / 1000) if view.fetched_at_ms else None


#: metric → (help, the figure; None = there is none).
_FIGURES: Mapping[str, tuple[str, Callable[[RouteView], float | None]]] = {
    "mailsluice_route_max_send_rate": (
        "Recipients per second that SES allows, as it said last.",
        lambda view: view.max_send_rate,
    ),
    "mailsluice_route_effective_rate": ("Recipients per second that are granted now.", lambda view: view.rate),
    "mailsluice_route_rate_factor": ("Part of the rate that is left after throttling, 1 = all.", lambda v: v.factor),
    "mailsluice_route_daily_used_recipients": (
        "Recipients of the last 24 hours.",
        lambda view: view.sent_last_24_hours,
    ),
    "mailsluice_route_daily_limit_recipients": ("Recipients allowed in 24 hours.", lambda view: view.daily_limit),
    "mailsluice_route_daily_quota_ended": ("1 = the daily quota is used up.", lambda view: view.daily_ended),
    "mailsluice_route_limits_assumed": ("1 = SES does not tell its limits.", lambda view: view.is_fallback),
    "mailsluice_route_breaker_open": (
        "1 = the route is in trouble and sends nothing but probes.",
        lambda view: view.trouble is not None,
    ),
    "mailsluice_route_limits_age_seconds": ("How long ago SES told its limits.", _age_seconds),
}


def route_metrics(figures: Figures) -> Iterator[Metric]:
    """Every route that was asked for, the pauses and the drains."""
    for name, (text, figure) in _FIGURES.items():
        family = GaugeMetricFamily(name, text, labels=["route"])
        for view in figures.routes:
            if (number := figure(view)) is not None:
                family.add_metric([view.name], number)
        yield family
    yield from _lanes(figures)
    pauses = GaugeMetricFamily("mailsluice_pauses", "Pauses in force by kind of scope.", labels=["kind"])
    kinds = Counter(pause.scope.partition(":")[0] for pause in figures.pauses)
    for kind in ("all", "route", "lane", "user", "domain"):
        pauses.add_metric([kind], kinds[kind])
    yield pauses
    yield GaugeMetricFamily(
        "mailsluice_workers_draining", "Workers that take no more messages.", value=len(figures.draining)
    )


def _lanes(figures: Figures) -> Iterator[Metric]:
    labels = ["route", "lane"]
    messages = GaugeMetricFamily("mailsluice_lane_messages", "Messages that wait for their turn.", labels=labels)
    recipients = GaugeMetricFamily("mailsluice_lane_recipients", "Recipients of those.", labels=labels)
    for view in figures.routes:
        for name, lane in view.lanes.items():
            messages.add_metric([view.name, name], lane.messages)
            recipients.add_metric([view.name, name], lane.recipients)
    yield from (messages, recipients)
