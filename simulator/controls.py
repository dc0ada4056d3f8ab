"""What tests and operators use beside the AWS wire: ledger, messages, events, violations, faults, settings, health."""

import asyncio
import re
from pathlib import Path

import orjson
from aiohttp import web

from simulator.faults import WrongFaultError, read_faults
from simulator.ids import accepted_ms_of
from simulator.ledger import Ledger
from simulator.settings import WrongSettingError, changeable, changed
from simulator.simulated import SIMULATED

MAX_CONTROL_BYTES = 1024 * 1024
#: longest wait for events
MAX_WAIT_SECONDS = 30.0
_SECONDS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?")


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
    """GET /violations: how the callers kept the limits, as figures; simulator/account.py tells what each is."""
    return _json(request.app[SIMULATED].account.figures())


async def delete_violations(request: web.Request) -> web.Response:
    """DELETE /violations: the figures once more, and from zero again."""
    account = request.app[SIMULATED].account
    figures = account.figures()
    account.forget_figures()
    return _json(figures)


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
    """GET /settings: those that may be changed, as they are."""
    return _json(changeable(request.app[SIMULATED].settings))


async def put_settings(request: web.Request) -> web.Response:
    """PUT /settings: change some of them; all or nothing."""
    simulated = request.app[SIMULATED]
    try:
        settings = changed(simulated.settings, await _control_json(request))
    except (WrongSettingError, orjson.JSONDecodeError) as error:
        return _wrong(str(error))
    simulated.set_settings(settings)
    return await get_settings(request)


async def get_pause(request: web.Request) -> web.Response:
    """GET /pause: whether the account may send, or who stopped it."""
    return _json({"state": request.app[SIMULATED].settings.account_state})


async def put_pause(request: web.Request) -> web.Response:
    """PUT /pause {"state": …}: running, paused (by its owner), paused_by_aws or suspended."""
    simulated = request.app[SIMULATED]
    try:
        asked = await _control_json(request)
        if not isinstance(asked, dict) or set(asked) != {"state"}:
            return _wrong('Send {"state": …}.')
        simulated.set_settings(changed(simulated.settings, {"account_state": asked["state"]}))
    except (WrongSettingError, orjson.JSONDecodeError) as error:
        return _wrong(str(error))
    return await get_pause(request)


async def events(request: web.Request) -> web.Response:
    """GET /events: NDJSON from event ?since=N on; ?wait=S waits so many seconds at most while there is none."""
    simulated = request.app[SIMULATED]
    since, wait = request.query.get("since", "0"), request.query.get("wait", "0")
    if not (since.isascii() and since.isdigit() and len(since) <= 15):
        return _wrong("since must be a number of events.")
    if not _SECONDS.fullmatch(wait):
        return _wrong("wait must be a number of seconds.")
    if simulated.settings.events_unavailable:
        return web.Response(status=503, text="The events cannot be read now (events_unavailable).\n")
    await simulated.feed.wait(int(since), min(float(wait), MAX_WAIT_SECONDS))
    lines, following = simulated.feed.read(int(since))
    headers = {
        "Content-Type": "application/x-ndjson",
        "X-Feed": simulated.feed.name,
        "X-Next": str(following),
        "X-Dropped-Lines": str(simulated.feed.first_position),
    }
    if simulated.feed.has_more(following):
        headers["X-More"] = "1"
    return web.Response(body=b"".join(line + b"\n" for line in lines), headers=headers)


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
