"""The web page: what was accepted, newest first, and one message opened.

The mail on it comes from anybody. Every value is escaped here, an HTML part is shown in a sandboxed frame, and the
Content-Security-Policy lets nothing be loaded and no script run but the list's own.
"""

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from string import Template

import orjson
from aiohttp import web

from simulator import controls
from simulator.admission import STATES
from simulator.message_parts import Part, content_of_part, open_message, readable
from simulator.simulated import SIMULATED, Simulated

MESSAGES_PER_PAGE = 50
MAX_PAGE = 1_000_000

_HERE = Path(__file__).parent
_PAGE, _LIST, _MESSAGE, _POLL = (
    Template((_HERE / f"{name}.html").read_text("utf-8")) for name in ("page", "list", "message", "poll")
)
#: inside the frame: pictures and styles of the message itself, nothing from elsewhere
_FRAME_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


async def list_messages(request: web.Request) -> web.Response:
    """GET /: one page of the ledger, ?page=1 is the newest."""
    simulated = request.app[SIMULATED]
    page = _page_number(request.query.get("page", "1"))
    lines = simulated.ledger.newest((page - 1) * MESSAGES_PER_PAGE, MESSAGES_PER_PAGE + 1)
    nonce = secrets.token_urlsafe(16)
    body = _LIST.substitute(
        notices=_notices(simulated),
        rows="\n".join(_row(orjson.loads(line)) for line in lines[:MESSAGES_PER_PAGE]),
        empty="" if lines else _nothing_yet(page, request.host),
        newer=f'<a href="/?page={page - 1}">&larr; newer</a>' if page > 1 else "",
        where=f"page {page}" if page > 1 or len(lines) > MESSAGES_PER_PAGE else "",
        older=f'<a href="/?page={page + 1}">older &rarr;</a>' if len(lines) > MESSAGES_PER_PAGE else "",
    )
    # Only the first page follows the news; on another one it would move what somebody reads.
    script = _POLL.substitute(nonce=nonce, calls=simulated.ledger.calls) if page == 1 else ""
    policy = f"style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'"
    return _page("SES simulator", simulated, body, policy, nonce=nonce, script=script)


async def view_message(request: web.Request) -> web.Response:
    """GET /view/{ses_message_id}: the message opened."""
    simulated = request.app[SIMULATED]
    ses_message_id = request.match_info["ses_message_id"]
    line, raw = simulated.ledger.line_of(ses_message_id), simulated.ledger.raw_of(ses_message_id)
    if line is None or raw is None:
        return controls.missing(simulated.ledger, ses_message_id)
    opened = await asyncio.to_thread(open_message, raw)
    accepted = orjson.loads(line)
    body = _MESSAGE.substitute(
        id=ses_message_id,
        subject=escape(readable(accepted["subject"] or "")) or "(no subject)",
        envelope=_fields(_envelope_of(accepted)),
        notices=f'<p class="notice">{escape(opened.problem)}</p>' if opened.problem else "",
        parts="\n".join(_part(ses_message_id, part) for part in opened.parts),
        header_count=len(opened.headers),
        headers=_fields(opened.headers),
    )
    # The frame inherits this policy and mail is styled inline, so styles are allowed; scripts are not, anywhere.
    policy = "style-src 'unsafe-inline'; img-src data:; sandbox allow-same-origin allow-downloads"
    return _page("Message in the SES simulator", simulated, body, policy)


async def view_source(request: web.Request) -> web.Response:
    """GET /view/{ses_message_id}/source: the bytes as plain text."""
    simulated = request.app[SIMULATED]
    ses_message_id = request.match_info["ses_message_id"]
    raw = simulated.ledger.raw_of(ses_message_id)
    if raw is None:
        return controls.missing(simulated.ledger, ses_message_id)
    return web.Response(
        body=raw,
        headers={
            "Content-Type": "text/plain; charset=utf-8",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
        },
    )


async def download_part(request: web.Request) -> web.Response:
    """GET /view/{ses_message_id}/parts/{number}: one part as a file, never shown by the browser."""
    simulated = request.app[SIMULATED]
    ses_message_id, number = request.match_info["ses_message_id"], request.match_info["number"]
    raw = simulated.ledger.raw_of(ses_message_id)
    if raw is None:
        return controls.missing(simulated.ledger, ses_message_id)
    is_number = number.isascii() and number.isdigit() and len(number) <= 4
    found = await asyncio.to_thread(content_of_part, raw, int(number)) if is_number else None
    if found is None:
        return web.Response(status=404, text="The message has no such part.\n")
    file_name, content = found
    return web.Response(
        body=content,
        headers={
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f'attachment; filename="{file_name}"',
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
        },
    )


def _page(
    title: str, simulated: Simulated, body: str, policy: str, *, nonce: str = "", script: str = ""
) -> web.Response:
    text = _PAGE.substitute(title=escape(title), nonce=nonce, facts=_facts(simulated), body=body, script=script)
    return web.Response(
        body=text.encode("utf-8", "replace"),
        headers={
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": (
                f"default-src 'none'; {policy}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            ),
            "X-Content-Type-Options": "nosniff",
            "X-DNS-Prefetch-Control": "off",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        },
    )


def _page_number(written: str) -> int:
    is_number = written.isascii() and written.isdigit() and len(written) <= 7
    return min(max(int(written), 1), MAX_PAGE) if is_number else 1


def _facts(simulated: Simulated) -> str:
    account, ledger = simulated.account, simulated.ledger
    _, _, sent = account.send_quota()
    rate = f"{account.max_send_rate:g}/s" if account.max_send_rate else "unlimited"
    quota = f"{account.max_24_hour_send:,.0f}" if account.max_24_hour_send >= 0 else "unlimited"
    state = STATES[simulated.settings.account_state][1]
    facts = {
        "account": f"{state}, sandbox" if simulated.settings.sandbox else state,
        "rate": rate,
        "24 h": f"{sent:,.0f} of {quota}",
        "accepted": f"{ledger.calls:,}",
        "recipients": f"{ledger.recipients:,}",
        "refused over limit": f"{account.over_limit:,}",
    }
    return "".join(f"<span>{name} <b>{value}</b></span>" for name, value in facts.items())


def _notices(simulated: Simulated) -> str:
    told = []
    state = simulated.settings.account_state
    if state != "running":
        told.append(f'The account is {STATES[state][1]}. PUT /pause {{"state": "running"}} ends it.')
    if simulated.faults:
        named = ", ".join(f"{fault.kind} ({fault.hits} hits)" for fault in simulated.faults)
        told.append(f"Faults are switched on: {named}. DELETE /faults ends them.")
    return "\n".join(f'<p class="notice">{escape(text)}</p>' for text in told)


def _nothing_yet(page: int, host: str) -> str:
    if page > 1:
        return '<div class="empty"><p>Nothing on this page.</p></div>'
    return (
        '<div class="empty"><p class="big">No mail yet.</p><p>This page follows by itself. Point an AWS client here, '
        f"any key will do:</p><pre>export AWS_ENDPOINT_URL_SES=http://{escape(host)}\n"
        f"export AWS_ENDPOINT_URL_SESV2=http://{escape(host)}</pre></div>"
    )


def _row(accepted: Mapping[str, object]) -> str:
    destinations = accepted["destinations"]
    assert isinstance(destinations, list), "the ledger writes a list"
    more = f'<span class="more">+{len(destinations) - 1}</span>' if len(destinations) > 1 else ""
    subject = escape(readable(str(accepted["subject"] or "")).strip())
    link = escape(str(accepted["ses_message_id"]))
    return (
        f'<tr><td class="time">{_short_time(accepted)}</td>'
        f'<td><a href="/view/{link}">{subject or "(no subject)"}</a></td>'
        f'<td class="from">{escape(str(accepted["source"]))}</td>'
        f'<td class="to"><div><span>{escape(str(destinations[0]))}</span>{more}</div></td>'
        f'<td class="size">{_size(accepted["size_bytes"])}</td></tr>'
    )


def _short_time(accepted: Mapping[str, object]) -> str:
    return escape(str(accepted["accepted_at"])[:19].replace("T", " "))


def _size(size_bytes: object) -> str:
    assert isinstance(size_bytes, int), "the ledger writes a number"
    if size_bytes < 1024:
        return f"{size_bytes} B"
    if size_bytes < 1024 * 1024:
        return f"{size_bytes / 1024:.1f} KiB"
    return f"{size_bytes / 1024 / 1024:.1f} MiB"


def _envelope_of(accepted: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    destinations, tags = accepted["destinations"], accepted["tags"]
    assert isinstance(destinations, list), "the ledger writes a list"
    assert isinstance(tags, dict), "the ledger writes an object"
    yield "Envelope sender", str(accepted["source"])
    yield f"Recipients ({len(destinations)})", ", ".join(map(str, destinations))
    yield "Accepted", f"{_short_time(accepted)} UTC"
    yield "SES message id", str(accepted["ses_message_id"])
    yield "Size", f"{_size(accepted['size_bytes'])}, SHA-256 {accepted['sha256']}"
    if accepted["configuration_set"]:
        yield "Configuration set", str(accepted["configuration_set"])
    if tags:
        yield "Tags", ", ".join(f"{name}={value}" for name, value in tags.items())


def _fields(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in pairs)


def _part(ses_message_id: str, part: Part) -> str:
    link = f"/view/{escape(ses_message_id)}/parts/{part.number}"
    facts = f"<span>{escape(part.content_type)}, {_size(part.size_bytes)}</span>"
    if part.text is None:
        name = escape(part.file_name or f"part {part.number}")
        return f'<div class="card"><div class="file"><a href="{link}" download>{name}</a>{facts}</div></div>'
    title = f"<h2>{'HTML, without scripts and remote content' if part.is_html else 'Text'} {facts}</h2>"
    if not part.is_html:
        return f'<div class="card">{title}<pre>{escape(part.text)}</pre></div>'
    inside = f'<meta http-equiv="Content-Security-Policy" content="{_FRAME_POLICY}">{part.text}'
    return f'<div class="card">{title}<iframe sandbox title="HTML part" srcdoc="{escape(inside)}"></iframe></div>'
