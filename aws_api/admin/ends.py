"""How a message ends that is given up: its last states, events and counts. Pure.

Every recipient without a final state becomes dropped; the sender gets no bounce, a step that was left undone is not
done any more. What SES is known to have accepted is never dropped: an answer that came after its lease, which no
worker has noted yet, makes its recipients sent here. A call without an answer may have sent all the same; who is in
such doubt is dropped, and the act says how many there are.
"""

from dataclasses import dataclass

from sending_events.records import EventRecord, set_of
from sending_events.sets_of_parts import by_set
from spool.records import Message
from spool.states import Happening, RecipientState

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


def end_of(message: Message, now_ms: int) -> End:
    """The last states, events and counts of a message that nobody works on."""
    events: list[bytes] = []
    sent = 0
    for attempt in message.attempts:
        late = tuple(index for index in attempt.recipients if not message.states[index].is_final)
        if attempt.outcome == "accepted" and late:
            message = message.having(late, Happening.ACCEPTED)
            at_ms = attempt.ended_at_ms or attempt.started_at_ms
            record = EventRecord(
                "send",
                message.message_id,
                at_ms,
                late,
                ses_message_id=attempt.ses_message_id,
                attempt=attempt.number,
                redirected_to=attempt.redirected_to,
                configuration_set=set_of(message, late),
            )
            events.append(record.encode())
            sent += len(late)
    # Nobody holds the message, so a call that was begun has no answer: it is in doubt like the others.
    message = message.having(message.indexes(RecipientState.SENDING), Happening.DOUBT_KEPT)
    in_doubt = message.indexes(RecipientState.UNKNOWN)
    dropped = message.indexes(RecipientState.WAITING, RecipientState.UNKNOWN)
    for name, recipients in by_set(message, dropped).items():
        record = EventRecord("dropped", message.message_id, now_ms, recipients, reason=REASON, configuration_set=name)
        events.append(record.encode())
    counts = {"sent_recipients": sent, "dropped_recipients": len(dropped), "finished_messages": 1}
    return End(
        message.having(dropped, Happening.DROPPED).states,
        tuple(events),
        {name: by for name, by in counts.items() if by},
        len(dropped),
        len(in_doubt),
    )
