"""`mailsluice show ID [--json]`: what became of a message, for people and for programs.

The JSON is stable; new fields may be added:
  message_id, state (due | leased | parked | held | done), reason (why it is parked or held), until (when it wakes,
  its lease ends, since when it is held or done; or null), accepted_at, size_bytes, door, user, client_address, helo,
  header_message_id, sender ("" = null sender), rounds, failures, crashes,
  recipients [{address, state (waiting | sending | unknown | sent | rejected | dropped | expired), ses_message_id,
  reason}] in envelope order,
  batches [{number, recipients [address], outcome (or null), ses_message_id, started_at, ended_at (or null), code,
  reason, worker}], bounce_told [address], rules [].
Instants are ISO 8601 in UTC. Everything outside ASCII is escaped, so that it is safe on a terminal too.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import typer
from redis import asyncio as aioredis

from config.settings import Settings
from mailsluice.looking import look
from mailsluice.wording import distance, escaped, instant, many, span
from sending_events.records import iso
from spool.records import Attempt, Message
from spool.states import Place, RecipientState
from spool.store import Spool

EXIT_UNKNOWN_ID = 1
#: Addresses of a group that are written out for people; the JSON has all.
SHOWN_ADDRESSES = 10

_DOORS = {"smtp": "SMTP", "api": "the AWS API", "bounce": "mailsluice itself, as a bounce"}


def run(settings: Settings, any_id: str, *, as_json: bool = False) -> int:
    """Shows the message of any id: ours, SES's, or the header Message-ID. Returns the exit code."""

    async def show(spool: Spool, _: aioredis.Redis) -> int:
        message = await spool.find(any_id)
        if message is None:
            kept = span(settings.spool.keep_finished_seconds)
            typer.echo(f"No message with the id {escaped(any_id)}. Finished ones are forgotten after {kept}.", err=True)
            return EXIT_UNKNOWN_ID
        text = json.dumps(described(message), indent=2) if as_json else told(message, time.time_ns() // 1_000_000)
        typer.echo(text)
        return 0

    return look(settings, show)


def described(message: Message) -> dict[str, Any]:
    """The object of `--json`."""
    return {
        "message_id": message.message_id,
        "state": message.place.value,
        "reason": message.reason,
        "until": iso(message.until_ms) if message.until_ms else None,
        "accepted_at": iso(message.accepted_at_ms),
        "size_bytes": message.size_bytes,
        "door": message.door,
        "user": message.user,
        "client_address": message.client_address,
        "helo": message.helo,
        "header_message_id": message.header_message_id,
        "sender": message.sender,
        "rounds": message.rounds,
        "failures": message.failures,
        "crashes": message.crashes,
        "recipients": [
            {"address": address, "state": state.name.lower(), **_answer(_deciding_attempt(message, index), state)}
            for index, (address, state) in enumerate(zip(message.recipients, message.states, strict=True))
        ],
        "batches": [_batch(message, attempt) for attempt in message.attempts],
        "bounce_told": [message.recipients[index] for index in sorted(message.told)],
        "rules": [],
    }


def _batch(message: Message, attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "recipients": [message.recipients[index] for index in attempt.recipients],
        "outcome": attempt.outcome,
        "ses_message_id": attempt.ses_message_id,
        "started_at": iso(attempt.started_at_ms),
        "ended_at": iso(attempt.ended_at_ms) if attempt.ended_at_ms else None,
        "code": attempt.code,
        "reason": attempt.reason,
        "worker": attempt.worker,
    }


def _deciding_attempt(message: Message, index: int) -> Attempt | None:
    """The attempt that explains a recipient's state: the accepted one for `sent`, else the last one."""
    own = [attempt for attempt in message.attempts if index in attempt.recipients]
    if message.states[index] is RecipientState.SENT:
        own = [attempt for attempt in own if attempt.outcome == "accepted"] or own
    return own[-1] if own else None


def _answer(attempt: Attempt | None, state: RecipientState) -> dict[str, str]:
    is_sent = state is RecipientState.SENT
    return {
        "ses_message_id": attempt.ses_message_id if attempt and is_sent else "",
        "reason": attempt.reason if attempt and not is_sent else "",
    }


def told(message: Message, now_ms: int) -> str:
    """The message's story for people."""
    return "\n".join([*_head(message, now_ms), "", *_recipients(message), *_attempts(message)])


def _head(message: Message, now_ms: int) -> Iterator[str]:
    yield message.message_id
    yield f"  state       {_state(message, now_ms)}"
    accepted = f"{instant(message.accepted_at_ms)} ({distance(message.accepted_at_ms, now_ms)})"
    yield f"  accepted    {accepted}, by {_DOORS[message.door]}{_origin(message)}"
    yield f"  size        {message.size_bytes:,} bytes"
    yield f"  sender      {escaped(message.sender) or '<> (the null sender)'}"
    if message.header_message_id:
        yield f"  Message-ID  {escaped(message.header_message_id)}"
    if message.failures or message.crashes:
        yield f"  trouble     {many(message.failures, 'error')} in a step, {many(message.crashes, 'worker')} lost"
    if message.told:
        yield f"  bounce      the sender was told about {many(len(message.told), 'recipient')}"


def _origin(message: Message) -> str:
    parts = [
        f" {word} {escaped(value)}"
        for word, value in (("from", message.client_address), ("helo", message.helo), ("user", message.user))
        if value
    ]
    return ",".join(parts)


def _state(message: Message, now_ms: int) -> str:
    reason = escaped(message.reason) or "no reason given"
    until = f"{instant(message.until_ms)} ({distance(message.until_ms, now_ms)})"
    match message.place:
        case Place.DUE:
            return "due: waits for a worker to take it"
        case Place.LEASED:
            holder = escaped(message.worker) or "a worker"
            return f"leased: {holder} has it; silent, it would lose it {distance(message.until_ms, now_ms)}"
        case Place.PARKED:
            return f"parked: {reason}; tried again at {until}"
        case Place.HELD:
            return f"held since {until}: {reason}; `mailsluice release {message.message_id}` tries again"
        case Place.DONE:
            return f"done since {until}"


def _recipients(message: Message) -> Iterator[str]:
    groups: dict[tuple[RecipientState, int, str], list[str]] = {}
    for index, (address, state) in enumerate(zip(message.recipients, message.states, strict=True)):
        attempt = _deciding_attempt(message, index)
        number = attempt.number if attempt else 0
        answer = _answer(attempt, state)
        detail = f"SES id {answer['ses_message_id']}" if answer["ses_message_id"] else answer["reason"]
        groups.setdefault((state, number, detail), []).append(address)
    yield f"Recipients: {len(message.recipients):,}"
    for (state, number, detail), addresses in groups.items():
        batch = f", batch {number}" if number else ""
        yield f"  {len(addresses):>5,} {state.name.lower()}{batch}{': ' + escaped(detail) if detail else ''}"
        for address in addresses[:SHOWN_ADDRESSES]:
            yield f"        {escaped(address)}"
        if len(addresses) > SHOWN_ADDRESSES:
            yield f"        and {len(addresses) - SHOWN_ADDRESSES:,} more (--json lists all)"


def _attempts(message: Message) -> Iterator[str]:
    if not message.attempts:
        return
    yield ""
    yield "Batches"
    for attempt in message.attempts:
        yield f"  {attempt.number:>5} {instant(attempt.started_at_ms)}  {_outcome(attempt)}"


def _outcome(attempt: Attempt) -> str:
    count = many(len(attempt.recipients), "recipient")
    if attempt.outcome is None or attempt.ended_at_ms is None:
        return f"{count}: no outcome recorded, the call is under way or its worker was lost ({escaped(attempt.worker)})"
    said = ": ".join(escaped(part) for part in (attempt.code, attempt.reason or attempt.ses_message_id) if part)
    took = span((attempt.ended_at_ms - attempt.started_at_ms) / 1000)
    return f"{count}: {attempt.outcome} after {took}{', ' + said if said else ''} ({escaped(attempt.worker)})"
