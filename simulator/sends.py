"""The AWS operations: both ways to send, both ways to ask for the limits, and the way to all others.

A send goes: read, check, admit, fault, limits, ledger, events, latency, answer. Everything up to the events happens
without a pause, so a call is either accepted whole or not at all. No signature is verified.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from simulator import query_wire, rest_wire, sqs, suppressed
from simulator.account_calls import ACTIONS
from simulator.admission import admit
from simulator.caller import ACCOUNT_ID, Caller, caller_of
from simulator.checks import check
from simulator.events import accepted_call
from simulator.faults import KINDS, Fault, FaultKind, Instead, first_hit
from simulator.ids import accepted_ms_of
from simulator.mailbox import is_simulated
from simulator.query_calls import QueryCall
from simulator.refusals import EXPIRED, EXPIRED_TEXT, FORBIDDEN, UNKNOWN_OPERATION, Refused
from simulator.send_call import SendCall
from simulator.simulated import SIMULATED, Simulated

HTML_PAGE = b"<html><head><title>Gateway</title></head><body><h1>It works!</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Wire:
    """How one of the two APIs writes its answers to a send."""

    sent: Callable[[str], web.Response]
    refused: Callable[[Refused], web.Response]


QUERY = Wire(query_wire.sent, query_wire.refused)
REST = Wire(rest_wire.sent, rest_wire.refused)


async def answer_query(request: web.Request) -> web.StreamResponse:
    """POST /: the v1 API; `Action` says which operation, or X-Amz-Target one of SQS."""
    if request.headers.get("X-Amz-Target", "").startswith(sqs.TARGET):
        return await sqs.answer(request)
    body = await request.read()
    simulated = request.app[SIMULATED]
    try:
        form = query_wire.parse_form(body)
        action = form.fields.get("Action", "")
        if action == "SendRawEmail":
            caller = caller_of(request, action)
            return await _answer_send(request, simulated, QUERY, caller, lambda: query_wire.read_send_raw_email(form))
        if action == "GetSendQuota":
            _check_may_ask(simulated, action)
            return query_wire.send_quota(*simulated.account.send_quota())
        if action in ACTIONS:
            namespace, result_of = ACTIONS[action]
            call = QueryCall(simulated, form.fields, caller_of(request, action).region)
            return query_wire.answer(action, result_of(call), namespace)
    except Refused as refused:
        return QUERY.refused(refused)
    version = form.fields.get("Version", "2010-12-01")
    return QUERY.refused(
        Refused(UNKNOWN_OPERATION, f"Could not find operation {action[:100]} for version {version[:100]}")
    )


async def answer_suppression(request: web.Request) -> web.Response:
    """The account's suppression list."""
    body = await request.read()
    try:
        _check_token(request.app[SIMULATED])
    except Refused as refused:
        return REST.refused(refused)
    return suppressed.answer(request, request.app[SIMULATED].suppression, body)


async def answer_send_email(request: web.Request) -> web.StreamResponse:
    """POST /v2/email/outbound-emails."""
    body = await request.read()
    caller = caller_of(request, "SendEmail")
    return await _answer_send(request, request.app[SIMULATED], REST, caller, lambda: rest_wire.read_send_email(body))


async def answer_get_account(request: web.Request) -> web.StreamResponse:
    """GET /v2/email/account."""
    simulated = request.app[SIMULATED]
    try:
        _check_may_ask(simulated, "GetAccount")
    except Refused as refused:
        return REST.refused(refused)
    settings = simulated.settings
    return rest_wire.account(simulated.account.send_quota(), state=settings.account_state, is_sandbox=settings.sandbox)


async def answer_unknown_rest(request: web.Request) -> web.StreamResponse:
    """Every other path below /v2/."""
    return REST.refused(
        Refused(UNKNOWN_OPERATION, f"The simulator does not know {request.method} {request.path[:200]}")
    )


def _check_may_ask(simulated: Simulated, action: str) -> None:
    simulated.account.count_question()
    _check_token(simulated)
    if simulated.settings.quota_forbidden:
        user = f"arn:aws:iam::{ACCOUNT_ID}:user/simulated"
        raise Refused(FORBIDDEN, f"User `{user}' is not authorized to perform `ses:{action}'")


def _check_token(simulated: Simulated) -> None:
    if simulated.settings.expired_token:
        raise Refused(EXPIRED, EXPIRED_TEXT)


async def _answer_send(
    request: web.Request, simulated: Simulated, wire: Wire, caller: Caller, read_call: Callable[[], SendCall]
) -> web.StreamResponse:
    fault = None
    try:
        _check_token(simulated)
        ses_message_id, fault = _accept(simulated, read_call(), caller)
        response = wire.sent(ses_message_id) if ses_message_id else None
    except Refused as refused:
        simulated.account.count_refusal(refused.refusal)
        response = wire.refused(refused)
    if simulated.settings.latency_seconds > 0:
        await asyncio.sleep(simulated.settings.latency_seconds)
    if fault is not None:
        return await _misbehave(request, simulated, wire, fault, response)
    assert response is not None, "a call without a fault is accepted or refused"
    return response


def _accept(simulated: Simulated, call: SendCall, caller: Caller) -> tuple[str | None, Fault | None]:
    """Take the call into the ledger unless a fault or a limit is in the way; the id is None when a fault was."""
    settings = simulated.settings
    envelope = check(
        call,
        counts_header_recipients=settings.header_recipients == "count",
        refuses_long_lines=settings.refuse_long_lines,
    )
    admit(settings, envelope, caller, simulated.routes.sets)
    fault = first_hit(simulated.faults, envelope.source, envelope.destinations, simulated.random)
    if fault is not None and not KINDS[fault.kind].is_accepted:
        return None, fault
    simulated.account.take(len(envelope.destinations), sum(map(is_simulated, envelope.destinations)))
    ses_message_id = simulated.ledger.accept(envelope, call.raw)
    if settings.events:
        accepted_ms = accepted_ms_of(ses_message_id)
        assert accepted_ms is not None, "the ledger gives ids of the right form"
        call_told = accepted_call(ses_message_id, accepted_ms, envelope, caller)
        simulated.feed.append(call_told, [one for one in envelope.destinations if one in simulated.suppression])
    return ses_message_id, fault


async def _misbehave(
    request: web.Request, simulated: Simulated, wire: Wire, fault: Fault, good: web.Response | None
) -> web.StreamResponse:
    kind: FaultKind = KINDS[fault.kind]
    match kind.instead:
        case Instead.REFUSAL:
            assert kind.refused is not None, "the table has a refusal in every such row"
            return wire.refused(kind.refused)
        case Instead.GIVEN_REFUSAL:
            return wire.refused(fault.given_refusal)
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
