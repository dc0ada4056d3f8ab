"""What tests and operators use beside the AWS wire: ledger, messages, violations, faults, settings, health."""

import asyncio
import math
from pathlib import Path

import orjson
from aiohttp import web

from simulator.faults import WrongFaultError, read_faults
from simulator.ids import accepted_ms_of
from simulator.ledger import Ledger
from simulator.simulated import SIMULATED, Simulated

MAX_CONTROL_BYTES = 1024 * 1024


async def healthz(_request: web.Request) -> web.Response:
    """GET /healthz: it answers, so it works."""
    return web.Response(text="ok")


async def ledger(request: web.Request) -> web.StreamResponse:
    """GET /ledger: NDJSON, oldest first; ?since=N leaves out the first N lines ever written."""
    since = request.query.get("since", "0")
    if not (since.isascii() and since.isdigit() and len(since) <= 15):
        return _wrong("since must be a number of lines.")
    record = request.app[SIMULATED].ledger
    answer = web.StreamResponse(
        headers={"Content-Type": "application/x-ndjson", "X-Dropped-Lines": str(record.first_position)}
    )
    await answer.prepare(request)
    for chunk in record.chunks(int(since)):
        await answer.write(chunk)
    await answer.write_eof()
    return answer


async def ledger_count(request: web.Request) -> web.Response:
    """GET /ledger/count: accepted calls and recipients since the start."""
    record = request.app[SIMULATED].ledger
    return _json({"calls": record.calls, "recipients": record.recipients})


async def message(request: web.Request) -> web.Response:
    """GET /messages/{ses_message_id}: the bytes as they were accepted."""
    record = request.app[SIMULATED].ledger
    ses_message_id = request.match_info["ses_message_id"]
    raw = record.raw_of(ses_message_id)
    if raw is None:
        return missing(record, ses_message_id)
    return web.Response(
        body=raw,
        headers={
            "Content-Type": "message/rfc822",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
        },
    )


def missing(record: Ledger, ses_message_id: str) -> web.Response:
    """404 for an id that was never given out, 410 for one whose bytes had to go."""
    accepted_ms = accepted_ms_of(ses_message_id)
    if accepted_ms is None or (record.line_of(ses_message_id) is None and not record.may_have_dropped(accepted_ms)):
        return web.Response(status=404, text="No accepted message has this id.\n")
    return web.Response(
        status=410, text="The bytes of this message are no longer kept; only the newest messages are.\n"
    )


async def violations(request: web.Request) -> web.Response:
    """GET /violations: calls that came while no allowance was left."""
    return _json(dict(request.app[SIMULATED].account.violations))


async def get_faults(request: web.Request) -> web.Response:
    """GET /faults: the active faults with their counters."""
    return _json([fault.described() for fault in request.app[SIMULATED].faults])


async def put_faults(request: web.Request) -> web.Response:
    """PUT /faults: one fault or a list of them, in place of all that were active."""
    try:
        faults = read_faults(await _control_json(request))
    except (WrongFaultError, orjson.JSONDecodeError) as error:
        return _wrong(str(error))
    request.app[SIMULATED].set_faults(faults)
    return await get_faults(request)


async def delete_faults(request: web.Request) -> web.Response:
    """DELETE /faults: behave; calls that hang are closed."""
    request.app[SIMULATED].set_faults([])
    return _json([])


async def get_settings(request: web.Request) -> web.Response:
    """GET /settings: the three that may be changed."""
    return _json(_changeable(request.app[SIMULATED]))


async def put_settings(request: web.Request) -> web.Response:
    """PUT /settings: change some of max_send_rate, max_24_hour_send, latency_seconds; all or nothing."""
    simulated = request.app[SIMULATED]
    try:
        asked = await _control_json(request)
    except orjson.JSONDecodeError as error:
        return _wrong(str(error))
    wrong = _what_is_wrong(asked)
    if wrong is not None or not isinstance(asked, dict):
        return _wrong(wrong or "Send an object.")
    wanted = _changeable(simulated) | asked
    simulated.account.change(float(wanted["max_send_rate"]), float(wanted["max_24_hour_send"]))
    simulated.latency_seconds = float(wanted["latency_seconds"])
    return await get_settings(request)


#: setting: (lowest value, highest value)
RANGES = {"max_send_rate": (0, math.inf), "max_24_hour_send": (-1, math.inf), "latency_seconds": (0, 3600)}


def _changeable(simulated: Simulated) -> dict[str, float]:
    return {
        "max_send_rate": simulated.account.max_send_rate,
        "max_24_hour_send": simulated.account.max_24_hour_send,
        "latency_seconds": simulated.latency_seconds,
    }


def _what_is_wrong(asked: object) -> str | None:
    if not isinstance(asked, dict):
        return "Send an object."
    for name, value in asked.items():
        if name not in RANGES:
            return f"{name} is not known or cannot be changed; these can: {', '.join(RANGES)}."
        lowest, highest = RANGES[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not lowest <= value <= highest:
            return f"{name} must be a number from {lowest} to {highest}."
    return None


async def save(request: web.Request) -> web.Response:
    """POST /save: write ledger.ndjson and every kept message into the data directory."""
    simulated = request.app[SIMULATED]
    directory = simulated.settings.data_dir
    if directory is None:
        return web.Response(status=409, text="The simulator was started without a data directory.\n")
    record = simulated.ledger
    lines = list(record.chunks(0))
    messages = record.kept_messages()
    await asyncio.to_thread(_write, directory, lines, messages)
    return _json({"directory": str(directory), "messages": len(messages)})


def _write(directory: Path, lines: list[bytes], messages: list[tuple[str, bytes]]) -> None:
    (directory / "messages").mkdir(parents=True, exist_ok=True)
    (directory / "ledger.ndjson").write_bytes(b"".join(lines))
    for ses_message_id, raw in messages:
        (directory / "messages" / f"{ses_message_id}.eml").write_bytes(raw)


async def _control_json(request: web.Request) -> object:
    parsed: object = orjson.loads((await request.read())[:MAX_CONTROL_BYTES])
    return parsed


def _json(answer: object) -> web.Response:
    return web.Response(body=orjson.dumps(answer), content_type="application/json")


def _wrong(text: str) -> web.Response:
    return web.Response(status=400, text=f"{text}\n")
