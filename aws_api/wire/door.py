"""AWS requests on the port: recognised, read, admitted, checked, carried out, answered in the words of their protocol.

A middleware, because AWS requests are known by headers and bodies as much as by paths: what is none goes on to the
door's routes as if this were not here. An operation that the port knows and does not offer is refused by its name,
before anything else is looked at. What happens inside a handler and was not foreseen is a 500 and a log line.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
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

    def admit(self, request: web.Request, service: Service, body: bytes) -> AccessKey | None:
        """The key that signed; None = a caller of this machine that needs none. Raises NotAdmitted, WrongKey."""
        if self._trusts_loopback and is_of_this_machine(request):
            return None
        received = Received(request.method, request.raw_path, tuple(request.headers.items()), body)
        access_key = admitted(received, service.signing_name, self._keys, self._clock())
        self._logged_reasons.clear()
        return access_key

    def log_unusable(self, error: WrongKey) -> None:
        """Each trouble of the file of keys is logged once until a key of it was admitted again."""
        if error.reason not in self._logged_reasons:
            get_log().error("api.keys_unusable", reason=error.reason)
            self._logged_reasons.add(error.reason)


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
        access.log_unusable(error)
        reason = "The access keys of this service cannot be read now; its log says why."
        return _refused(addressed, OperationRefused("ServiceUnavailableException", reason), request_id)
    except TryLater as error:
        return _refused(addressed, OperationRefused("ServiceUnavailableException", error.reason), request_id)
    except Exception:  # noqa: BLE001 - a bug, logged at the edge; the door goes on
        get_log().exception("api.operation_failed", operation=addressed.operation.name, request_id=request_id)
        return _refused(addressed, OperationRefused("InternalFailure", "An internal failure."), request_id)


async def _carried_out(
    request: web.Request, addressed: Addressed, access: Access, request_id: str
) -> web.StreamResponse:
    operation, offer = addressed.operation, addressed.offer
    if offer is None:
        raise OperationRefused("UnknownOperationException", words(operation.name))
    body = await read_body(request, addressed.service.max_body_bytes)
    access_key = access.admit(request, addressed.service, body)
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


def _refused(addressed: Addressed, error: OperationRefused | NotAdmitted, request_id: str) -> web.Response:
    status, code = rest_json.refusal_of(addressed.operation, error)
    headers: Mapping[str, str] = {**_headers(request_id, rest_json.CONTENT_TYPE), "x-amzn-ErrorType": code}
    return web.Response(body=orjson.dumps({"message": error.reason}), status=status, headers=headers)


def _headers(request_id: str, content_type: str) -> dict[str, str]:
    return {"x-amzn-RequestId": request_id, "Content-Type": content_type}
