"""POST /feedback/sns: verified, put safely into the spool's inbox, then answered 200. Nothing is applied here.

SNS takes every status from 200 to 499 for the end of a delivery: a 4xx loses the event. So 403 is for what is forged,
400 for what is no message of SNS, and everything of ours that is out of order (a spool that is away, full or unsafe, a
certificate that cannot be fetched, a clock by which a rightly signed message is not of now) is 503, after which SNS
comes again; what came twice is applied once.

A subscription to a topic that the settings name is confirmed by itself. Raw delivery is not signed and not taken.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from aiohttp import web

from aws_api.feedback.certificates import Certificates, HttpAnswer
from aws_api.feedback.envelope import Envelope, Forged, NotAnEnvelope, check_age, check_claims, envelope_of
from aws_api.feedback.refusals import Refusals
from aws_api.feedback.rsa_signature import is_right
from aws_api.tools import TOOLS, Tools
from config.errors import Refused, SluiceError, TryLater
from config.logs import get_log
from sending_events.destinations.outbound_http import AllowedTargets, OutboundHttp
from spool.feedback_inbox import FeedbackInbox
from spool.safety import SafetyReport

PATH: Final = "/feedback/sns"
# A message has 256 KB; written as JSON in JSON each sign may take two bytes more than once.
_MOST_BYTES: Final = 1024 * 1024
#: What the bodies of all requests may hold together, until each has its answer.
_BUDGET_BYTES: Final = 32 * 1024 * 1024
_BODY_SECONDS: Final = 10.0
_CONFIRM_SECONDS: Final = 8.0
_LARGEST_CONFIRMATION: Final = 64 * 1024
_OK: Final = 200


class SnsDoor:
    """What the handler works with; `get` as in certificates.py."""

    def __init__(
        self,
        inbox: FeedbackInbox,
        topics: tuple[str, ...],
        get: Callable[[str, float, int], Awaitable[HttpAnswer]],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._inbox = inbox
        self._topics = topics
        self._get = get
        self._clock = clock
        self._certificates = Certificates(get)
        #: What the bodies have that are looked at now.
        self.held_bytes = 0
        self.refusals = Refusals()

    async def take(self, request: web.Request, report: SafetyReport) -> None:
        """Returns when the message is safe. Raises NotAnEnvelope, Forged, TryLater."""
        if request.headers.get("x-amz-sns-rawdelivery", "").lower() == "true":
            raise Forged("Raw delivery is not signed: switch it off for this subscription.")
        body = bytearray()
        try:
            await self._read(request, body)
            if not report.is_safe or report.is_full:
                raise TryLater("the spool is not safe, or full")
            await self.take_message(body)
        finally:
            self.held_bytes -= len(body)

    async def _read(self, request: web.Request, body: bytearray) -> None:
        """Fills in the body, bounded; what is in it counts as held. Raises NotAnEnvelope, TryLater."""
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                while piece := await request.content.read(64 * 1024):
                    body += piece
                    self.held_bytes += len(piece)
                    if len(body) > _MOST_BYTES:
                        raise NotAnEnvelope("The body is larger than a message of SNS can be.")
                    if self.held_bytes > _BUDGET_BYTES:
                        raise TryLater("too many notifications at once")
        except TimeoutError as error:
            raise TryLater("the body did not come in time") from error

    async def take_message(self, body: bytes | bytearray) -> None:
        """Returns when the message is safe. Raises NotAnEnvelope, Forged, TryLater."""
        envelope = envelope_of(body)
        check_claims(envelope, self._topics)
        key = await self._certificates.key(envelope.certificate_url)
        if not is_right(key, envelope.version, envelope.signed, envelope.signature):
            raise Forged("The signature is wrong.")
        self._certificates.note_verified(envelope.certificate_url)
        check_age(envelope, self._clock())
        match envelope.kind:
            case "Notification":
                await self._inbox.keep(envelope.message.encode("utf-8", "replace"))
            case "SubscriptionConfirmation":
                await self._confirm(envelope)
            case "UnsubscribeConfirmation":
                get_log().warning("feedback.unsubscribed", topic=envelope.topic)

    async def _confirm(self, envelope: Envelope) -> None:
        try:
            answer = await self._get(envelope.subscribe_url, _CONFIRM_SECONDS, _LARGEST_CONFIRMATION)
        except Refused as error:
            raise TryLater("the subscription's URL may not be asked", detail=error.detail) from error
        if answer.status != _OK:
            raise TryLater(f"SNS answers {answer.status} to the confirmation")
        get_log().info("feedback.subscribed", topic=envelope.topic)


DOOR = web.AppKey("feedback_door", SnsDoor)


async def take_notification(request: web.Request) -> web.Response:
    """The handler."""
    door = request.app[DOOR]
    try:
        await door.take(request, request.app[TOOLS].watch.report)
    except (Forged, NotAnEnvelope, TryLater) as error:
        status = _status_of(error)
        door.refusals.note(status, error)
        return web.Response(status=status, text=f"{error.reason}\n")
    return web.Response(text="taken\n")


def _status_of(error: SluiceError) -> int:
    match error:
        case Forged():
            return 403
        case NotAnEnvelope():
            return 400
        case _:
            return 503


ROUTES: Final = (web.post(PATH, take_notification),)


def add_feedback_door(app: web.Application, tools: Tools) -> None:
    """The path with what it needs; its connections end with the application."""
    http = OutboundHttp(AllowedTargets.of(tools.settings.events.allowed_targets))
    app[DOOR] = SnsDoor(FeedbackInbox(tools.spool.redis), tuple(tools.settings.feedback.topics), partial(_get, http))

    async def closing(_: web.Application) -> AsyncIterator[None]:
        yield
        await http.close()

    app.cleanup_ctx.append(closing)
    app.add_routes(ROUTES)


async def _get(http: OutboundHttp, url: str, seconds: float, most_bytes: int) -> HttpAnswer:
    return await http.get(url, time_limit_seconds=seconds, max_answer_bytes=most_bytes)
