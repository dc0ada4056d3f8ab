"""One gateway process: builds everything once, listens, and leaves in order.

Several processes share a port (SO_REUSEPORT); the kernel spreads the connections. SIGTERM and SIGINT: stop listening,
let running transactions end, say 421 to the rest, leave with 0. SIGHUP: read the certificate again.
"""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from functools import partial

import uvloop
from redis import asyncio as aioredis

from config.errors import Refused
from config.failpoints import Failpoints
from config.logs import get_log, set_up_logging
from config.readiness import tell_ready
from config.redis_clients import redis_client
from config.settings import Settings, SmtpSettings
from smtp_gateway.certificates import Certificates, certificates_of
from smtp_gateway.credentials import Credentials
from smtp_gateway.door import Door
from smtp_gateway.session import SmtpSession
from smtp_gateway.suppressed import SuppressedRecipients
from smtp_gateway.users import UserFile
from spool.assembly import open_spool
from spool.commit import Committer
from spool.environment import claim_if_it_answers, claim_when_it_answers
from spool.nudge import Nudger
from spool.safety import SafetyWatch
from spool.suppression import Suppression
from spool.tally import Tally

BACKLOG = 1024
# After the sessions are gone: for messages to be taken back, nudges and numbers on their way.
LAST_WORDS_SECONDS = 3.0


class CannotListen(Refused):
    """A port cannot be opened."""


def run(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT; 0 = left in order, 1 = could not start or a part of it failed."""
    set_up_logging(settings.log, "gateway")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(settings))
    except Refused as error:
        get_log().error("gateway.stopped", reason=error.reason)
        return 1


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the process is made of."""

    door: Door
    committer: Committer
    nudger: Nudger
    tally: Tally
    safety: SafetyWatch
    redis: aioredis.Redis
    certificates: Certificates | None


async def _serve(settings: Settings) -> int:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    async with _parts(settings) as parts:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if parts.certificates:
            loop.add_signal_handler(signal.SIGHUP, parts.certificates.reload)
        is_claimed = await claim_if_it_answers(parts.redis, settings.spool.environment)
        await parts.safety.check()
        servers = await _listen(settings.smtp, parts)
        background = _Background(stop)
        background.start(parts.safety.run())
        background.start(parts.tally.run(parts.redis))
        if not is_claimed:
            background.start(claim_when_it_answers(parts.redis, settings.spool.environment))
        if parts.certificates:
            background.start(parts.certificates.run())
        gc.collect()
        gc.freeze()  # what was built until here lives as long as the process
        get_log().info("gateway.started", host=settings.smtp.host, port=settings.smtp.port)
        tell_ready()
        await stop.wait()
        get_log().info("gateway.draining")
        for server in servers:
            server.close()
        await parts.door.drain(settings.smtp.shutdown_grace_seconds)
        await background.end()
        await _last_words(parts)
        get_log().info("gateway.stopped")
        return 1 if background.has_failed else 0


@contextlib.asynccontextmanager
async def _parts(settings: Settings) -> AsyncIterator[_Parts]:
    redis = redis_client(settings.redis_url)
    broker = redis if settings.broker_url == settings.redis_url else redis_client(settings.broker_url)
    safety, tally, nudger = SafetyWatch(redis, settings), Tally(), Nudger(broker, settings)
    failpoints = Failpoints.from_environment()
    if failpoints:
        get_log().warning("failpoints.active")
    credentials = Credentials(UserFile(settings.users_file))
    certificates = certificates_of(settings.smtp)
    committer = Committer(
        open_spool(settings, redis=redis),
        safety,
        timeout_seconds=settings.smtp.commit_timeout_seconds,
        failpoints=failpoints,
    )
    door = Door(
        settings.smtp,
        committer=committer,
        credentials=credentials,
        nudger=nudger,
        tally=tally,
        certificates=certificates,
        failpoints=failpoints,
        suppressed=SuppressedRecipients(Suppression(redis) if settings.suppression.mode == "refuse" else None),
    )
    try:
        yield _Parts(door, committer, nudger, tally, safety, redis, certificates)
    finally:
        credentials.close()
        await redis.aclose()
        await broker.aclose()


async def _listen(settings: SmtpSettings, parts: _Parts) -> list[asyncio.Server]:
    loop = asyncio.get_running_loop()

    def session(*, begins_with_tls: bool = False) -> SmtpSession:
        return SmtpSession(parts.door, loop, begins_with_tls=begins_with_tls)

    servers = [
        await loop.create_server(session, sock=one, backlog=BACKLOG)
        for one in listening_sockets(settings.host, settings.port, "port")
    ]
    if settings.tls_port and parts.certificates:
        servers += [
            await loop.create_server(partial(session, begins_with_tls=True), sock=one, backlog=BACKLOG)
            for one in listening_sockets(settings.host, settings.tls_port, "tls_port")
        ]
    return servers


def listening_sockets(host: str, port: int, setting: str) -> list[socket.socket]:
    """Bound sockets that share the port; `::` is both families. Raises CannotListen."""
    try:
        if host == "::":
            return [_bound((host, port), socket.AF_INET6, is_dual_stack=True)]
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        places = dict.fromkeys((family, address[0]) for family, _, _, _, address in found)
        return [_bound((str(name), port), family) for family, name in places]
    except OSError as error:
        raise CannotListen(
            f"[smtp] {setting}: cannot listen on {host} port {port}: {error.strerror}; "
            f"choose another with SLUICE_SMTP_{setting.upper()} or end what listens there"
        ) from error


def _bound(place: tuple[str, int], family: int, *, is_dual_stack: bool = False) -> socket.socket:
    return socket.create_server(place, family=family, reuse_port=True, dualstack_ipv6=is_dual_stack, backlog=BACKLOG)


class _Background:
    """Tasks that run as long as the process; one that fails ends it, so that the supervisor starts it anew."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._tasks: list[asyncio.Task[None]] = []
        self.has_failed = False

    def start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            get_log().error("gateway.part_failed", exc_info=error)
            self.has_failed = True
            self._stop.set()


async def _last_words(parts: _Parts) -> None:
    await parts.committer.drain(LAST_WORDS_SECONDS)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORDS_SECONDS):
            await parts.nudger.drain()
            await parts.tally.flush(parts.redis)
