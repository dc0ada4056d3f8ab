"""AWS requests on the port: recognised, read, admitted, checked, carried out, answered in the words of their protocol.

A middleware, because AWS requests are known by headers and bodies as much as by paths: what is none goes on to the
door's routes as if this were not here. A known path that is not offered is refused by its name before anything else is
looked at; who shows no known key is refused before the body is read. What happens inside a handler and was not foreseen
is a 500 and a log line.
"""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from aiohttp import web
from aiohttp.typedefs import Middleware
from botocore.model import OperationModel

from aws_api.wire import addressing, rest_json
from aws_api.wire.access_keys import AccessKey, AccessKeyFile, WrongKey
from aws_api.wire.admission import Claim, admitted, claim_of, is_of_this_machine, names_known_key
from aws_api.wire.bodies import read_body
from aws_api.wire.failures import NotAdmitted, OperationRefused
from aws_api.wire.memory import MemoryBudget, Reservation
from aws_api.wire.not_offered import refuse_target, words
from aws_api.wire.off_loop import off_loop
from aws_api.wire.protocols import PROTOCOLS, QUERY, Protocol
from aws_api.wire.services import Addressed, Call, Service
from aws_api.wire.signature import Received
from aws_api.wire.streaming import send_streamed
from config.errors import TryLater
from config.logs import get_log

Inner = Callable[[web.Request], Awaitable[web.StreamResponse]]
Response = TypeVar("Response")


class Access:
    """Whose requests are carried out."""

    def __init__(
        self,
        keys: AccessKeyFile,
        *,
        trusts_loopback: bool,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._keys = keys
        self._trusts_loopback = trusts_loopback
        self._clock = clock
        self._logged_reasons: set[str] = set()

    def claim(self, request: web.Request, service: Service) -> Claim | None:
        """Who asks, by the headers alone; None = a caller of this machine that needs no key.

        Raises NotAdmitted, WrongKey.
        """
        is_trusted = self._trusts_loopback and is_of_this_machine(request)
        if is_trusted and not names_known_key(request, self._keys):
            return None
        return claim_of(_received(request, b""), service.signing_name, self._keys, self._clock())

    async def admit(self, request: web.Request, claim: Claim | None, body: bytes) -> AccessKey | None:
        """The key that signed; None = a caller of this machine that needs none. Raises NotAdmitted."""
        if claim is None:
            return None
        access_key = await off_loop(len(body), admitted, _received(request, body), claim)
        self._logged_reasons.clear()
        return access_key

    def log_unusable(self, error: WrongKey) -> None:
        """Each trouble of the file of keys is logged once until a key of it was admitted again."""
        if error.reason not in self._logged_reasons:
            get_log().error("api.keys_unusable", reason=error.reason)
            self._logged_reasons.add(error.reason)


def _received(request: web.Request, body: bytes) -> Received:
    return Received(request.method, request.raw_path, tuple(request.headers.items()), body)


@dataclass(frozen=True, slots=True)
class Wire:
    """What the door works with."""

    services: Sequence[Service]
    access: Access
    memory: MemoryBudget


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request, with the part of memory that it has."""

    request: web.Request
    request_id: str
    memory: Reservation
    wire: Wire


def aws_door(wire: Wire) -> Middleware:
    """The middleware for these services."""
    addressing.by_path(wire.services, "GET", "/")  # reads the models now, so that no request waits for it

    @web.middleware
    async def door(request: web.Request, handler: Inner) -> web.StreamResponse:
        request_id = str(uuid.uuid4())
        if target := addressing.by_target(request.method, request.raw_path, request.headers.get("X-Amz-Target", "")):
            return refuse_target(target, request_id)
        is_form = addressing.may_be_form(request.method, request.raw_path, request.content_type)
        addressed = None if is_form else addressing.by_path(wire.services, request.method, request.raw_path)
        if not is_form and addressed is None:
            return await handler(request)
        asked = _Asked(request, request_id, Reservation(wire.memory), wire)
        try:
            response = await (_by_form(asked) if addressed is None else _by_path(asked, addressed))
        finally:
            asked.memory.release()
        return await handler(request) if response is None else response

    return door


async def _by_form(asked: _Asked) -> web.StreamResponse | None:
    """The query protocol names its operation somewhere in the body; None = it names none."""
    service = next((one for one in asked.wire.services if one.protocol == "query"), None)
    if service is None:
        return None

    async def carried_out() -> web.StreamResponse | None:
        claim = asked.wire.access.claim(asked.request, service)
        form = await read_body(asked.request, service.max_body_bytes, asked.memory)
        action = addressing.by_form(form)
        if action is None:
            return None
        addressed = addressing.by_action([service], action)
        if addressed is None or addressed.offer is None:
            raise OperationRefused("UnknownOperationException", words(action))
        return await _answer(asked, addressed, _carried_out(asked, addressed, claim, form))

    return await _in_words(asked, QUERY, None, carried_out())


async def _by_path(asked: _Asked, addressed: Addressed) -> web.StreamResponse:
    operation = addressed.operation

    async def carried_out() -> web.StreamResponse:
        if addressed.offer is None:
            raise OperationRefused("UnknownOperationException", words(operation.name))
        claim = asked.wire.access.claim(asked.request, addressed.service)
        body = await read_body(asked.request, addressed.service.max_body_bytes, asked.memory)
        return await _carried_out(asked, addressed, claim, body)

    return await _answer(asked, addressed, carried_out())


async def _answer(asked: _Asked, addressed: Addressed, response: Awaitable[web.StreamResponse]) -> web.StreamResponse:
    return await _in_words(asked, PROTOCOLS[addressed.service.protocol], addressed.operation, response)


async def _in_words(
    asked: _Asked, protocol: Protocol, operation: OperationModel | None, response: Awaitable[Response]
) -> Response | web.StreamResponse:
    """The response, or why there is none in the words of the protocol."""
    access = asked.wire.access
    try:
        return await response
    except (OperationRefused, NotAdmitted) as error:
        refusal: OperationRefused | NotAdmitted = error
    except WrongKey as error:
        access.log_unusable(error)
        reason = "The access keys of this service cannot be read now; its log says why."
        refusal = OperationRefused("ServiceUnavailableException", reason)
    except TryLater as error:
        refusal = OperationRefused("ServiceUnavailableException", error.reason)
    except Exception:  # noqa: BLE001 - a bug, logged at the edge; the door goes on
        name = operation.name if operation is not None else ""
        get_log().exception("api.operation_failed", operation=name, request_id=asked.request_id)
        refusal = OperationRefused("InternalFailure", "An internal failure.")
    return protocol.refuse(operation, refusal, asked.request_id)


async def _carried_out(asked: _Asked, addressed: Addressed, claim: Claim | None, body: bytes) -> web.StreamResponse:
    request, operation, offer = asked.request, addressed.operation, addressed.offer
    assert offer is not None, "what is not offered is refused before"
    protocol = PROTOCOLS[addressed.service.protocol]
    access_key = await asked.wire.access.admit(request, claim, body)
    if offer.is_about_all and access_key is not None and "*" not in access_key.senders:
        raise OperationRefused("AccessDeniedException", _denied(access_key, addressed))
    parameters = await off_loop(len(body), protocol.read, addressed, request.raw_path, request.headers, body)
    output = await offer.handler(Call(parameters, access_key, asked.request_id, request, asked.memory))
    payload = rest_json.payload_of(operation)
    if payload is not None:
        headers = _headers(asked.request_id, getattr(output[payload], "content_type", "application/octet-stream"))
        return await send_streamed(request, output[payload], headers)
    return web.Response(
        body=protocol.write(operation, output, asked.request_id),
        status=int(operation.http.get("responseCode", 200)),
        headers=_headers(asked.request_id, protocol.content_type),
    )


def _denied(access_key: AccessKey, addressed: Addressed) -> str:
    """In AWS's words, and why."""
    action = f"{addressed.service.signing_name}:{addressed.operation.name}"
    return f"User: {access_key.name} is not authorized to perform: {action}; its key is limited to some senders."


def _headers(request_id: str, content_type: str) -> dict[str, str]:
    return {"x-amzn-RequestId": request_id, "Content-Type": content_type}
