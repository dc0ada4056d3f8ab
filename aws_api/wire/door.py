"""AWS requests on the port: recognised, read, admitted, checked, carried out, answered in the words of their protocol.

A middleware, because AWS requests are told by headers and bodies as much as by paths: what is none goes on to the
door's routes as if this were not here. An operation that the port knows and does not offer is refused by its name,
before anything else is looked at. What happens inside a handler and was not foreseen is a 500 and a log line.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import orjson
from aiohttp import web
from aiohttp.typedefs import Middleware

from aws_api.wire import addressing, rest_json
from aws_api.wire.access_keys import AccessKey, AccessKeyFile, WrongKey
from aws_api.wire.admission import admitted, is_of_this_machine
from aws_api.wire.bodies import read_beginning, read_body
from aws_api.wire.failures import NotAdmitted, OperationRefused
from aws_api.wire.not_offered import refuse_action, refuse_target, words
from aws_api.wire.services import Addressed, Call, Service
from aws_api.wire.signature import Received
from aws_api.wire.streaming import send_streamed
from config.errors import TryLater
from config.logs import get_log

#: How much of a form is looked at for its action.
_FORM_BEGINNING_BYTES: Final = 64 * 1024

Inner = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Access:
    """Whose requests are carried out."""

    keys: AccessKeyFile
    #: Callers of this machine need no key.
    trusts_loopback: bool
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    #: Troubles of the file of keys that the log has; each is told once until the file is well again.
    told: set[str] = field(default_factory=set)


def aws_door(services: Sequence[Service], access: Access) -> Middleware:
    """The middleware for these services."""
    addressing.by_path(services, "GET", "/")  # reads the models now, so that no request waits for it

    @web.middleware
    async def door(request: web.Request, handler: Inner) -> web.StreamResponse:
        request_id = str(uuid.uuid4())
        if target := addressing.by_target(request.method, request.raw_path, request.headers.get("X-Amz-Target", "")):
            return refuse_target(target, request_id)
        if addressing.may_be_form(request.method, request.raw_path, request.content_type):
            action = addressing.by_form(await _beginning(request))
            return refuse_action(action, request_id) if action else await handler(request)
        addressed = addressing.by_path(services, request.method, request.raw_path)
        if addressed is None:
            return await handler(request)
        return await _answer(request, addressed, access, request_id)

    return door


async def _beginning(request: web.Request) -> bytes:
    try:
        return await read_beginning(request, _FORM_BEGINNING_BYTES)
    except OperationRefused:
        return b""


async def _answer(request: web.Request, addressed: Addressed, access: Access, request_id: str) -> web.StreamResponse:
    try:
        return await _carried_out(request, addressed, access, request_id)
    except (OperationRefused, NotAdmitted) as error:
        return _refused(addressed, error, request_id)
    except WrongKey as error:
        if error.reason not in access.told:
            get_log().error("api.keys_unusable", reason=error.reason)
            access.told.add(error.reason)
        reason = "The access keys of this service cannot be read now; its log says why."
        return _refused(addressed, OperationRefused("ServiceUnavailableException", reason), request_id)
    except TryLater as error:
        return _refused(addressed, OperationRefused("ServiceUnavailableException", error.reason), request_id)
    except Exception:  # noqa: BLE001 - a bug, told at the edge; the door goes on
        get_log().exception("api.operation_failed", operation=addressed.operation.name, request_id=request_id)
        return _refused(addressed, OperationRefused("InternalFailure", "An internal failure."), request_id)


async def _carried_out(
    request: web.Request, addressed: Addressed, access: Access, request_id: str
) -> web.StreamResponse:
    operation, offer = addressed.operation, addressed.offer
    if offer is None:
        raise OperationRefused("UnknownOperationException", words(operation.name))
    body = await read_body(request, addressed.service.max_body_bytes)
    access_key = _admit(request, addressed.service, body, access)
    parameters = rest_json.parameters_of(addressed, request.raw_path, request.headers, body)
    output = await offer.handler(Call(parameters, access_key, request_id, request))
    payload = rest_json.payload_of(operation)
    if payload is not None:
        headers = _headers(request_id, getattr(output[payload], "content_type", "application/octet-stream"))
        return await send_streamed(request, output[payload], headers)
    return web.Response(
        body=rest_json.answer_of(operation, output),
        status=int(operation.http.get("responseCode", 200)),
        headers=_headers(request_id, rest_json.CONTENT_TYPE),
    )


def _admit(request: web.Request, service: Service, body: bytes, access: Access) -> AccessKey | None:
    if access.trusts_loopback and is_of_this_machine(request):
        return None
    received = Received(request.method, request.raw_path, tuple(request.headers.items()), body)
    access_key = admitted(received, service.signing_name, access.keys, access.clock())
    access.told.clear()
    return access_key


def _refused(addressed: Addressed, error: OperationRefused | NotAdmitted, request_id: str) -> web.Response:
    status, code = rest_json.refusal_of(addressed.operation, error)
    headers: Mapping[str, str] = {**_headers(request_id, rest_json.CONTENT_TYPE), "x-amzn-ErrorType": code}
    return web.Response(body=orjson.dumps({"message": error.reason}), status=status, headers=headers)


def _headers(request_id: str, content_type: str) -> dict[str, str]:
    return {"x-amzn-RequestId": request_id, "Content-Type": content_type}
