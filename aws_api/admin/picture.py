"""What waits, where, why, until when, and what to do: the object of `mailsluice queue --json` and GET /admin/queue.

It is read from counts and windows only, so it answers for a million messages as for ten.

The JSON is stable; new fields may be added: waiting, oldest_waiting_seconds, places {due, leased, parked, held}, waits
[{place, reason, messages, first_at, last_at, example, oldest_at}] (parked: wake-ups; held: since when; oldest_at: when
the oldest of those looked at was accepted), routes [{name, rate (null = no limit), factor, is_fallback, max_send_rate,
max_24_hour_send, sent_last_24_hours, daily_limit (null = none), daily_ended, next_slot_at, drained_at, fetched_at,
quota_error, words, trouble {code, words, since, next_probe_at, is_account} or null, lanes [{name, share_percent,
messages, recipients, paused_senders, waits_for (paused | trouble | daily quota | rate, or null when nothing waits),
words, drained_at}]}], pauses [{scope, since, until (null = until resumed), why, by}], workers [{name, started_at,
last_claim_at, claimed, active, draining_since, rules_version, rules_trouble}], celery_queues {name: tasks} or null,
events {kept, destinations {name: {behind, oldest_seconds, error}}}, store {is_safe, is_full, memory_percent,
free_disk_bytes, problems}, advice [sentence], notes [sentence].
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis import asyncio as aioredis

from aws_api.admin.event_words import destination_names, late_destinations
from aws_api.admin.reputation_words import reputation_notes
from aws_api.admin.route_words import lane_words, notes, route_words, troubles, why
from aws_api.admin.rule_words import function_notes, rule_notes
from aws_api.admin.wording import many
from config.settings import Settings
from sending_events.configuration_sets.store import ConfigurationSets
from sending_events.records import iso
from spool.assembly import limits_of
from spool.figures import Figures, Worker, read_figures, standstills
from spool.safety import SafetyReport
from spool.sending_quota import LaneView, Pause, RouteLimits, RouteView, Trouble
from spool.states import Place
from spool.store import Spool
from spool.waits import Wait, read_waits


@dataclass(frozen=True, slots=True)
class Picture:
    """All that is shown."""

    figures: Figures
    waits: Sequence[Wait]
    report: SafetyReport
    stall_seconds: float
    limits: Mapping[str, RouteLimits]


async def read_picture(spool: Spool, broker: aioredis.Redis, settings: Settings, report: SafetyReport) -> Picture:
    """Looks once. Raises StoreUnavailable."""
    limits = limits_of(settings)
    names = await destination_names(settings, ConfigurationSets(spool.redis, settings))
    return Picture(
        await read_figures(spool, broker, names, list(limits.values())),
        await read_waits(spool),
        report,
        settings.worker.stall_seconds,
        limits,
    )


def advice(picture: Picture) -> tuple[str, ...]:
    """A sentence for each odd thing: what it is and what to do."""
    still = standstills(picture.figures, picture.stall_seconds)
    found = [*picture.report.problems, *still, *troubles(picture.figures)]
    held = picture.figures.places[Place.HELD]
    if held:
        example = next((one.example for one in picture.waits if one.place is Place.HELD and one.example), "ID")
        found.append(
            f"{many(held, 'message')} held, nothing happens to them by itself: look with mailsluice show {example}, "
            "repair the cause, then mailsluice release ID, or give it up with mailsluice cancel ID."
        )
    return (*found, *late_destinations(picture.figures))


def all_notes(picture: Picture) -> tuple[str, ...]:
    """What is worth saying and is no failure."""
    figures = picture.figures
    return (
        *notes(figures),
        *reputation_notes(figures),
        *rule_notes(figures),
        *function_notes(picture.waits, figures.taken_at_ms),
    )


def described(picture: Picture) -> dict[str, Any]:
    """The object."""
    figures, report = picture.figures, picture.report
    return {
        "waiting": figures.waiting,
        "oldest_waiting_seconds": figures.oldest_waiting_seconds,
        "places": {place.value: messages for place, messages in figures.places.items()},
        "waits": [_wait(wait) for wait in picture.waits],
        "routes": [_route(view, picture.limits[view.name], figures.pauses) for view in figures.routes],
        "pauses": [_pause(pause) for pause in figures.pauses],
        "workers": [_worker(worker, figures.draining) for worker in figures.workers],
        "celery_queues": figures.queues,
        "events": {
            "kept": figures.events_kept,
            "destinations": {
                name: {"behind": one.events, "oldest_seconds": one.oldest_seconds, "error": one.error}
                for name, one in figures.backlogs.items()
            },
        },
        "store": {
            "is_safe": report.is_safe,
            "is_full": report.is_full,
            "memory_percent": report.memory_percent,
            "free_disk_bytes": report.free_disk_bytes,
            "problems": report.problems,
        },
        "advice": advice(picture),
        "notes": all_notes(picture),
    }


def _wait(wait: Wait) -> dict[str, Any]:
    return {
        "place": wait.place.value,
        "reason": wait.reason,
        "messages": wait.messages,
        "first_at": _iso(wait.first_at_ms),
        "last_at": _iso(wait.last_at_ms),
        "example": wait.example,
        "oldest_at": _iso(wait.oldest_at_ms),
    }


def _route(view: RouteView, limits: RouteLimits, pauses: Sequence[Pause]) -> dict[str, Any]:
    return {
        "name": view.name,
        "rate": finite(view.rate),
        "factor": view.factor,
        "is_fallback": view.is_fallback,
        "max_send_rate": view.max_send_rate,
        "max_24_hour_send": view.max_24_hour_send,
        "sent_last_24_hours": view.sent_last_24_hours,
        "daily_limit": finite(view.daily_limit),
        "daily_ended": view.daily_ended,
        "next_slot_at": _iso(view.next_slot_at_ms),
        "drained_at": _iso(view.drained_at_ms),
        "fetched_at": _iso(view.fetched_at_ms),
        "quota_error": view.quota_error,
        "words": route_words(view, limits),
        "trouble": _trouble(view.trouble) if view.trouble else None,
        "lanes": [_lane(view, name, lane, pauses) for name, lane in view.lanes.items()],
    }


def _lane(view: RouteView, name: str, lane: LaneView, pauses: Sequence[Pause]) -> dict[str, Any]:
    return {
        "name": name,
        "share_percent": lane.share,
        "messages": lane.messages,
        "recipients": lane.recipients,
        "paused_senders": lane.paused_senders,
        "waits_for": why(view, name, pauses).kind if lane.messages else None,
        "words": lane_words(view, name, pauses) if lane.messages else "",
        "drained_at": _iso(lane.drained_at_ms),
    }


def _trouble(trouble: Trouble) -> dict[str, Any]:
    return {
        "code": trouble.code,
        "words": trouble.words,
        "since": _iso(trouble.since_ms),
        "next_probe_at": _iso(trouble.probe_at_ms),
        "is_account": trouble.is_account,
    }


def _pause(pause: Pause) -> dict[str, Any]:
    return {
        "scope": pause.scope,
        "since": _iso(pause.since_ms),
        "until": _iso(pause.until_ms),
        "why": pause.why,
        "by": pause.by,
    }


def _worker(worker: Worker, draining: Mapping[str, int]) -> dict[str, Any]:
    return {
        "name": worker.name,
        "started_at": _iso(worker.started_at_ms),
        "last_claim_at": _iso(worker.last_claim_at_ms),
        "claimed": worker.claimed,
        "active": worker.active,
        "draining_since": _iso(draining.get(worker.name)),
        "rules_version": worker.rules_version,
        "rules_trouble": worker.rules_trouble,
    }


def finite(number: float) -> float | None:
    """JSON knows no infinity."""
    return None if math.isinf(number) else number


def _iso(at_ms: int | None) -> str | None:
    return iso(at_ms) if at_ms else None
