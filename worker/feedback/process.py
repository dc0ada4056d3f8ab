"""The process that reads SES's events: `mailsluice feedback`.

One is enough; several do no harm. It may be away for any time: calls in doubt wait for it, and it goes on where it
stopped. Events come from the simulator's feed.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Coroutine

import uvloop

from config.errors import Refused
from config.failpoints import Failpoints
from config.logs import get_log, set_up_logging
from config.readiness import tell_ready
from config.settings import Settings
from spool.assembly import open_spool
from spool.environment import WrongEnvironment, claim_when_it_answers
from spool.scripts import answer_of
from spool.store import Spool
from spool.tally import Tally
from worker.feedback.reader import Reader
from worker.feedback.simulator_feed import SimulatorFeed

# So long a read waits for events; the doubt of a call is settled by a read that began after it.
_WAIT_SECONDS = 2.0
_LAST_WORDS_SECONDS = 2.0


class NoSource(Refused):
    """The settings name no place where events come from."""


def run(settings: Settings) -> int:
    """Reads until SIGTERM or SIGINT; 0 = left in order, 1 = the spool is another installation's.

    Raises NoSource.
    """
    if not settings.feedback.is_configured:
        raise NoSource(
            "There is nothing to read SES's events from: set [feedback] simulator_url "
            "(SLUICE_FEEDBACK_SIMULATOR_URL), for instance http://127.0.0.1:2581. `mailsluice up` does so by itself."
        )
    set_up_logging(settings.log, "feedback")
    try:
        return uvloop.run(_serve(settings))
    except WrongEnvironment as error:
        get_log().error("feedback.stopped", reason=error.reason)
        return 1


async def _serve(settings: Settings) -> int:
    stop, log, tally = asyncio.Event(), get_log(), Tally()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    failpoints = Failpoints.from_environment()
    if failpoints:
        log.warning("failpoints.active")
    async with _spool(settings) as spool, _feed(settings) as feed:

        async def clock_ms() -> int:
            seconds, microseconds = await answer_of(spool.redis.time())
            return int(seconds) * 1000 + int(microseconds) // 1000

        reader = Reader(spool, feed, tally=tally, failpoints=failpoints, log=log, clock_ms=clock_ms)

        async def read() -> None:
            await claim_when_it_answers(spool.redis, settings.spool.environment)
            log.info("feedback.started", source=feed.source)
            tell_ready()
            await reader.run()

        await _until(stop, read(), tally.run(spool.redis))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await tally.flush(spool.redis)
    log.info("feedback.stopped")
    return 0


async def _until(stop: asyncio.Event, *works: Coroutine[None, None, None]) -> None:
    """Runs the works until the stop is asked for; raises what one of them raises."""
    tasks: list[asyncio.Task[None]] = [asyncio.create_task(work) for work in works]
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((stopping, *tasks), return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for one in (stopping, *tasks):
            one.cancel()
        await asyncio.gather(stopping, *tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def _spool(settings: Settings) -> AsyncIterator[Spool]:
    spool = open_spool(settings)
    try:
        yield spool
    finally:
        await spool.close()


@contextlib.asynccontextmanager
async def _feed(settings: Settings) -> AsyncIterator[SimulatorFeed]:
    feed = SimulatorFeed(settings.feedback.simulator_url, wait_seconds=_WAIT_SECONDS)
    try:
        yield feed
    finally:
        await feed.close()
