"""Pause and resume, and the draining of a worker.

A pause stops what has not begun: mail waits in its lane, and resume lets it go on in order. Each part of a scope is a
pause of its own: `lane bulk` and `user shop` together pause all of bulk and all of shop. resume ends the pauses of
exactly the scopes that are named; "everything" is a scope like the others, so a lane that was paused apart stays so.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from aws_api.admin.who import Who, act_of
from config.errors import Refused
from config.settings import Settings
from spool import operator
from spool.figures import read_workers
from spool.records import Message
from spool.sending_quota import Pause
from spool.states import PAUSED_DOMAIN, Place
from spool.store import Spool

#: Workers know the pauses from the gate, which looks at least once a second: before that they would park again what we
#: let go.
SEEN_SECONDS = 1.5
#: Longest time that a pause with an end may have.
LONGEST_SECONDS = 366 * 86400.0
_DOMAIN = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
# RFC 5321: 64 characters, an @, 255.
_LONGEST_SENDER = 320


@dataclass(frozen=True, slots=True)
class Scope:
    """What is paused; nothing given = everything."""

    lane: str = ""
    #: SMTP user, or the sender key of mail without one: the envelope sender in lower case, without a "+label".
    user: str = ""
    #: Domain of recipients.
    domain: str = ""
    route: str = ""


@dataclass(frozen=True, slots=True)
class Resumed:
    """What a resume brought."""

    ended: tuple[str, ...]
    still_paused: tuple[Pause, ...]
    #: The server's clock.
    now_ms: int
    #: Messages that had waited for a recipient domain and are due now.
    woken: int = 0
    #: The route is in trouble, and the next message tries it.
    is_probed: bool = False


def keys_of(scope: Scope, settings: Settings) -> tuple[str, ...]:
    """The fields of the hash of pauses. Raises Refused for what cannot be paused."""
    found = []
    if scope.lane:
        found.append(f"lane:{_one_of('lane', scope.lane, list(settings.lanes.shares))}")
    if scope.user:
        if len(scope.user) > _LONGEST_SENDER or not scope.user.isprintable():
            raise Refused("user: must be an SMTP user or the envelope sender of mail without one")
        found.append(f"user:{scope.user}")
    if scope.domain:
        domain = scope.domain.removeprefix("@").lower()
        if len(domain) > 255 or not _DOMAIN.fullmatch(domain):
            raise Refused("domain: must be a recipient domain as it is in the envelope, for instance example.com")
        found.append(f"domain:{domain}")
    if scope.route:
        found.append(f"route:{_one_of('route', scope.route, list(settings.routes_by_name))}")
    return tuple(found) or (operator.EVERYTHING,)


def _one_of(what: str, name: str, known: Sequence[str]) -> str:
    if name not in known:
        raise Refused(f"{what}: there is no {what} of this name; there are: {', '.join(known)}")
    return name


async def pause(
    spool: Spool, settings: Settings, scope: Scope, who: Who, *, for_seconds: float | None = None
) -> tuple[Pause, ...]:
    """Begins a pause, or gives it another end; None = until it is resumed. Raises Refused, StoreUnavailable."""
    scopes = keys_of(scope, settings)
    if for_seconds is not None and not 0 < for_seconds <= LONGEST_SECONDS:
        raise Refused("for: must be more than nothing and at most 366 days; a pause without it has no end")
    now_ms, _ = await operator.read_pauses(spool.redis)
    until_ms = now_ms + int(for_seconds * 1000) if for_seconds else 0
    pauses = tuple(Pause(one, until_ms, now_ms, who.why, who.by) for one in scopes)
    await operator.pause(spool.redis, pauses, act_of("pause", who, scope=scopes, until_ms=until_ms))
    return pauses


async def resume(spool: Spool, settings: Settings, scope: Scope, who: Who) -> Resumed:
    """Ends pauses; a route that is in trouble is probed now. Raises Refused, StoreUnavailable."""
    scopes = keys_of(scope, settings)
    ended = await operator.resume(spool.redis, scopes, act_of("resume", who, scope=scopes))
    is_probed = bool(scope.route) and await operator.probe_now(spool.redis, scope.route)
    domains = {one.removeprefix("domain:") for one in ended if one.startswith("domain:")}
    woken = 0
    if domains:
        await asyncio.sleep(SEEN_SECONDS)
        woken = await _wake(spool, domains)
    now_ms, still = await operator.read_pauses(spool.redis)
    return Resumed(ended, still, now_ms, woken, is_probed)


async def _wake(spool: Spool, domains: set[str]) -> int:
    """Makes what waited for these domains due, part by part."""
    woken = 0
    async for part in operator.walk(spool, Place.PARKED):
        fitting = [one.message_id for one in part if one.reason == PAUSED_DOMAIN and domains & _waiting_domains(one)]
        woken += (await operator.touch(spool.redis, "wake", fitting)).count("done")
    return woken


def _waiting_domains(message: Message) -> set[str]:
    return {
        address.rpartition("@")[2].lower()
        for address, state in zip(message.recipients, message.states, strict=True)
        if not state.is_final
    }


async def drain(spool: Spool, worker: str, who: Who) -> None:
    """The worker finishes what it has and takes no more. Raises Refused for a worker that is not alive."""
    now_ms, workers, draining = await read_workers(spool.redis)
    alive = [one.name for one in workers]
    if worker not in alive:
        known = ", ".join(alive) or "none"
        raise Refused(f"worker: no living worker has this name; alive: {known}")
    if gone := sorted(set(draining) - set(alive)):
        await operator.end_drain(spool.redis, gone)  # a worker that starts anew has another name
    await operator.set_drain(spool.redis, worker, now_ms, act_of("drain", who, scope=[f"worker:{worker}"]))


async def undrain(spool: Spool, worker: str, who: Who) -> bool:
    """The worker takes messages again; False = it was not drained."""
    event = act_of("undrain", who, scope=[f"worker:{worker}"])
    return bool(await operator.end_drain(spool.redis, [worker], event))
