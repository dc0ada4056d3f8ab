"""What the account may still send, and what became of what it sent: GetSendQuota, GetSendStatistics, v2's GetAccount.

The limits are those of all routes together. What waits here is counted as sent: it will be, before anything that comes
now. So a program that sends as much as is left does not make a queue for tomorrow.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from aws_api.tools import TOOLS
from aws_api.wire.services import Call
from spool.assembly import limits_of
from spool.routes import read_routes_and_unqueued
from spool.sending_quota import RouteLimits, RouteView
from spool.statistics import send_statistics


async def get_send_quota(call: Call) -> Mapping[str, Any]:
    """v1."""
    return await _quota(call)


async def get_account(call: Call) -> Mapping[str, Any]:
    """v2: what of it is known here."""
    settings = call.request.app[TOOLS].settings
    reasons = [one.upper() for one in settings.suppression.reasons] if settings.suppression.mode != "off" else []
    return {
        "DedicatedIpAutoWarmupEnabled": False,
        "EnforcementStatus": "HEALTHY",
        "ProductionAccessEnabled": True,
        "SendQuota": await _quota(call),
        "SendingEnabled": True,
        "SuppressionAttributes": {"SuppressedReasons": reasons},
    }


async def get_send_statistics(call: Call) -> Mapping[str, Any]:
    """v1."""
    points = await send_statistics(call.request.app[TOOLS].spool.redis)
    return {
        "SendDataPoints": [
            {
                "Timestamp": datetime.fromtimestamp(one.at_s, UTC),
                "DeliveryAttempts": one.attempts,
                "Bounces": one.bounces,
                "Complaints": one.complaints,
                "Rejects": one.rejects,
            }
            for one in points
        ]
    }


async def _quota(call: Call) -> Mapping[str, float]:
    tools = call.request.app[TOOLS]
    limits = list(limits_of(tools.settings).values())
    views, unqueued = await read_routes_and_unqueued(tools.spool, limits)
    return quota_of(zip(views, limits, strict=True), unqueued)


def quota_of(routes: Iterable[tuple[RouteView, RouteLimits]], unqueued: int = 0) -> Mapping[str, float]:
    """All routes in SES's words; -1 = no limit. `unqueued`: recipients that wait and have no route yet."""
    day = rate = 0.0
    used = float(unqueued)
    for view, limits in routes:
        day += view.daily_limit
        rate += _rate(view, limits)
        used += view.sent_last_24_hours + view.waiting_recipients
    return {
        "Max24HourSend": -1.0 if math.isinf(day) else day,
        "MaxSendRate": -1.0 if math.isinf(rate) else rate,
        "SentLast24Hours": used,
    }


def _rate(view: RouteView, limits: RouteLimits) -> float:
    """What SES or the operator allows, without what was learned or is kept back; the lower of the two."""
    said = [one for one in (view.max_send_rate, limits.max_send_rate) if one is not None and one > 0]
    return min(said, default=view.rate)
