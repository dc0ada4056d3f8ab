"""Pause and resume, and the draining of a worker.

A pause stops what has not begun: mail waits in its lane, and resume lets it go on in order. Each part of a scope is a
pause of its own: `lane bulk` and `user shop` together pause all of bulk and all of shop. resume ends the pauses of
exactly the scopes that are named; "everything" is a scope like the others, so a lane that was paused apart stays so.
"""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields

from aws_api.admin.who import Who, act_of
from config.errors import Refused
from config.settings import Settings
from spool import operator
from spool.figures import read_workers
from spool.records import Message
from spool.sending_quota import Pause, sender_key
from spool.states import PAUSED_DOMAIN, Place
from spool.store import Spool

#: Workers know the pauses from the gate, which looks at least once a second, and ask again before they park a message
#: for one. What was asked for before the pause ended is parked when the walk begins.
SEEN_SECONDS = 1.5
#: Longest time that a pause with an end may have.
LONGEST_SECONDS = 366 * 86400.0
_DOMAIN = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
# RFC 5321: 64 characters, an @, 255.
_LONGEST_SENDER = 320


@dataclass(frozen=True, slots=True)
class Scope:
    """What is paused; nothing given = everything."""

    lane: str | None = None
    #: SMTP user, or the envelope sender of mail without one.
    user: str | None = None
    #: Domain of recipients.
    domain: str | None = None
    route: str | None = None


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


def keys_of(scope: Scope) -> tuple[str, ...]:
    """The fields of the hash of pauses. Raises Refused for what cannot be paused, and for a name that is empty."""
    for one in fields(scope):
        if getattr(scope, one.name) == "":
            raise Refused(f"{one.name}: must not be empty")
    found = []
    if scope.lane is not None:
        found.append(f"lane:{scope.lane}")
    if scope.user is not None:
        if len(scope.user) > _LONGEST_SENDER or not scope.user.isprintable():
            raise Refused("user: must be an SMTP user or the envelope sender of mail without one")
        # An SMTP user may be called as an address is written; mail without a user stands under the key of its sender.
        names = (scope.user, sender_key(scope.user)) if "@" in scope.user else (scope.user,)
        found += [f"user:{name}" for name in dict.fromkeys(names)]
    if scope.domain is not None:
        domain = scope.domain.removeprefix("@").lower()
        if len(domain) > 255 or not _DOMAIN.fullmatch(domain):
            raise Refused("domain: must be a recipient domain as it is in the envelope, for instance example.com")
        found.append(f"domain:{domain}")
    if scope.route is not None:
        found.append(f"route:{scope.route}")
    return tuple(found) or (operator.EVERYTHING,)


def check_names(lane: str | None, route: str | None, settings: Settings) -> None:
    """Raises Refused for a lane or a route that the settings do not have."""
    for what, name, known in (("lane", lane, settings.lanes.shares), ("route", route, settings.routes_by_name)):
        if name is not None and name not in known:
            raise Refused(f"{what}: there is no {what} of this name; there are: {', '.join(known)}")


def scopes_of_pause(settings: Settings, scope: Scope, for_seconds: float | None) -> tuple[str, ...]:
    """What would be paused. Raises Refused for a pause that cannot be."""
    scopes = keys_of(scope)
    check_names(scope.lane, scope.route, settings)
    if for_seconds is not None and not 0 < for_seconds <= LONGEST_SECONDS:
        raise Refused("for: must be more than nothing and at most 366 days; a pause without it has no end")
    return scopes


async def pause(
    spool: Spool, settings: Settings, scope: Scope, who: Who, *, for_seconds: float | None = None
) -> tuple[Pause, ...]:
    """Begins a pause, or gives it another end; None = until it is resumed. Raises Refused, StoreUnavailable."""
    scopes = scopes_of_pause(settings, scope, for_seconds)
    now_ms, known = await operator.read_pauses(spool.redis)
    until_ms = now_ms + int(for_seconds * 1000) if for_seconds else 0
    pauses = tuple(Pause(one, until_ms, now_ms, who.why, who.by) for one in scopes)
    await operator.pause(spool.redis, pauses, act_of("pause", who, scope=scopes, until_ms=until_ms))
    ends_sooner = {one.scope for one in known if until_ms and not 0 < one.until_ms <= until_ms}
    await _wake(spool, _domains_of(ends_sooner.intersection(scopes)))  # they look for the new end
    return pauses


async def resume(spool: Spool, settings: Settings, scope: Scope, who: Who) -> Resumed:
    """Ends pauses; a route that is in trouble is probed now. Raises Refused, StoreUnavailable.

    A lane or a route that has left the settings can still be paused, and its pause ended.
    """
    scopes = keys_of(scope)
    _, known = await operator.read_pauses(spool.redis)
    if not {one.scope for one in known}.intersection(scopes):
        check_names(scope.lane, scope.route, settings)
    ended = await operator.resume(spool.redis, scopes, act_of("resume", who, scope=scopes))
    is_probed = scope.route is not None and await operator.probe_now(spool.redis, scope.route)
    # Those of a pause that has ended too: who resumed it may have been cut off before the walk was done.
    woken = await _wake(spool, _domains_of(scopes))
    now_ms, still = await operator.read_pauses(spool.redis)
    return Resumed(ended, still, now_ms, woken, is_probed)


def _domains_of(scopes: Iterable[str]) -> set[str]:
    return {one.removeprefix("domain:") for one in scopes if one.startswith("domain:")}


async def _wake(spool: Spool, domains: set[str]) -> int:
    """Makes what waited for these domains due, part by part, in each part the oldest first."""
    if not domains:
        return 0
    await asyncio.sleep(SEEN_SECONDS)
    woken = 0
    async for part in operator.walk(spool, Place.PARKED):
        oldest_first = sorted(part, key=lambda one: (one.accepted_at_ms, one.message_id))
        waited = [one for one in oldest_first if one.reason == PAUSED_DOMAIN and domains & _waiting_domains(one)]
        fitting = [one.message_id for one in waited]
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
