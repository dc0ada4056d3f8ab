"""`mailsluice queue [--json]` and `mailsluice release ID …`: what waits, where, why, until when, and what to do.

It reads counts and windows only, so it answers for a million messages as for ten.

The JSON is stable; new fields may be added: waiting, oldest_waiting_seconds, places {due, leased, parked, held},
waits [{place, reason, messages, first_at, last_at, example}] (parked: wake-ups; held: since when), workers [{name,
started_at, last_claim_at, claimed, active}], celery_queues {name: tasks} or null, events {kept, destinations {name:
{behind, oldest_seconds, error}}}, store {is_safe, is_full, memory_percent, free_disk_bytes, problems},
advice [sentence].
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import typer
from redis import asyncio as aioredis

from config.settings import Settings
from mailsluice.looking import look
from mailsluice.wording import distance, escaped, instant, many, span
from sending_events.records import iso
from spool.figures import Figures, Worker, read_figures, standstills
from spool.safety import SafetyReport, SafetyWatch
from spool.states import Place
from spool.store import Spool
from spool.waits import Wait, read_waits

EXIT_NOT_RELEASED = 1
# A destination that is this far behind is worth a line.
LATE_EVENTS_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Picture:
    """All that is shown."""

    figures: Figures
    waits: Sequence[Wait]
    report: SafetyReport
    stall_seconds: float


def run(settings: Settings, *, as_json: bool = False) -> int:
    """Shows the queue. Returns the exit code."""

    async def show(spool: Spool, broker: aioredis.Redis) -> int:
        picture = Picture(
            await read_figures(spool, broker, settings.events.destinations),
            await read_waits(spool),
            await SafetyWatch(spool.redis, settings).check(),
            settings.worker.stall_seconds,
        )
        typer.echo(json.dumps(described(picture), indent=2) if as_json else told(picture))
        return 0

    return look(settings, show)


def release(settings: Settings, any_ids: Sequence[str]) -> int:
    """Makes parked or held messages due at once. Returns 0 when all were, else 1."""

    async def let_go(spool: Spool, _: aioredis.Redis) -> int:
        results = [await _release_one(spool, any_id) for any_id in any_ids]
        return 0 if all(results) else EXIT_NOT_RELEASED

    return look(settings, let_go)


async def _release_one(spool: Spool, any_id: str) -> bool:
    message = await spool.find(any_id)
    if message is None:
        typer.echo(f"{escaped(any_id)}: no such message", err=True)
        return False
    [is_released] = await spool.release([message.message_id])
    if is_released:
        typer.echo(f"{message.message_id}: released, a worker takes it now")
    else:
        typer.echo(f"{message.message_id}: is {message.place.value}, neither parked nor held", err=True)
    return is_released


def advice(picture: Picture) -> tuple[str, ...]:
    """A sentence for each odd thing: what it is and what to do."""
    found = [*picture.report.problems, *standstills(picture.figures, picture.stall_seconds)]
    held = picture.figures.places[Place.HELD]
    if held:
        example = next((one.example for one in picture.waits if one.place is Place.HELD and one.example), "ID")
        found.append(
            f"{many(held, 'message')} held, nothing happens to them by itself: look with mailsluice show {example}, "
            "repair the cause, then mailsluice release ID, or give it up with mailsluice drop ID."
        )
    for name, backlog in picture.figures.backlogs.items():
        if backlog.oldest_seconds > LATE_EVENTS_SECONDS:
            error = f" ({backlog.error})" if backlog.error else ""
            found.append(
                f"The destination {name} has not taken events for {span(backlog.oldest_seconds)}{error}: repair it, "
                "see events.failed in the workers' log."
            )
    return tuple(found)


def described(picture: Picture) -> dict[str, Any]:
    """The object of `--json`."""
    figures, report = picture.figures, picture.report
    return {
        "waiting": figures.waiting,
        "oldest_waiting_seconds": figures.oldest_waiting_seconds,
        "places": {place.value: messages for place, messages in figures.places.items()},
        "waits": [
            {
                "place": wait.place.value,
                "reason": wait.reason,
                "messages": wait.messages,
                "first_at": _iso(wait.first_at_ms),
                "last_at": _iso(wait.last_at_ms),
                "example": wait.example,
            }
            for wait in picture.waits
        ],
        "workers": [_worker(worker) for worker in figures.workers],
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
    }


def _worker(worker: Worker) -> dict[str, Any]:
    return {
        "name": worker.name,
        "started_at": _iso(worker.started_at_ms),
        "last_claim_at": _iso(worker.last_claim_at_ms),
        "claimed": worker.claimed,
        "active": worker.active,
    }


def _iso(at_ms: int | None) -> str | None:
    return iso(at_ms) if at_ms else None


def told(picture: Picture) -> str:
    """The queue for people."""
    lines = [*_places(picture), *_moving(picture.figures), _store(picture.report)]
    if sentences := advice(picture):
        lines += ["", "What to do", *(f"  - {escaped(sentence)}" for sentence in sentences)]
    return "\n".join(lines)


def _places(picture: Picture) -> Iterator[str]:
    figures = picture.figures
    if not figures.waiting:
        yield "Nothing waits."
        return
    yield f"{many(figures.waiting, 'message')} unfinished, the oldest for {span(figures.oldest_waiting_seconds)}"
    for place, text in _PLACES.items():
        if figures.places[place]:
            yield f"  {figures.places[place]:>9,} {text}"
            yield from _reasons(picture, place)


_PLACES = {
    Place.DUE: "due: wait for a worker",
    Place.LEASED: "leased: a worker has them",
    Place.PARKED: "parked in all, tried again by themselves:",
    Place.HELD: "held in all, wait for you:",
}


def _reasons(picture: Picture, place: Place) -> Iterator[str]:
    """The parts of a sum, farther to the right than the sum."""
    for wait in picture.waits:
        if wait.place is place:
            reason = escaped(wait.reason) or "no reason given"
            yield f"      {wait.messages:>9,} {reason}{_when(wait, picture.figures.taken_at_ms)}"


def _when(wait: Wait, now_ms: int) -> str:
    if wait.first_at_ms is None or wait.last_at_ms is None:
        return ""
    first = f"{instant(wait.first_at_ms)} ({distance(wait.first_at_ms, now_ms)})"
    if wait.place is Place.HELD:
        return f"; since {first}, for instance {wait.example}"
    return f"; next at {first}, last at {instant(wait.last_at_ms)}"


def _moving(figures: Figures) -> Iterator[str]:
    yield f"Workers: {len(figures.workers)} alive"
    for worker in figures.workers:
        last = distance(worker.last_claim_at_ms, figures.taken_at_ms) if worker.last_claim_at_ms else "never"
        claims = f"claimed {worker.claimed:,}, last {last}"
        yield f"  {escaped(worker.name)}: works on {worker.active:,}, {claims}"
    queues = figures.queues
    shown = "no answer" if queues is None else ", ".join(f"{name} {tasks:,}" for name, tasks in queues.items())
    yield f"Celery queues: {shown}"
    behind = [f"{escaped(name)} {one.events:,} behind" for name, one in figures.backlogs.items()]
    if behind:
        yield f"Events: {', '.join(behind)}"


def _store(report: SafetyReport) -> str:
    words = ["safe" if report.is_safe else "NOT SAFE, mail is refused with 451"]
    if report.is_full:
        words.append("FULL, mail is refused with 452")
    if report.memory_percent is not None:
        words.append(f"{report.memory_percent:.0f} % of its memory used")
    return f"Store: {', '.join(words)}"
