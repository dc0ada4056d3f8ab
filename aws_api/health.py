"""GET /healthz: 200 only when mail can be accepted and is moving, else 503.

The body says why: `status` (ok or failing), `problems` (sentences with what to do; with a weakened durability also
while the status is ok), `notes` (what keeps mail on purpose or for a while: pauses, the end of the daily quota, mail
that is held or waits for the function of a rule; a destination of events that is behind; a file of rules that cannot
be used), `rules` (which workers judge by
which version, and the trouble of those whose file is wrong: their old rules stay at work and mail moves, so the status
stays 200), and the figures the judgement rests on. It holds no address and no content.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from aiohttp import web

from aws_api.admin.event_words import destination_names, late_destinations
from aws_api.admin.feedback_words import feedback_figures, feedback_notes
from aws_api.admin.picture import finite
from aws_api.admin.reputation_words import reputation_notes
from aws_api.admin.route_words import kept, notes, troubles
from aws_api.admin.rule_words import awaits_functions, function_notes, rule_notes, versions, without_addresses
from aws_api.feedback.door import DOOR
from aws_api.tools import TOOLS
from spool.assembly import limits_of
from spool.figures import Figures, read_figures, standstills
from spool.safety import SafetyReport, no_answer
from spool.scripts import StoreUnavailable
from spool.sending_quota import RouteView
from spool.waits import Wait, read_waits

# Load balancers give up after a few seconds; a late answer is no better than none.
ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Health:
    """The judgement, and what it was made from."""

    is_ok: bool
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    figures: dict[str, Any]


def judged_health(report: SafetyReport, figures: Figures, stall_seconds: float, waits: Sequence[Wait] = ()) -> Health:
    """Healthy = safe, not full, nothing stands still, and no route is in trouble.

    `waits` are needed only where messages wait for functions.
    """
    still = (*standstills(figures, stall_seconds), *troubles(figures))
    return Health(
        is_ok=report.is_safe and not report.is_full and not still,
        problems=(*report.problems, *still),
        notes=(
            *notes(figures, is_public=True),
            *kept(figures),
            *late_destinations(figures, is_public=True),
            *reputation_notes(figures, is_public=True),
            *rule_notes(figures, is_public=True),
            *function_notes(waits, figures.taken_at_ms, is_public=True),
        ),
        figures={
            "places": {place.value: messages for place, messages in figures.places.items()},
            "oldest_waiting_seconds": figures.oldest_waiting_seconds,
            "longest_due_seconds": figures.longest_due_seconds,
            "idle_seconds": figures.idle_seconds,
            "workers": len(figures.workers),
            "celery_queues": figures.queues,
            "routes": {view.name: _route(view) for view in figures.routes},
            "rules": {
                "versions": versions(figures),
                "trouble": {
                    worker.name: without_addresses(worker.rules_trouble)
                    for worker in figures.workers
                    if worker.rules_trouble
                },
            },
            "feedback": feedback_figures(figures),
            "spool": _spool(report),
        },
    )


def silent_health(report: SafetyReport, silence: str) -> Health:
    """The server did not answer now, whatever the last check said; `silence` is the sentence about that."""
    problems = (silence, *report.problems) if report.is_safe else report.problems
    return Health(is_ok=False, problems=problems, notes=(), figures={"spool": {**_spool(report), "is_safe": False}})


def _route(view: RouteView) -> dict[str, Any]:
    return {
        "rate": finite(view.rate),
        "waiting_recipients": view.waiting_recipients,
        "daily_ended": view.daily_ended,
        "trouble": view.trouble.code if view.trouble else None,
    }


def _spool(report: SafetyReport) -> dict[str, Any]:
    return {
        "is_safe": report.is_safe,
        "is_full": report.is_full,
        "memory_percent": report.memory_percent,
        "free_disk_bytes": report.free_disk_bytes,
    }


async def healthz(request: web.Request) -> web.Response:
    """The judgement on this moment."""
    tools = request.app[TOOLS]
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            limits = list(limits_of(tools.settings).values())
            names = await destination_names(tools.settings, tools.configuration_sets)
            figures = await read_figures(tools.spool, tools.broker, names, limits)
            waits = await read_waits(tools.spool) if awaits_functions(figures) else ()
    except (StoreUnavailable, TimeoutError):
        health = silent_health(tools.watch.report, no_answer(tools.settings))
    else:
        health = judged_health(tools.watch.report, figures, tools.settings.worker.stall_seconds, waits)
        unread = feedback_notes(figures, is_configured=tools.settings.feedback.is_configured)
        health = replace(health, notes=(*health.notes, *unread))
    status = "ok" if health.is_ok else "failing"
    told = (*health.notes, *request.app[DOOR].refusals.notes())
    body = {"status": status, "problems": health.problems, "notes": told, **health.figures}
    return web.Response(
        body=orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE),
        status=200 if health.is_ok else 503,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
