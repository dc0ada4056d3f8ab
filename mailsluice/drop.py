"""`mailsluice drop ID …`: gives held or parked messages up for good.

Every recipient without a final state becomes dropped, in one write with its event and the counters; the sender gets
no bounce, a step that was left undone is not done any more. What SES is known to have accepted is never dropped: an
answer that came after its lease, which no worker has noted yet, makes its recipients sent here. A call without an
answer may have sent all the same; who is in such doubt is dropped, and the command says how many there are.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import typer
from redis import asyncio as aioredis

from config.settings import Settings
from mailsluice.looking import look
from mailsluice.wording import escaped, many
from sending_events.records import EventRecord
from spool.records import Message
from spool.states import Happening, Place, RecipientState
from spool.store import Spool

EXIT_NOT_DROPPED = 1
REASON = "dropped by the operator"


@dataclass(frozen=True, slots=True)
class End:
    """What becomes of a message that is given up."""

    states: tuple[RecipientState, ...]
    events: tuple[bytes, ...]
    counts: dict[str, int]
    dropped: int
    #: How many of the dropped may have been sent.
    in_doubt: int


def run(settings: Settings, any_ids: Sequence[str]) -> int:
    """Drops the messages. Returns 0 when all were, else 1."""

    async def drop(spool: Spool, _: aioredis.Redis) -> int:
        results = [await _drop_one(spool, any_id) for any_id in any_ids]
        return 0 if all(results) else EXIT_NOT_DROPPED

    return look(settings, drop)


async def _drop_one(spool: Spool, any_id: str) -> bool:
    message = await spool.find(any_id)
    if message is None:
        typer.echo(f"{escaped(any_id)}: no such message", err=True)
        return False
    end = end_of(message, time.time_ns() // 1_000_000)
    if await spool.drop(message, end.states, reason=REASON, events=end.events, counts=end.counts):
        doubt = f", {end.in_doubt:,} of them may have been sent" if end.in_doubt else ""
        typer.echo(f"{message.message_id}: dropped, {many(end.dropped, 'recipient')} given up{doubt}")
        return True
    typer.echo(f"{message.message_id}: {await _why_not(spool, message)}", err=True)
    return False


async def _why_not(spool: Spool, message: Message) -> str:
    place = getattr(await spool.load(message.message_id), "place", Place.DONE)
    if place in {Place.PARKED, Place.HELD}:
        return "changed at this moment, try again"
    return f"is {place.value}, neither parked nor held"


def end_of(message: Message, now_ms: int) -> End:
    """The last states, events and counts of a message that nobody works on."""
    events: list[bytes] = []
    sent = 0
    for attempt in message.attempts:
        late = tuple(index for index in attempt.recipients if not message.states[index].is_final)
        if attempt.outcome == "accepted" and late:
            message = message.having(late, Happening.ACCEPTED)
            at_ms = attempt.ended_at_ms or attempt.started_at_ms
            ses_message_id = attempt.ses_message_id
            record = EventRecord(
                "send", message.message_id, at_ms, late, ses_message_id=ses_message_id, attempt=attempt.number
            )
            events.append(record.encode())
            sent += len(late)
    # Nobody holds the message, so a call that was begun has no answer: it is in doubt like the others.
    message = message.having(message.indexes(RecipientState.SENDING), Happening.DOUBT_KEPT)
    in_doubt = message.indexes(RecipientState.UNKNOWN)
    dropped = message.indexes(RecipientState.WAITING, RecipientState.UNKNOWN)
    if dropped:
        events.append(EventRecord("dropped", message.message_id, now_ms, dropped, reason=REASON).encode())
    counts = {"sent_recipients": sent, "dropped_recipients": len(dropped), "finished_messages": 1}
    return End(
        message.having(dropped, Happening.DROPPED).states,
        tuple(events),
        {name: by for name, by in counts.items() if by},
        len(dropped),
        len(in_doubt),
    )
