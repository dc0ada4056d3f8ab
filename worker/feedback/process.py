"""The process that reads SES's events: `mailsluice feedback`.

One is enough; several do no harm. It may be away for any time: what waits at a source waits, calls in doubt wait for
it, and it goes on where it stopped. Every source that the settings name is read side by side, and the inbox
of the spool always.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Coroutine

import uvloop
from structlog.typing import FilteringBoundLogger

from config.errors import Refused
from config.failpoints import Failpoints
from config.logs import get_log, set_up_logging
from config.readiness import tell_ready
from config.settings import Settings
from spool.assembly import open_spool
from spool.environment import WrongEnvironment, claim_when_it_answers
from spool.feedback_book import FeedbackBook
from spool.feedback_inbox import FeedbackInbox
from spool.scripts import answer_of
from spool.store import Spool
from spool.suppression import Suppression
from spool.tally import Tally
from worker.feedback.apply import Applier, Keeping
from worker.feedback.bounce_mail import BounceMail
from worker.feedback.followers import Followers
from worker.feedback.horizon import Horizon
from worker.feedback.inbox_reader import INBOX_SOURCE, InboxReader
from worker.feedback.patience import Reads, read_on
from worker.feedback.queue_reader import QueueReader
from worker.feedback.reader import Reader
from worker.feedback.simulator_feed import SimulatorFeed
from worker.feedback.sqs_queue import SqsQueue, url_mistake
from worker.feedback.surroundings import Surroundings
from worker.reputation import open_reputation

# So long a read of the simulator's feed waits for events; the doubt of a call is settled by a read that began after it.
_WAIT_SECONDS = 2.0
_LAST_WORDS_SECONDS = 2.0


class NoSource(Refused):
    """The settings name no place where events come from."""


def run(settings: Settings) -> int:
    """Reads until SIGTERM or SIGINT; 0 = left in order, 1 = the spool is another installation's.

    Raises NoSource, also for a queue that cannot be one.
    """
    if not settings.feedback.is_configured:
        raise NoSource(
            "There is nothing to read SES's events from: set [feedback] queue_url (SLUICE_FEEDBACK_QUEUE_URL) to the "
            "SQS queue that they come to, or topics (SLUICE_FEEDBACK_TOPICS) for POST /feedback/sns, or simulator_url "
            "(SLUICE_FEEDBACK_SIMULATOR_URL). `mailsluice up` with its simulator does so by itself."
        )
    if settings.feedback.queue_url and (mistake := url_mistake(settings.feedback.queue_url)):
        raise NoSource(f"[feedback] queue_url (SLUICE_FEEDBACK_QUEUE_URL) {mistake}")
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
    async with _spool(settings) as spool, _sources(settings) as (queue, feed):
        readers = make_readers(settings, spool, queue, feed, tally=tally, failpoints=failpoints, log=log)

        async def read() -> None:
            await claim_when_it_answers(spool.redis, settings.spool.environment)
            log.info("feedback.started", source=", ".join(reader.source for reader in readers))
            tell_ready()
            await asyncio.gather(*(read_on(reader, log) for reader in readers))

        await _until(stop, read(), tally.run(spool.redis))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await tally.flush(spool.redis)
    log.info("feedback.stopped")
    return 0


def make_readers(
    settings: Settings,
    spool: Spool,
    queue: SqsQueue | None,
    feed: SimulatorFeed | None,
    *,
    tally: Tally,
    failpoints: Failpoints,
    log: FilteringBoundLogger,
) -> list[Reads]:
    """One for each source, and that of the inbox."""

    async def clock_ms() -> int:
        seconds, microseconds = await answer_of(spool.redis.time())
        return int(seconds) * 1000 + int(microseconds) // 1000

    applier = make_applier(settings, spool, tally=tally, failpoints=failpoints, log=log)
    inbox = FeedbackInbox(spool.redis)
    # What waits in the inbox is about no call in doubt, unless the topic brings everything there.
    pushed = [INBOX_SOURCE] if settings.feedback.topics else []
    horizon = Horizon(spool, [*(one.source for one in (queue, feed) if one), *pushed])
    around = Surroundings(tally, failpoints, log, clock_ms)
    readers: list[Reads] = []
    if queue:
        readers.append(QueueReader(queue, applier, inbox, horizon, around))
    if feed:
        readers.append(Reader(spool, feed, applier, inbox, horizon, around=around))
    keep_seconds = settings.feedback.keep_unknown_seconds
    return [*readers, InboxReader(inbox, applier, horizon, around, keep_unknown_seconds=keep_seconds)]


def make_applier(
    settings: Settings, spool: Spool, *, tally: Tally, failpoints: Failpoints, log: FilteringBoundLogger
) -> Applier:
    """The entry point of all events."""

    def clock_ms() -> int:
        return time.time_ns() // 1_000_000

    bounces = BounceMail(
        spool,
        reporting_host=settings.smtp.hostname,
        bounce_sender=settings.relay.bounce_sender,
        tally=tally,
        log=log,
        clock_ms=clock_ms,
    )
    followers = Followers(
        Suppression(spool.redis),
        open_reputation(settings, spool.redis),
        bounces if settings.feedback.bounce_mail else None,
        settings.suppression,
    )
    return Applier(
        spool,
        FeedbackBook(spool.redis),
        followers,
        Keeping(settings.spool.keep_finished_seconds, settings.feedback.keep_unknown_seconds),
        tally=tally,
        failpoints=failpoints,
        log=log,
        clock_ms=clock_ms,
    )


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
async def _sources(settings: Settings) -> AsyncIterator[tuple[SqsQueue | None, SimulatorFeed | None]]:
    """The queue and the feed, those that the settings name."""
    feedback = settings.feedback
    queue = SqsQueue(feedback.queue_url, settings.relay.region) if feedback.queue_url else None
    feed = SimulatorFeed(feedback.simulator_url, wait_seconds=_WAIT_SECONDS) if feedback.simulator_url else None
    try:
        yield queue, feed
    finally:
        for one in (queue, feed):
            if one is not None:
                await one.close()
