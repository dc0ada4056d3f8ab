"""Takes, lanes and turns for the tests of the store."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from spool import keys
from spool.records import Settlement
from spool.sending_quota import Denied, Granted, Lost, RouteLimits, RouteView, Seat, Take
from spool.states import IN_LANE, RecipientState
from spool.store import Claimed, Spool
from tests.store.messages import accepted_and_claimed, an_intent

ROUTE = "main"
_TOKENS = {"c", "r", "s"}
_HOUR_MS = 3_600_000
Found = TypeVar("Found")
UNLIMITED = RouteLimits(ROUTE, lanes=(("express", 100), ("bulk", 80)))


def limits(rate: float = 0, day: float = -1, *lanes: tuple[str, int], name: str = ROUTE) -> RouteLimits:
    """A route with two lanes, unless others are named."""
    return RouteLimits(name, rate, day, lanes or UNLIMITED.lanes)


def a_seat(lane: str = "express", sender: str = "alice", weight: float = 1.0, route: str = ROUTE) -> Seat:
    return Seat(route, lane, sender, weight, "example.com")


async def intended(spool: Spool, claimed: Claimed, seat: Seat, of: RouteLimits, recipients: int = 1, number: int = 1):
    """The intent of a call for so many recipients."""
    everybody = range(len(claimed.message.recipients))
    states = tuple(RecipientState.SENDING if n < recipients else RecipientState.WAITING for n in everybody)
    attempt = an_intent(number, tuple(range(min(recipients, len(everybody)))))
    settlement = Settlement(claimed.lease, number=number, states=states, attempts=(attempt,))
    return await spool.intend(settlement, Take(seat, recipients, of))


async def taken(
    spool: Spool, of: RouteLimits, recipients: int = 1, seat: Seat | None = None
) -> Granted | Denied | Lost:
    """A new message asks for a call for so many recipients."""
    claimed = await accepted_and_claimed(spool, recipients=1)
    return await intended(spool, claimed, seat or a_seat(), of, recipients)


async def queued(spool: Spool, seat: Seat, recipients: int = 1, after_seconds: float = 0) -> str:
    """A new message that waits for its turn; its id."""
    claimed = await accepted_and_claimed(spool, recipients=recipients)
    waiting = (RecipientState.WAITING,) * recipients
    assert await spool.settle(
        Settlement(claimed.lease, 1, "lane", after_seconds, seat=seat, reason=IN_LANE, states=waiting)
    )
    return claimed.lease.message_id


async def look(spool: Spool, *of: RouteLimits, limit: int = 1000) -> tuple[str, ...]:
    """What one look of the gate releases."""
    return (await spool.gate(of, limit=limit)).released


async def view(spool: Spool, of: RouteLimits) -> RouteView:
    """The route, without releasing anything."""
    return (await spool.gate([of], limit=0)).routes[of.name]


async def set_route(spool: Spool, route: str = ROUTE, **fields: float) -> None:
    """Fields of the route's hash; with tokens (c, r_express …) nothing more flows into the buckets."""
    names = {name.replace("_", ":"): value for name, value in fields.items()}
    if _TOKENS & {name.partition(":")[0] for name in names}:
        names["bt"] = await now_ms(spool) + _HOUR_MS
    await spool.redis.hset(keys.route_key(route), mapping=names)


async def put_off(spool: Spool, *instants: str, route: str = ROUTE) -> None:
    """As if these instants of the route came an hour later: a test that is stopped for a while does not reach them."""
    for field in instants:
        await spool.redis.hincrby(keys.route_key(route), field, _HOUR_MS)


async def in_time(spool: Spool, doing: Callable[[], Awaitable[Found]], within_ms: int) -> Found:
    """What `doing` found when it took less than that by the server's clock; a machine that was busy tries again."""
    for _ in range(30):
        begun_ms = await now_ms(spool)
        found = await doing()
        if await now_ms(spool) - begun_ms < within_ms:
            return found
    raise AssertionError(f"it never took less than {within_ms} ms")


async def now_ms(spool: Spool) -> int:
    seconds, micros = await spool.redis.time()
    return seconds * 1000 + micros // 1000


async def lane_numbers(spool: Spool) -> dict[str, int]:
    """Messages and recipients by route:lane:…"""
    fields = await spool.redis.hgetall(keys.LANES)
    return {name.decode(): int(value) for name, value in fields.items() if not name.endswith(b":v")}


def with_lanes(of: RouteLimits, *lanes: tuple[str, int]) -> RouteLimits:
    return replace(of, lanes=lanes)
