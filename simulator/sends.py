"""The AWS operations: both ways to send, and both ways to ask for the limits.

A send goes: read, check, fault, limits, ledger, latency, answer. Everything up to the ledger happens without a
pause, so a call is either accepted whole or not at all. No signature is verified.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from simulator import query_wire, rest_wire
from simulator.checks import check
from simulator.faults import KINDS, Fault, FaultKind, Instead, first_hit
from simulator.refusals import UNKNOWN_OPERATION, Refusal, Refused
from simulator.send_call import SendCall
from simulator.simulated import SIMULATED, Simulated

HTML_PAGE = b"<html><head><title>Gateway</title></head><body><h1>It works!</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Wire:
    """How one of the two APIs writes its answers to a send."""

    sent: Callable[[str], web.Response]
    refused: Callable[[Refusal, str], web.Response]


QUERY = Wire(query_wire.sent, query_wire.refused)
REST = Wire(rest_wire.sent, rest_wire.refused)


async def answer_query(request: web.Request) -> web.StreamResponse:
    """POST /: the v1 API; `Action` says which operation."""
    body = await request.read()
    simulated = request.app[SIMULATED]
    try:
        form = query_wire.parse_form(body)
    except Refused as refused:
        return QUERY.refused(refused.refusal, refused.text)
    action = form.fields.get("Action", "")
    if action == "SendRawEmail":
        return await _answer_send(request, simulated, QUERY, lambda: query_wire.read_send_raw_email(form))
    if action == "GetSendQuota":
        return query_wire.send_quota(*simulated.account.send_quota())
    version = form.fields.get("Version", "2010-12-01")
    return QUERY.refused(UNKNOWN_OPERATION, f"Could not find operation {action[:100]} for version {version[:100]}")


async def answer_send_email(request: web.Request) -> web.StreamResponse:
    """POST /v2/email/outbound-emails."""
    body = await request.read()
    return await _answer_send(request, request.app[SIMULATED], REST, lambda: rest_wire.read_send_email(body))


async def answer_get_account(request: web.Request) -> web.StreamResponse:
    """GET /v2/email/account."""
    return rest_wire.account(*request.app[SIMULATED].account.send_quota())


async def answer_unknown_rest(request: web.Request) -> web.StreamResponse:
    """Every other path below /v2/."""
    return REST.refused(UNKNOWN_OPERATION, f"The simulator does not know {request.method} {request.path[:200]}")


async def _answer_send(
    request: web.Request, simulated: Simulated, wire: Wire, read_call: Callable[[], SendCall]
) -> web.StreamResponse:
    fault = None
    try:
        ses_message_id, fault = _accept(simulated, read_call())
        response = wire.sent(ses_message_id) if ses_message_id else None
    except Refused as refused:
        response = wire.refused(refused.refusal, refused.text)
    if simulated.latency_seconds > 0:
        await asyncio.sleep(simulated.latency_seconds)
    if fault is not None:
        return await _misbehave(request, simulated, wire, fault, response)
    assert response is not None, "a call without a fault is accepted or refused"
    return response


def _accept(simulated: Simulated, call: SendCall) -> tuple[str | None, Fault | None]:
    """Take the call into the ledger unless a fault or a limit is in the way; the id is None when a fault was."""
    envelope = check(call)
    fault = first_hit(simulated.faults, envelope.destinations, simulated.random)
    if fault is not None and not KINDS[fault.kind].is_accepted:
        return None, fault
    simulated.account.take(len(envelope.destinations))
    return simulated.ledger.accept(envelope, call.raw), fault


async def _misbehave(
    request: web.Request, simulated: Simulated, wire: Wire, fault: Fault, good: web.Response | None
) -> web.StreamResponse:
    kind: FaultKind = KINDS[fault.kind]
    match kind.instead:
        case Instead.REFUSAL:
            assert kind.refused is not None, "the table has a refusal in every such row"
            return wire.refused(kind.refused.refusal, kind.refused.text)
        case Instead.HTML_PAGE:
            return web.Response(body=HTML_PAGE, content_type="text/html")
        case Instead.HALF_AN_ANSWER:
            assert good is not None, "only accepted calls have an answer to cut"
            return await _cut(request, good)
        case Instead.SILENCE:
            await _wait_for_release(simulated, fault.hang_seconds)
            return _close(request)
        case Instead.CLOSED_CONNECTION:
            return _close(request)


async def _wait_for_release(simulated: Simulated, hang_seconds: float) -> None:
    try:
        async with asyncio.timeout(hang_seconds):
            await simulated.release.wait()
    except TimeoutError:
        return


def _close(request: web.Request) -> web.StreamResponse:
    """End the connection without a word."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # never seen: aiohttp wants one, and the connection is gone


async def _cut(request: web.Request, good: web.Response) -> web.StreamResponse:
    """Send the headers and half of the body, then close."""
    body = good.body
    assert isinstance(body, bytes), "both wires build their bodies as bytes"
    cut = web.StreamResponse(status=good.status, headers=good.headers)
    cut.content_length = len(body)
    await cut.prepare(request)
    await cut.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return cut
