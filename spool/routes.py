"""What the spool knows of routes: the gate, the account's figures, the queues; and how that travels to the scripts.

The algorithm is told in sending_quota.py. `RouteStore` is the half of the spool that is about routes.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from redis import asyncio as aioredis

from spool import keys, scripts
from spool.forecast import Ledger, drained_at_ms, next_slot_at_ms
from spool.sending_quota import (
    FALLBACK_RATE,
    Denied,
    Gate,
    LaneView,
    Pause,
    RouteLimits,
    RouteView,
    Seat,
    Take,
    Trouble,
)

# A nudge that brought no claim within this time is taken for lost; with the sweeper's distance of a second a lost
# nudge costs two seconds at most.
NUDGE_MS = 1000
# Messages of a place that are looked at one by one: less than a millisecond.
_UNQUEUED_SAMPLE = 500


class RouteStore:
    """All access to routes. The spool is one."""

    redis: aioredis.Redis

    async def gate(self, limits: Sequence[RouteLimits], *, limit: int) -> Gate:
        """Gives turns to at most `limit` waiting messages, as many as the tokens of the next half second allow.

        Any process may call it at any moment; what it costs depends on what it releases alone.
        """
        released, next_ms, views, pauses = await scripts.GATE(self.redis, [_encoded(limits), limit, NUDGE_MS])
        routes = [view_of(row) for row in orjson.loads(views)]
        return Gate(
            tuple(one.decode() for one in released),
            int(next_ms),
            {view.name: view for view in routes},
            pauses_of(dict(zip(pauses[::2], pauses[1::2], strict=True))),
        )

    async def note_quota(
        self,
        route: str,
        *,
        max_send_rate: float,
        max_24_hour_send: float,
        sent_last_24_hours: float,
        asked_at_ms: int,
    ) -> None:
        """SES's answer about a route; `asked_at_ms` is what may_ask_quota gave."""
        figures = [max_send_rate, max_24_hour_send, sent_last_24_hours, asked_at_ms]
        assert all(math.isfinite(figure) for figure in figures)
        await scripts.NOTE_QUOTA(self.redis, [route, "", *figures])

    async def note_quota_error(self, route: str, words: str) -> None:
        """SES did not tell, and why."""
        await scripts.NOTE_QUOTA(self.redis, [route, words or "no answer"])

    async def may_ask_quota(self, route: str, distance_seconds: float) -> int | None:
        """The server's ms when this process may ask SES about the route now; None when somebody asked lately."""
        return int(await scripts.ASK_QUOTA(self.redis, [route, int(distance_seconds * 1000)])) or None

    async def read_pauses(self) -> tuple[Pause, ...]:
        """Every pause, those included whose time is over and that no gate has removed yet."""
        return pauses_of(await scripts.answer_of(self.redis.hgetall(keys.PAUSES)))

    async def rechoose(self, route: str, *, limit: int) -> tuple[tuple[str, Seat], ...]:
        """Some of the messages that wait for this route, each time others: (message_id, seat).

        Those that another route may take become due by `release`; their next holder chooses anew.
        """
        rows = await scripts.QUEUED(self.redis, [route, limit])
        return tuple((rows[n].decode(), seat_of(rows[n + 1])) for n in range(0, len(rows), 2))


async def read_routes(spool: RouteStore, limits: Sequence[RouteLimits]) -> tuple[RouteView, ...]:
    """Every route with its forecast. Raises StoreUnavailable."""
    return (await _read(spool, limits, 0))[0]


async def read_routes_and_unqueued(
    spool: RouteStore, limits: Sequence[RouteLimits]
) -> tuple[tuple[RouteView, ...], int]:
    """At one moment: the routes, and the recipients that wait and stand in no lane yet. Raises StoreUnavailable.

    The second is exact up to some hundred messages; of more it is told by the first of them.
    """
    return await _read(spool, limits, _UNQUEUED_SAMPLE)


async def _read(spool: RouteStore, limits: Sequence[RouteLimits], most: int) -> tuple[tuple[RouteView, ...], int]:
    views, unqueued, *ledgers = await scripts.ROUTES(spool.redis, [_encoded(limits), most])
    found = tuple(
        _foreseen(view_of(row), Ledger.of_row(ledger)) for row, ledger in zip(orjson.loads(views), ledgers, strict=True)
    )
    return found, int(unqueued)


def _foreseen(view: RouteView, ledger: Ledger) -> RouteView:
    lanes, total = {}, 0
    for name, lane in view.lanes.items():
        total += lane.recipients
        slot = next_slot_at_ms(view, ledger, share=lane.share) if lane.recipients else None
        is_foreseen = lane.recipients and not lane.is_all_paused
        drained = drained_at_ms(view, ledger, total, share=lane.share) if is_foreseen else None
        lanes[name] = dataclasses.replace(lane, drained_at_ms=drained, next_slot_at_ms=slot)
    instants = [lane.drained_at_ms for lane in lanes.values() if lane.recipients]
    last = max((one for one in instants if one is not None), default=None)
    return dataclasses.replace(
        view,
        lanes=lanes,
        next_slot_at_ms=next_slot_at_ms(view, ledger),
        drained_at_ms=None if None in instants else last,
    )


def limits_row(limits: RouteLimits) -> dict[str, Any]:
    """As lua/quota.lua reads it."""
    return {
        "name": limits.name,
        "rate": limits.max_send_rate,
        "day": limits.max_24_hour_send,
        "lanes": [[name, share] for name, share in limits.lanes],
        "fallback": FALLBACK_RATE,
    }


def seat_row(seat: Seat) -> dict[str, Any]:
    """As it stands in field l of the message's hash."""
    return {
        "route": seat.route,
        "lane": seat.lane,
        "sender": seat.sender,
        "weight": seat.weight,
        "from_domain": seat.from_domain,
        **({"fixed": True} if seat.is_fixed else {}),
    }


def take_row(take: Take) -> dict[str, Any]:
    """As lua/quota.lua reads it. Raises AssertionError for a lane that the route does not have."""
    assert take.recipients > 0
    assert take.seat.weight > 0
    assert take.seat.lane in dict(take.limits.lanes)
    assert take.seat.route == take.limits.name
    return {"seat": seat_row(take.seat), "recipients": take.recipients, "limits": limits_row(take.limits)}


def denied_of(answer: Sequence[Any]) -> Denied:
    """The script's {why, wait in ms}."""
    why, wait_ms = answer
    return Denied(why.decode(), int(wait_ms))


def seat_of(raw: bytes) -> Seat:
    """The inverse of seat_row."""
    row = orjson.loads(raw)
    is_fixed = bool(row.get("fixed"))
    return Seat(row["route"], row["lane"], row["sender"], float(row["weight"]), row["from_domain"], is_fixed)


def pauses_of(fields: Mapping[bytes, bytes]) -> tuple[Pause, ...]:
    """The hash of pauses, in the order of their scopes. A row that is none is passed over."""
    found = []
    for scope, raw in sorted(fields.items()):
        try:
            row = orjson.loads(raw)
            pause = Pause(
                scope.decode(), int(row.get("until") or 0), int(row.get("since") or 0),
                str(row.get("why") or ""), str(row.get("by") or ""),
            )  # fmt: skip
        except (ValueError, TypeError, AttributeError):
            continue
        found.append(pause)
    return tuple(found)


def view_of(row: Mapping[str, Any]) -> RouteView:
    """A route as lua/quota.lua tells it; a rate or limit below nought means none."""
    trouble = row.get("trouble")
    return RouteView(
        name=row["name"],
        rate=row["rate"] if row["rate"] >= 0 else math.inf,
        factor=row["factor"],
        is_fallback=row["is_fallback"],
        lanes={
            lane["name"]: LaneView(
                lane["share"], lane["messages"], lane["recipients"], lane["paused_senders"], lane["is_all_paused"]
            )
            for lane in row["lanes"]
        },
        trouble=Trouble(**trouble) if trouble else None,
        max_send_rate=row.get("max_send_rate"),
        max_24_hour_send=row.get("max_24_hour_send"),
        sent_last_24_hours=row["used"],
        daily_limit=row["daily_limit"] if row["daily_limit"] >= 0 else math.inf,
        fetched_at_ms=row["fetched_at_ms"],
        quota_error=row["quota_error"],
        daily_ended=row["daily_ended"],
        daily_until_ms=row["daily_until_ms"],
        taken_at_ms=row["taken_at_ms"],
    )


def _encoded(limits: Sequence[RouteLimits]) -> bytes:
    return orjson.dumps([limits_row(one) for one in limits])
