"""`mailsluice queue [--json]`: what waits, where, why, until when, and what to do.

The object of `--json` is the one of aws_api/admin/picture.py.
"""

import json
from collections.abc import Iterator

import typer
from redis import asyncio as aioredis

from aws_api.admin.picture import Picture, advice, all_notes, described, read_picture
from aws_api.admin.route_words import lane_words, route_words
from aws_api.admin.rule_words import version_words
from aws_api.admin.wording import distance, escaped, instant, many, span
from config.settings import Settings
from mailsluice.looking import look
from spool.figures import SLOT_MS, Figures
from spool.safety import SafetyReport, SafetyWatch
from spool.states import IN_LANE, Place
from spool.store import Spool
from spool.waits import Wait


def run(settings: Settings, *, as_json: bool = False) -> int:
    """Shows the queue. Returns the exit code."""

    async def show(spool: Spool, broker: aioredis.Redis) -> int:
        report = await SafetyWatch(spool.redis, settings).check()
        picture = await read_picture(spool, broker, settings, report)
        typer.echo(json.dumps(described(picture), indent=2) if as_json else told(picture))
        return 0

    return look(settings, show)


def told(picture: Picture) -> str:
    """The queue for people."""
    lines = [*_places(picture), *_routes(picture), *_moving(picture.figures), _store(picture.report)]
    for title, sentences in (("Good to know", all_notes(picture)), ("What to do", advice(picture))):
        if sentences:
            lines += ["", title, *(f"  - {escaped(sentence)}" for sentence in sentences)]
    return "\n".join(lines)


def _places(picture: Picture) -> Iterator[str]:
    figures = picture.figures
    if not figures.waiting:
        yield "Nothing waits."
        return
    yield f"{many(figures.waiting, 'message')} unfinished, the oldest for {_age(figures)}"
    for place, text in _PLACES.items():
        if figures.places[place]:
            yield f"  {figures.places[place]:>9,} {text}"
            yield from _reasons(picture, place)


def _age(figures: Figures) -> str:
    """Ages are kept in slots of ten seconds: right after it came the age of a message is not known any better."""
    return span(figures.oldest_waiting_seconds) if figures.oldest_waiting_seconds else f"less than {SLOT_MS // 1000} s"


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
    if wait.reason == IN_LANE:
        return ", see the routes below"
    if wait.first_at_ms is None or wait.last_at_ms is None:
        return ""
    first = f"{instant(wait.first_at_ms)} ({distance(wait.first_at_ms, now_ms)})"
    if wait.place is Place.HELD:
        return f"; since {first}, for instance {wait.example}"
    last = f", last at {instant(wait.last_at_ms)}" if wait.last_at_ms != wait.first_at_ms else ""
    return f"; next at {first}{last}"


def _routes(picture: Picture) -> Iterator[str]:
    for view in picture.figures.routes:
        yield f"Route {view.name}: {escaped(route_words(view, picture.limits[view.name]))}"
        for name, lane in view.lanes.items():
            if lane.messages:
                words = escaped(lane_words(view, name, picture.figures.pauses))
                yield f"  lane {name}: {many(lane.messages, 'message')}, {words}"


def _moving(figures: Figures) -> Iterator[str]:
    yield f"Workers: {len(figures.workers)} alive"
    for worker in figures.workers:
        last = distance(worker.last_claim_at_ms, figures.taken_at_ms) if worker.last_claim_at_ms else "never"
        claims = f"claimed {worker.claimed:,}, last {last}"
        draining = ", is being drained" if worker.name in figures.draining else ""
        rules = f", rules {version_words(worker.rules_version)}" if worker.rules_version else ""
        yield f"  {escaped(worker.name)}: works on {worker.active:,}, {claims}{rules}{draining}"
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
