"""`mailsluice show ID [--json]`: what became of a message, for people and for programs.

The object of `--json` is the one of aws_api/admin/story.py. Everything outside ASCII is escaped,
so that it is safe on a terminal too.
"""

import json
import time
from collections.abc import Iterator

import typer
from redis import asyncio as aioredis

from aws_api.admin.feedback_words import feedback_words
from aws_api.admin.story import (
    NOWHERE,
    Surroundings,
    answer_of,
    deciding_attempt,
    described,
    is_in_lane,
    read_surroundings,
)
from aws_api.admin.wording import distance, escaped, instant, many, span
from config.settings import Settings
from mailsluice.looking import look
from mailsluice.show_rules import decision_words, origin_words, rules_head, rules_sections
from spool.records import Attempt, Message
from spool.states import AWAITS_EVENT, Place, RecipientState
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
        around = await read_surroundings(spool, settings, message)
        now_ms = time.time_ns() // 1_000_000
        typer.echo(json.dumps(described(message, around), indent=2) if as_json else told(message, now_ms, around))
        return 0

    return look(settings, show)


def told(message: Message, now_ms: int, around: Surroundings = NOWHERE) -> str:
    """The message's story for people."""
    head = [*_head(message, now_ms, around), *rules_head(message, now_ms)]
    return "\n".join([*head, "", *_recipients(message), *rules_sections(message, now_ms), *_attempts(message)])


def _head(message: Message, now_ms: int, around: Surroundings) -> Iterator[str]:
    yield message.message_id
    yield f"  state       {_state(message, now_ms)}"
    if message.is_hold_wanted:
        yield "  hold        its worker puts it on hold when it lets it go"
    if words := around.words(message):
        yield f"  waits       {escaped(words)}"
    if message.seat:
        key = escaped(message.seat.sender) or "the null sender"
        ahead = "" if around.ahead is None else f": {many(around.ahead, 'message')} of it before this one"
        yield f"  turn        as sender {key} (weight {message.seat.weight:g}){ahead}"
    accepted = f"{instant(message.accepted_at_ms)} ({distance(message.accepted_at_ms, now_ms)})"
    yield f"  accepted    {accepted}, by {_DOORS[message.door]}{_origin(message)}"
    yield f"  size        {message.size_bytes:,} bytes"
    yield f"  sender      {escaped(message.sender) or '<> (the null sender)'}"
    yield from _parameters(message)
    if message.header_message_id:
        yield f"  Message-ID  {escaped(message.header_message_id)}"
    if message.failures or message.crashes:
        yield f"  trouble     {many(message.failures, 'error')} in a step, {many(message.crashes, 'worker')} lost"
    if message.told:
        yield f"  bounce      the sender was told about {many(len(message.told), 'recipient')}"


def _parameters(message: Message) -> Iterator[str]:
    """What the sender said beside the mail, and that it said so more than once."""
    said = message.parameters
    if said.configuration_set:
        yield f"  set         {escaped(said.configuration_set)}"
    if said.tags:
        yield f"  tags        {', '.join(f'{escaped(name)}={escaped(value)}' for name, value in said.tags)}"
    arns = {"Source": said.source_arn, "From": said.from_arn, "Return-Path": said.return_path_arn}
    if any(arns.values()):
        yield f"  ARNs        {', '.join(f'{name} {escaped(arn)}' for name, arn in arns.items() if arn)}"
    if message.repeats:
        yield f"  repeats     it came {many(message.repeats, 'time')} again with its key, which changed nothing"


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
            if is_in_lane(message):
                return f"parked: {reason}"
            again = "asked" if message.reason == AWAITS_EVENT else "tried"
            return f"parked: {reason}; {again} again at {until}"
        case Place.HELD:
            return f"held since {until}: {reason}; `mailsluice release {message.message_id}` tries again"
        case Place.DONE:
            return f"done since {until}"


def _recipients(message: Message) -> Iterator[str]:
    groups: dict[tuple[RecipientState, int, str, str], list[str]] = {}
    for index, (address, state) in enumerate(zip(message.recipients, message.states, strict=True)):
        attempt = deciding_attempt(message, index)
        number = attempt.number if attempt else 0
        answer = answer_of(message, index)
        detail = f"SES id {answer['ses_message_id']}" if answer["ses_message_id"] else answer["reason"]
        if answer["redirected_to"]:
            detail += f", sent to {answer['redirected_to']} instead (fence)"
        if later := feedback_words(message, index):
            detail += f", then {later}"
        decided = decision_words(message, index)
        groups.setdefault((state, number, detail, decided), []).append(escaped(address) + origin_words(message, index))
    yield f"Recipients: {len(message.recipients):,}"
    for (state, number, detail, decided), addresses in groups.items():
        batch = f", batch {number}" if number else ""
        yield f"  {len(addresses):>5,} {state.name.lower()}{batch}{': ' + escaped(detail) if detail else ''}"
        if decided:
            yield f"        {decided}"
        for address in addresses[:SHOWN_ADDRESSES]:
            yield f"          {address}" if decided else f"        {address}"
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
