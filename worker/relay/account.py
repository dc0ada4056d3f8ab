"""What SES says of the account's limits: asked for every route by whichever worker comes first.

Theory of operation
1. Before its first task a worker asks for every route that nobody asked for lately, and waits for those that another
   worker is asking about, for three seconds at most. So a new installation knows its limits before it sends anything;
   a route that nothing is known of by then is treated as one that SES may not be asked about.
2. Later each route is asked about once in relay.quota_refresh_seconds by one worker of all: the spool gives the right
   to ask (`may_ask_quota`) together with the instant from which it counts what is taken beside the answer.
3. An answer goes into the spool (`note_quota`) and the gate looks again at once. No answer leaves what was known, and
   the words why (`note_quota_error`) are seen in `mailsluice queue`; each change of them is logged once.
Without any answer the operator's caps hold, else the spool's cautious fallback.
"""

import asyncio
import math
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from redis import exceptions

from config.errors import TryLater
from worker.relay.credentials import NoCredentials
from worker.relay.outcomes import Accepted, of_answer
from worker.relay.ses import NoAnswer
from worker.tools import Tools

_ACTION = "GetSendQuota"
_ASK_SECONDS = 10.0
_LOOK_SECONDS = 0.1
# The right to ask is tried for so often in one distance; what is asked late by that is still fresh enough.
_TRIES_PER_DISTANCE = 6
NOT_KNOWN = "nobody has got an answer from SES yet"
_FORBIDDEN = frozenset({"AccessDenied", "AccessDeniedException"})


@dataclass(frozen=True, slots=True)
class SendQuota:
    """The account's limits in recipients; negative = none."""

    max_send_rate: float
    max_24_hour_send: float
    sent_last_24_hours: float


class QuotaKeeper:
    """Asks until it is cancelled."""

    def __init__(
        self, tools: Tools, *, first_seconds: float = 3.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tools = tools
        self._first_seconds = first_seconds
        self._clock = clock
        #: Route → why the last question of this process failed; "" = it did not.
        self._words: dict[str, str] = {}

    async def first(self, look: Callable[[], Awaitable[object]]) -> None:
        """Before the first task. Never raises but for cancellation, never takes much longer than `first_seconds`.

        `look` brings the views of the routes up to date.
        """
        names = self._tools.routes.names
        until = self._clock() + self._first_seconds
        await asyncio.gather(*(self._keep(name, self._first_seconds) for name in names))
        with suppress(TryLater, exceptions.RedisError, OSError):
            await look()
            while (unknown := self._unknown()) and self._clock() < until:
                await asyncio.sleep(_LOOK_SECONDS)
                await look()
            for name in unknown:
                await self._tools.spool.note_quota_error(name, NOT_KNOWN)

    def _unknown(self) -> list[str]:
        """Routes without any limit, of which SES neither said that there is none nor that it may not be asked."""
        views = map(self._tools.routes.view, self._tools.routes.names)
        return [view.name for view in views if math.isinf(view.rate) and not (view.fetched_at_ms or view.quota_error)]

    async def run(self) -> None:
        """For ever."""
        while True:
            distance_seconds = self._tools.settings.relay.quota_refresh_seconds / _TRIES_PER_DISTANCE
            await asyncio.sleep(distance_seconds * (0.75 + self._tools.chance() / 2))
            await asyncio.gather(*(self._keep(name, _ASK_SECONDS) for name in self._tools.routes.names))

    async def _keep(self, route: str, seconds: float) -> None:
        """Asks about one route, if it is this process's turn."""
        try:
            await self._ask(route, seconds)
        except (TryLater, exceptions.RedisError, OSError) as error:
            self._tools.log.warning("spool.unavailable", doing="note the quota", error=str(error))

    async def _ask(self, route: str, seconds: float) -> None:
        tools = self._tools
        asked_at_ms = await tools.spool.may_ask_quota(route, tools.settings.relay.quota_refresh_seconds)
        if asked_at_ms is None:
            return
        answer = await self._answer(route, seconds)
        if isinstance(answer, str):
            await tools.spool.note_quota_error(route, answer)
        else:
            await tools.spool.note_quota(
                route,
                max_send_rate=answer.max_send_rate,
                max_24_hour_send=answer.max_24_hour_send,
                sent_last_24_hours=answer.sent_last_24_hours,
                asked_at_ms=asked_at_ms,
            )
        tools.gate_wanted.set()
        self._tell(route, answer)

    async def _answer(self, route: str, seconds: float) -> SendQuota | str:
        """SES's figures, or why there are none."""
        try:
            async with asyncio.timeout(seconds):
                status, body = await self._tools.routes.ses(route).ask(_ACTION)
        except TimeoutError:
            return f"SES did not answer within {seconds:g} seconds"
        except NoCredentials as error:
            return str(error)
        except NoAnswer as error:
            return f"{error.reason}: {error.detail}"
        return quota_of(status, body)

    def _tell(self, route: str, answer: SendQuota | str) -> None:
        """A line for each change."""
        words = answer if isinstance(answer, str) else ""
        if self._words.get(route) == words:
            return
        self._words[route] = words
        if isinstance(answer, str):
            self._tools.log.warning("quota.unknown", route=route, error=words)
        else:
            self._tools.log.info(
                "quota.known",
                route=route,
                max_send_rate=answer.max_send_rate,
                max_24_hour_send=answer.max_24_hour_send,
                sent_last_24_hours=answer.sent_last_24_hours,
            )


def quota_of(status: int, body: bytes) -> SendQuota | str:
    """The figures of an answer to GetSendQuota, or in words why there are none."""
    found = [_figure(body, name) for name in (b"MaxSendRate", b"Max24HourSend", b"SentLast24Hours")]
    rate, daily, sent = found
    if status == 200 and rate is not None and daily is not None and sent is not None:
        return SendQuota(rate, daily, max(0.0, sent))
    outcome = of_answer(status, "", body)
    if isinstance(outcome, Accepted):  # some other service
        return f"HTTP {status} without the account's limits"
    if outcome.code in _FORBIDDEN:
        return "the worker's credentials may not call ses:GetSendQuota; allow it or set max_send_rate"
    return f"{outcome.code}: {outcome.reason}"


def _figure(body: bytes, name: bytes) -> float | None:
    """The number in the element of this name; None when there is none that makes sense."""
    found = re.search(rb"<" + name + rb">\s*([^<]{1,40}?)\s*</", body)
    try:
        figure = float(found[1]) if found else math.nan
    except ValueError:
        return None
    return figure if math.isfinite(figure) else None
