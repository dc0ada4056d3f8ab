"""`mailsluice events list | dead | replay`: the destinations of events, what they never took, and telling it again.

A replay only counts until --yes is given. How it is done is in sending_events/replay.py.
"""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import typer
from redis import asyncio as aioredis

from aws_api.admin.who import Who, act_of, tell
from aws_api.admin.wording import escaped, instant, many, seconds_of, span
from config.errors import Refused
from config.settings import Settings
from mailsluice.looking import act, look
from sending_events.configuration_sets.store import ConfigurationSets
from sending_events.loading import record_of
from sending_events.operator_acts import OperatorAct
from sending_events.progress import Entry, order_of
from sending_events.records import UnreadableEvent, iso
from sending_events.registry import Interest, interests, set_told
from sending_events.rendering import Record, event_type_of
from sending_events.replay import Letter, Window, dead_letters, redeem, replay, replayable
from sending_events.standing import Standing, standings
from spool.store import Spool

EXIT_NOTHING = 1


@dataclass(frozen=True, slots=True)
class Wish:
    """A replay as it was asked for; times as they were written."""

    destination: str
    since: str
    until: str | None = None
    is_of_dead: bool = False
    is_meant: bool = False


def show_destinations(settings: Settings, *, as_json: bool = False) -> int:
    """Returns the exit code."""

    async def show(spool: Spool, _: aioredis.Redis) -> int:
        found = await standings(spool.redis, list(await _interests(spool, settings)))
        if as_json:
            typer.echo(json.dumps({name: _described(one) for name, one in found.items()}, indent=2))
        else:
            typer.echo("\n".join(line for name, one in found.items() for line in _told(name, one)) or "Nobody is told.")
        return 0

    return look(settings, show)


def show_dead_letters(settings: Settings, name: str, *, as_json: bool = False) -> int:
    """Returns the exit code; 1 when there are none. Raises Refused for an unknown name."""

    async def show(spool: Spool, _: aioredis.Redis) -> int:
        await _interest(spool, settings, name)
        letters = [_letter(one) for one in await dead_letters(spool.redis, name)]
        if as_json:
            typer.echo(json.dumps(letters, indent=2))
        elif letters:
            typer.echo("\n".join("  ".join(escaped(value) for value in one.values() if value) for one in letters))
        else:
            typer.echo(f"No dead letters of {escaped(name)}.", err=True)
        return 0 if letters else EXIT_NOTHING

    return look(settings, show)


def replay_events(settings: Settings, wish: Wish, who: Who) -> int:
    """Returns 0 when something is, or would be, told again, else 1. Raises Refused."""
    now_ms = time.time_ns() // 1_000_000
    until_ms = None if wish.until is None else instant_of(wish.until, now_ms)
    window = Window(instant_of(wish.since, now_ms), until_ms)
    if until_ms is not None and until_ms < window.since_ms:
        raise Refused("--until lies before --since")

    async def do(spool: Spool, _: aioredis.Redis) -> int:
        interest = await _interest(spool, settings, wish.destination)
        if wish.is_of_dead:
            return await _replay_dead(spool, wish, window, who)
        default_set = settings.events.default_configuration_set

        def wants(entry: Entry, record: Record) -> bool:
            return interest.wants(entry, record, set_told(record, default_set))

        events = await replayable(spool.redis, wish.destination, window, wants)
        if events and wish.is_meant:
            await replay(spool.redis, wish.destination, window)
            await tell(spool, _act(wish, window, who, events))
        return _tell(wish, events)

    return act(settings, do)


async def _replay_dead(spool: Spool, wish: Wish, window: Window, who: Who) -> int:
    letters = await dead_letters(spool.redis, wish.destination, window)
    if not wish.is_meant or not letters:
        return _tell(wish, len(letters))
    events = await redeem(spool.redis, wish.destination, letters)
    await tell(spool, _act(wish, window, who, events))
    return _tell(wish, events)


def _act(wish: Wish, window: Window, who: Who, events: int) -> bytes:
    span_told = {"since": iso(window.since_ms)} | ({"until": iso(window.until_ms)} if window.until_ms else {})
    chosen_by = span_told | ({"dead": True} if wish.is_of_dead else {})
    return act_of(
        "replay", who, scope=(f"destination:{wish.destination}",), chosen_by=chosen_by, counts={"events": events}
    )


def _tell(wish: Wish, events: int) -> int:
    what = "dead letter" if wish.is_of_dead else "event"
    if not events:
        kept = "" if wish.is_of_dead else "; what was taken is kept for [events] replay_seconds, replay_events at most"
        typer.echo(f"No {what} of that time to be told again to {escaped(wish.destination)}{kept}.", err=True)
        return EXIT_NOTHING
    if wish.is_meant:
        typer.echo(f"{many(events, what)} will be told to {escaped(wish.destination)} again.")
    else:
        typer.echo(
            f"{many(events, what)} would be told to {escaped(wish.destination)} again. "
            "Nothing was changed; the same with --yes does it."
        )
    return 0


async def _interests(spool: Spool, settings: Settings) -> dict[str, Interest]:
    sets = await ConfigurationSets(spool.redis, settings).all()
    return interests(settings.events.destinations, sets)


async def _interest(spool: Spool, settings: Settings, name: str) -> Interest:
    known = await _interests(spool, settings)
    if name not in known:
        raise Refused(f"no destination {escaped(name)}; there are: {', '.join(map(escaped, known)) or 'none'}")
    return known[name]


def instant_of(text: str, now_ms: int) -> int:
    """Epoch milliseconds of `2h` (ago) or of an ISO instant, UTC when it names no zone. Raises Refused."""
    try:
        return now_ms - int(seconds_of(text) * 1000)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused(f"{escaped(text)} is no time: write 2h, 1d or 2026-01-31T12:00:00Z") from error
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def _told(name: str, one: Standing) -> list[str]:
    behind = f"{many(one.behind, 'event')} behind" if one.behind else "has everything"
    parts = [f"{one.published:,} taken", f"{many(one.dead_letters, 'dead letter')}" if one.dead_letters else ""]
    parts.append(f"{one.lost:,} lost" if one.lost else "")
    lines = [f"{escaped(name)}: {', '.join([behind, *filter(None, parts)])}"]
    if one.behind and one.oldest_seconds >= 1:
        lines.append(f"  the oldest for {span(one.oldest_seconds)}")
    if one.error:
        again = f", tried again at {instant(one.next_try_at_ms)}" if one.next_try_at_ms else ""
        lines.append(f"  failed {one.failures} times in a row: {escaped(one.error)}{again}")
    return lines


def _described(one: Standing) -> dict[str, Any]:
    return {
        "behind": one.behind,
        "oldest_seconds": one.oldest_seconds,
        "failures": one.failures,
        "error": one.error,
        "next_try_at": iso(one.next_try_at_ms) if one.next_try_at_ms else None,
        "published": one.published,
        "refused": one.refused,
        "too_old": one.too_old,
        "lost": one.lost,
        "dead_letters": one.dead_letters,
    }


def _letter(letter: Letter) -> dict[str, str]:
    record = record_of(Entry(letter.event_id, letter.raw, letter.event_id))
    kind, message_id = "", ""
    if not isinstance(record, UnreadableEvent):
        kind = _kind(record)
        message_id = "" if isinstance(record, OperatorAct) else record.message_id
    at = iso(order_of(letter.event_id)[0])
    return {"event_id": letter.event_id, "at": at, "type": kind, "message_id": message_id, "why": letter.why}


def _kind(record: Record) -> str:
    try:
        return event_type_of(record)
    except UnreadableEvent:
        return ""
