"""The cluster in figures: what /metrics, /healthz and `mailsluice queue` show, read in few round trips.

Everything comes from Redis, so any process tells the same. The cost does not grow with the backlog: counts are kept
by the scripts, and where single messages must be looked at, a window of them is (`SAMPLE`).
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from redis import asyncio as aioredis
from redis import exceptions

from config.queues import ALL_QUEUES, KEY_PREFIX
from spool import keys, scripts
from spool.feedback_inbox import INBOX
from spool.operator import counting
from spool.reputation import STANDINGS, Standing, read_standings
from spool.routes import pauses_of, read_routes
from spool.sending_quota import Pause, RouteLimits, RouteView
from spool.states import AWAITS_EVENT, Place
from spool.store import Spool
from spool.suppression import ROWS as SUPPRESSED
from spool.tally import DURATIONS, Histogram, histograms

# A worker that has not written its heartbeat for this long is gone.
STALE_MS = 30_000
# As in lua/prelude.lua: the hash of ages counts by slots of acceptance.
SLOT_MS = 10_000
# The reader of SES's events asks several times a minute.
_FEEDBACK_SILENT_SECONDS = 60
#: How many messages of a place are looked at one by one.
SAMPLE = 200

#: A message rests in one of these while it is unfinished.
ZSETS = {Place.DUE: keys.DUE, Place.LEASED: keys.LEASED, Place.PARKED: keys.PARKED, Place.HELD: keys.HELD}


@dataclass(frozen=True, slots=True)
class Worker:
    """The heartbeat of one worker process."""

    name: str
    at_ms: int
    started_at_ms: int
    #: 0 = it has claimed nothing yet.
    last_claim_at_ms: int
    #: Messages it claimed since its start, and those it works on now.
    claimed: int
    active: int
    #: Of the rules that it judges by; "" = it has none.
    rules_version: str = ""
    #: Why those are not what their file says; safe to show, "" = they are.
    rules_trouble: str = ""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Events that a destination has not taken yet."""

    events: int
    #: Age of the oldest of them, 0 for none.
    oldest_seconds: float
    #: Why the last try failed; "" when it did not.
    error: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """One look at the cluster."""

    #: The server's clock.
    taken_at_ms: int
    #: Unfinished messages by place, all four of them.
    places: Mapping[Place, int]
    #: For parked and held: reason → messages.
    reasons: Mapping[Place, Mapping[str, int]]
    #: Age of the oldest unfinished message, at most 10 s too small; 0 for none.
    oldest_waiting_seconds: float
    #: How long the longest-due message of the window has been due; 0 for none.
    longest_due_seconds: float
    counters: Mapping[str, int]
    durations: Mapping[str, Histogram]
    #: Events kept in the stream, and what each destination has yet to take.
    events_kept: int
    backlogs: Mapping[str, Backlog]
    #: Those alive, by name.
    workers: tuple[Worker, ...]
    #: Celery queue → nudges in it; None when the broker does not answer.
    queues: Mapping[str, int] | None
    #: The routes that were asked for, and the pauses that count now.
    routes: tuple[RouteView, ...] = ()
    pauses: tuple[Pause, ...] = ()
    #: Worker → since when it takes no more messages, ms.
    draining: Mapping[str, int] = field(default_factory=dict)
    #: When SES's events were last read to their end; 0 = never.
    feedback_seen_at_ms: int = 0
    #: When an event of SES was last applied; 0 = never. And how many wait in the inbox.
    feedback_applied_at_ms: int = 0
    feedback_waiting: int = 0
    #: Addresses on the suppression list, and senders that are warned of or paused for bounces and complaints.
    suppressed_addresses: int = 0
    standings: tuple[Standing, ...] = ()

    @property
    def waiting(self) -> int:
        """All unfinished messages."""
        return sum(self.places.values())

    @property
    def idle_seconds(self) -> float | None:
        """Since when no living worker has claimed anything (or started); None without a worker."""
        if not self.workers:
            return None
        last = max(max(one.last_claim_at_ms, one.started_at_ms) for one in self.workers)
        return max(0.0, (self.taken_at_ms - last) / 1000)


def standstills(figures: Figures, stall_seconds: float) -> tuple[str, ...]:
    """Why accepted mail does not move, a sentence each with what to do; nothing when it moves or nothing waits."""
    found = []
    if not figures.workers:
        found.append("No worker is alive, accepted mail waits: start one with mailsluice worker.")
    if figures.queues is None:
        found.append("The broker of the Celery queues does not answer: start it, or correct broker.url.")
    is_idle = figures.idle_seconds is not None and figures.idle_seconds > stall_seconds
    is_busy = any(worker.active for worker in figures.workers)  # long work is work
    if is_idle and not is_busy and figures.longest_due_seconds > stall_seconds:
        found.append(
            f"Mail has been due for {figures.longest_due_seconds:.0f} s and no worker took any for "
            f"{figures.idle_seconds:.0f} s: look at the workers' log and start them anew."
        )
    if figures.workers and figures.draining.keys() >= {worker.name for worker in figures.workers}:
        found.append(
            "Every worker is being drained, accepted mail waits: mailsluice drain WORKER --undo, or start one."
        )
    return (*found, *_silence(figures))


def _silence(figures: Figures) -> Iterator[str]:
    """Doubts that nothing can end, because nobody reads what SES tells."""
    doubts = figures.reasons[Place.PARKED].get(AWAITS_EVENT, 0)
    seen_at_ms = figures.feedback_seen_at_ms
    silent_seconds = (figures.taken_at_ms - seen_at_ms) / 1000
    if doubts and silent_seconds > _FEEDBACK_SILENT_SECONDS:
        since = f"were not read for {silent_seconds:,.0f} s" if seen_at_ms else "were never read"
        yield (
            f"SES's events {since}, and messages in doubt wait for them ({doubts:,}): start mailsluice feedback, and "
            "see feedback.away in its log."
        )


async def read_figures(
    spool: Spool, broker: aioredis.Redis, destinations: Sequence[str] = (), limits: Sequence[RouteLimits] = ()
) -> Figures:
    """Reads everything. Raises StoreUnavailable; a broker without an answer is told in the figures."""
    try:
        figures, queues, routes = await asyncio.gather(
            _read(spool.redis, destinations), _queue_lengths(broker), _routes(spool, limits)
        )
    except (exceptions.RedisError, OSError) as error:
        if meaning := scripts.translated(error):
            raise meaning from error
        raise
    return Figures(**figures, queues=queues, routes=routes)


async def _routes(spool: Spool, limits: Sequence[RouteLimits]) -> tuple[RouteView, ...]:
    return await read_routes(spool, limits) if limits else ()


async def _read(redis: aioredis.Redis, destinations: Sequence[str]) -> dict[str, Any]:
    pipeline = redis.pipeline(transaction=False)
    pipeline.time()
    for zset in ZSETS.values():
        pipeline.zcard(zset)
    pipeline.zrange(keys.DUE, 0, SAMPLE - 1)
    pipeline.hkeys(keys.AGES)
    for one_hash in (keys.REASONS, keys.COUNTERS, DURATIONS, keys.WORKERS, keys.PAUSES, keys.DRAINS):
        pipeline.hgetall(one_hash)
    pipeline.hmget(keys.FEEDBACK, ["seen_at_ms", "applied_at_ms"])
    pipeline.zcard(INBOX)
    pipeline.hlen(SUPPRESSED)
    pipeline.hgetall(STANDINGS)
    *answers, (seen, applied), told_waiting, suppressed, standings = await pipeline.execute()
    clock, *sizes, sample, ages, reasons, counters, durations, workers, pauses, drains = answers
    now_ms = clock[0] * 1000 + clock[1] // 1000
    alive = living_workers(workers, now_ms)
    paused = counting(pauses_of(pauses), now_ms)
    (kept, backlogs), due_seconds = await asyncio.gather(
        _events(redis, destinations, now_ms), _longest_due_seconds(redis, sample, now_ms)
    )
    return {
        "taken_at_ms": now_ms,
        "places": dict(zip(ZSETS, sizes, strict=True)),
        "reasons": by_place(reasons),
        "oldest_waiting_seconds": _oldest_seconds(ages, now_ms),
        "longest_due_seconds": due_seconds,
        "counters": _numbers(counters),
        "durations": histograms(_numbers(durations)),
        "events_kept": kept,
        "backlogs": backlogs,
        "workers": alive,
        "pauses": paused,
        "suppressed_addresses": suppressed,
        "standings": read_standings(standings, paused, now_ms),
        "feedback_seen_at_ms": int(seen or 0),
        "feedback_applied_at_ms": int(applied or 0),
        "feedback_waiting": told_waiting,
        "draining": {name: at for name, at in _numbers(drains).items() if name in {one.name for one in alive}},
    }


async def read_workers(redis: aioredis.Redis) -> tuple[int, tuple[Worker, ...], dict[str, int]]:
    """The server's clock in ms, the workers alive, and every drain, also of workers that are gone."""
    pipeline = redis.pipeline(transaction=False)
    pipeline.time()
    pipeline.hgetall(keys.WORKERS)
    pipeline.hgetall(keys.DRAINS)
    clock, workers, drains = await scripts.answer_of(pipeline.execute())
    now_ms = clock[0] * 1000 + clock[1] // 1000
    return now_ms, living_workers(workers, now_ms), _numbers(drains)


async def _queue_lengths(broker: aioredis.Redis) -> dict[str, int] | None:
    pipeline = broker.pipeline(transaction=False)
    for name in ALL_QUEUES:
        pipeline.llen(KEY_PREFIX + name)
    try:
        return dict(zip(ALL_QUEUES, await pipeline.execute(), strict=True))
    except (exceptions.RedisError, OSError):
        return None


async def _events(redis: aioredis.Redis, destinations: Sequence[str], now_ms: int) -> tuple[int, dict[str, Backlog]]:
    """How many events are kept, and each destination's backlog.

    The publisher keeps a position for each destination: of all events ever added, how many it has behind it. The
    fields are explained in sending_events/lua/prelude.lua.
    """
    pipeline = redis.pipeline(transaction=False)
    pipeline.xlen(keys.EVENTS)
    pipeline.hget(keys.COUNTERS, "events_trimmed")
    for name in destinations:
        pipeline.get(keys.cursor_key(name))
        pipeline.hmget(KEY_PREFIX + "destination:" + name, ["position", "error"])
    kept, trimmed, *rows = await pipeline.execute()
    for cursor in rows[::2]:
        pipeline.xrange(keys.EVENTS, b"(" + (cursor or b"0-0"), count=1)
    waiting = await pipeline.execute()
    backlogs = {}
    for name, cursor, next_one, (position, error) in zip(destinations, rows[::2], waiting, rows[1::2], strict=True):
        # One of a set that has no place is told nothing of what is there.
        oldest = next_one if cursor is not None or ":" not in name else []
        taken = int(trimmed or 0) if position is None else int(position)
        behind = max(0, int(trimmed or 0) + kept - taken) if oldest else 0
        oldest_seconds = _seconds(oldest[0][0], now_ms) if oldest else 0.0
        backlogs[name] = Backlog(behind, oldest_seconds, (error or b"").decode("utf-8", "replace"))
    return kept, backlogs


async def _longest_due_seconds(redis: aioredis.Redis, sample: Sequence[bytes], now_ms: int) -> float:
    """The scores say when a nudge is due again; since when the work is due is in the messages themselves."""
    if not sample:
        return 0.0
    pipeline = redis.pipeline(transaction=False)
    for message_id in sample:
        pipeline.hmget(keys.message_key(message_id.decode()), ["at", "until"])
    rows = await pipeline.execute()
    since = [max(int(at), int(until or 0)) for at, until in rows if at is not None]
    return max(0.0, (now_ms - min(since, default=now_ms)) / 1000)


_BEAT = ("at_ms", "started_at_ms", "last_claim_at_ms", "claimed", "active")


def living_workers(rows: Mapping[bytes, bytes], now_ms: int) -> tuple[Worker, ...]:
    """The workers whose heartbeat is fresh. A row that is no heartbeat is passed over."""
    found = []
    for name, raw in sorted(rows.items()):
        try:
            beat = orjson.loads(raw)
            at_ms, started_at_ms, last_claim_at_ms, claimed, active = (int(beat.get(one) or 0) for one in _BEAT)
            rules = (str(beat.get("rules_version") or ""), str(beat.get("rules_trouble") or ""))
            worker = Worker(name.decode(), at_ms, started_at_ms, last_claim_at_ms, claimed, active, *rules)
        except (ValueError, TypeError, AttributeError):
            continue
        if now_ms - worker.at_ms <= STALE_MS:
            found.append(worker)
    return tuple(found)


def by_place(fields: Mapping[bytes, bytes]) -> dict[Place, dict[str, int]]:
    """Messages by place and reason, from the hash of reasons."""
    found: dict[Place, dict[str, int]] = {Place.PARKED: {}, Place.HELD: {}}
    for name, messages in _numbers(fields).items():
        place, _, reason = name.partition(":")
        found[Place(place)][reason] = messages
    return found


def _numbers(fields: Mapping[bytes, bytes]) -> dict[str, int]:
    return {name.decode("utf-8", "replace"): int(number) for name, number in fields.items()}


def _oldest_seconds(slots: Sequence[bytes], now_ms: int) -> float:
    if not slots:
        return 0.0
    end_of_oldest = (min(int(slot) for slot in slots) + 1) * SLOT_MS
    return max(0.0, (now_ms - end_of_oldest) / 1000)


def _seconds(stream_id: bytes, now_ms: int) -> float:
    return max(0.0, (now_ms - int(stream_id.partition(b"-")[0])) / 1000)
