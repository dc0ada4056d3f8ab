"""How messages and settlements travel to the scripts and back: the encodings of lua/*.lua, nothing else.

A script that fails in the middle keeps what it wrote, so everything it could stumble over (a number that is none,
text that is no UTF-8) fails here, before the call and for its own caller only.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from spool import keys
from spool.event_headers import head_of
from spool.records import Attempt, Message, NewMessage, Settlement, static_part
from spool.routes import seat_of, seat_row, take_row
from spool.scripts import Argument
from spool.send_parameters import NO_PARAMETERS, SendParameters
from spool.sending_quota import RouteFact, Take
from spool.states import FAR_FUTURE_MS, Place, RecipientState
from spool.verdicts import UnreadableVerdict, Verdict

# Attempts kept of a message besides those that are open, accepted or rejected; see lua/settle.lua.
KEPT_ATTEMPTS = 10


def accept_arguments(message: NewMessage, reference: str) -> tuple[Argument, ...]:
    """One message's part of lua/accept.lua's arguments. Raises for what cannot be encoded."""
    keys.message_key(message.message_id)  # an id of another form is a bug of the door
    return (
        message.message_id,
        static_part(message, reference),
        b"" if reference else message.content,
        keys.index_of(message.header_message_id) if message.header_message_id else "",
        message.event,
        len(message.recipients),
        message.once,
        message.once_seconds * 1000,
        head_of(message.content) if reference else b"",
    )


def settlement_row(
    one: Settlement, *, keep_ms: int, nudge_ms: int, keep_head_ms: int = 0, take: Take | None = None
) -> bytes:
    """JSON for lua/settle.lua. Everything a script could stumble over in the middle is made sure of here."""
    assert (one.seat is not None) == (one.to == "lane")
    assert one.verdict is None or one.states is not None  # a recipient that is added needs its state with it
    changed = {
        "r": None if one.states is None else "".join(one.states),
        "n": None if one.rounds is None else str(int(one.rounds)),
        "y": None if one.failures is None else str(int(one.failures)),
        "told": None if one.told is None else orjson.dumps(sorted(one.told)).decode(),
        "sup": orjson.dumps(sorted(one.suppressed)).decode() if one.suppressed else None,
        "v": None if one.verdict is None else one.verdict.encode().decode(),
    }
    intents = [attempt.number for attempt in one.attempts if attempt.outcome is None]
    row = orjson.dumps(
        {
            "i": one.lease.message_id,
            "f": one.lease.fence,
            "no": one.number,
            "live": int(one.to is None and bool(intents)),
            **({"to": one.to} if one.to else {}),
            "ms": int(one.after_seconds * 1000),
            "far": FAR_FUTURE_MS,
            "why": one.reason,
            "set": [part for name, value in changed.items() if value is not None for part in (name, value)],
            "att": [part for attempt in one.attempts for part in (f"a:{attempt.number}", attempt.encode().decode())],
            "cut": [f"a:{number - KEPT_ATTEMPTS}" for number in intents if number > KEPT_ATTEMPTS],
            "ev": [event.decode() for event in one.events],
            "n": {name: int(by) for name, by in one.counts.items()},
            "ix": [keys.index_of(attempt.ses_message_id) for attempt in one.attempts if attempt.ses_message_id],
            "sp": [_spawned_row(spawned) for spawned in one.spawned],
            "fx": [_fact_row(fact) for fact in one.facts],
            **({"seat": seat_row(one.seat)} if one.seat else {}),
            **({"wait": int(one.queued)} if one.queued is not None else {}),
            **({"take": take_row(take)} if take else {}),
            "keep": keep_ms,
            "nudge": nudge_ms,
        }
    )
    mark = hashlib.blake2b(row, digest_size=6).hexdigest()
    # Outside the mark: it may change before a repeat, which must be known as one all the same.
    return b'{"q":"' + mark.encode() + b'","keep_head":' + str(keep_head_ms).encode() + b"," + row[1:]


def _fact_row(fact: RouteFact) -> dict[str, Any]:
    return {
        "kind": fact.kind,
        "route": fact.route,
        "code": fact.code,
        "words": fact.words,
        "recipients": int(fact.recipients),
        "lanes": list(fact.lanes),
    }


def _spawned_row(message: NewMessage) -> list[Any]:
    assert not message.once  # a settlement is repeated as a whole
    identity, static, _, index, event, recipients, *_ = accept_arguments(message, "")
    assert isinstance(static, bytes)
    return [identity, static.decode(), index, message.event.decode() if event else "", recipients]


# A look-up costs a third of the enumeration's own call.
_STATES = {state.value: state for state in RecipientState}
_PLACES = {place.value.encode(): place for place in Place}


def _indexes(raw: bytes | None) -> frozenset[int]:
    return frozenset(orjson.loads(raw)) if raw else frozenset()


def message_of(message_id: str, fields: dict[bytes, bytes]) -> Message:
    """A message from the fields of its hash."""
    static = orjson.loads(fields[b"m"])
    attempts = [Attempt.decode(raw) for name, raw in fields.items() if name.startswith(b"a:")]
    turn, _, turn_at = fields.get(b"g", b"").partition(b" ")
    states = tuple(map(_STATES.__getitem__, fields[b"r"].decode()))
    envelope = tuple(static["recipients"])
    verdict, recipients = _judged(fields.get(b"v"), envelope, len(states))
    return Message(
        message_id=message_id,
        sender=static["sender"],
        recipients=recipients,
        states=states,
        place=_PLACES[fields[b"p"]],
        accepted_at_ms=int(fields[b"at"]),
        size_bytes=static.get("size", 0),
        door=static["door"],
        header_message_id=static.get("hmid", ""),
        user=static.get("user", ""),
        client_address=static.get("client", ""),
        helo=static.get("helo", ""),
        is_auto_submitted=static.get("auto", False),
        content_ref=static.get("ref", ""),
        rounds=int(fields.get(b"n", 0)),
        failures=int(fields.get(b"y", 0)),
        crashes=int(fields.get(b"x", 0)),
        reason=fields.get(b"why", b"").decode(),
        until_ms=int(fields.get(b"until", 0)),
        attempts=tuple(sorted(attempts, key=lambda attempt: attempt.number)),
        told=_indexes(fields.get(b"told")),
        suppressed=_indexes(fields.get(b"sup")),
        worker=fields.get(b"w", b"").decode(),
        turn=int(turn or 0),
        turn_at=turn_at.decode(),
        seat=seat_of(fields[b"l"]) if b"l" in fields else None,
        is_hold_wanted=b"ho" in fields,
        is_ask_wanted=b"ask" in fields,
        kept_ms=int(fields.get(b"kept", 0)),
        content=fields.get(b"c"),
        verdict=verdict,
        is_verdict_unreadable=verdict is None and b"v" in fields,
        envelope=envelope,
        parameters=SendParameters.decode(static["with"]) if "with" in static else NO_PARAMETERS,
        feedback=fields.get(b"fb", b"").decode(),
        repeats=int(fields.get(b"rep", 0)),
    )


def _judged(raw: bytes | None, envelope: tuple[str, ...], count: int) -> tuple[Verdict | None, tuple[str, ...]]:
    """The verdict, and as many recipients as there are states.

    One that cannot be read is the trouble of its message alone: that is shown by its envelope, and who was added has
    no address.
    """
    if raw is None:
        return None, envelope
    try:
        verdict = Verdict.decode(raw)
        recipients = verdict.effective(envelope)
    except UnreadableVerdict:
        verdict, recipients = None, ()
    if verdict is None or len(recipients) != count:
        return None, (*envelope, *("",) * (count - len(envelope)))
    return verdict, recipients


def pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """A script's flat HGETALL as a dictionary."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


_SUMMARY_FIELDS = (b"m", b"at", b"p", b"r", b"why", b"until", b"l", b"g", b"ho", b"v")


def summary_fields(row: Sequence[bytes | None]) -> dict[bytes, bytes]:
    """A row of summaries.lua as fields of the hash."""
    return {name: value for name, value in zip(_SUMMARY_FIELDS, row, strict=False) if value is not None}
