"""What a message is, as values. All frozen; nothing here touches Redis or a clock.

The three ids: `message_id` is ours, `ses_message_id` is SES's answer (one per batch), `header_message_id` is what
the application wrote into the header (RFC 5322).
"""

import dataclasses
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from spool.send_parameters import NO_PARAMETERS, SendParameters
from spool.sending_quota import RouteFact, Seat
from spool.states import Happening, Place, RecipientState, after
from spool.verdicts import Verdict

Door = Literal["smtp", "api", "bounce"]


def new_message_id() -> str:
    """A fresh id in SES's own format: 16 hex digits of milliseconds, a UUID, six digits.

    One format for every use: it fits WorkMail's messageId pattern `[a-z0-9-]{1,120}`, sorts by time, and an
    application that parses SES's answer can parse ours. The UUID (version 4, 102 random bits) begins with the
    nanoseconds within the millisecond: messages accepted in one millisecond keep their order.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    return f"{milliseconds:016x}-{nanoseconds:05x}{str(uuid.uuid4())[5:]}-000000"


@dataclass(frozen=True, slots=True)
class NewMessage:
    """What a door hands to the spool. A recipient appears once; the sender "" is the null sender <>."""

    message_id: str
    sender: str
    recipients: tuple[str, ...]
    #: The MIME as accepted, CRLF line ends, our Received line on top.
    content: bytes = field(repr=False)
    door: Door = "smtp"
    header_message_id: str = ""
    #: SMTP user name, or name of the access key; "" = neither.
    user: str = ""
    client_address: str = ""
    helo: str = ""
    #: The event "accepted", encoded; see sending_events.records.accepted().
    event: bytes = field(default=b"", repr=False)
    #: A bounce or an auto-reply: never answered with a bounce (RFC 3834 section 2).
    is_auto_submitted: bool = False
    parameters: SendParameters = NO_PARAMETERS
    #: Hash of what makes a repeat of the same message known (spool/idempotency.py), and how long; "" = nothing does.
    once: str = ""
    once_seconds: int = 0

    def __repr__(self) -> str:  # addresses and content stay out of logs and tracebacks
        return f"<NewMessage {self.message_id} {len(self.recipients)} recipients, {len(self.content)} bytes>"


OutcomeName = Literal["accepted", "rejected", "throttled", "unavailable", "unknown", "split"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One SES call for one batch: recorded before the call with outcome None, completed after it."""

    number: int
    #: Indexes into the message's recipients, in order.
    recipients: tuple[int, ...]
    started_at_ms: int
    worker: str
    outcome: OutcomeName | None = None
    ended_at_ms: int | None = None
    ses_message_id: str = ""
    #: SES's code and text, or ours; safe to show.
    code: str = ""
    reason: str = ""
    #: The one address that the fence put in the place of the batch's; "" = the batch went where it belongs.
    redirected_to: str = ""

    def encode(self) -> bytes:
        """JSON for the message's hash."""
        return orjson.dumps(self)

    @classmethod
    def decode(cls, raw: bytes) -> "Attempt":
        """The inverse of encode."""
        values = orjson.loads(raw)
        values["recipients"] = tuple(values["recipients"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as the spool knows it. `content` is None unless it was asked for and is inline."""

    message_id: str
    sender: str
    #: To whom its mail goes: the envelope with what a verdict replaced, then whom it added. As long as `states`.
    recipients: tuple[str, ...]
    states: tuple[RecipientState, ...]
    place: Place
    accepted_at_ms: int
    size_bytes: int
    door: Door
    header_message_id: str
    user: str
    client_address: str
    helo: str
    is_auto_submitted: bool
    #: Where the content is when it is not inline; "" otherwise.
    content_ref: str
    #: Rounds of SES calls that did not finish the message; feeds the backoff.
    rounds: int
    #: Errors raised by a step, and workers lost while holding the message.
    failures: int
    crashes: int
    #: Why it is parked or held.
    reason: str
    #: When it wakes (parked), when its lease ends (leased), since when (held, done); ms or 0.
    until_ms: int
    attempts: tuple[Attempt, ...] = ()
    #: The process that holds it, while it is leased.
    worker: str = ""
    #: Recipients whose permanent failure the sender was told, as indexes.
    told: frozenset[int] = frozenset()
    #: Recipients that were not mailed because they were on the suppression list, as indexes.
    suppressed: frozenset[int] = frozenset()
    #: Recipients left of the turn that the gate gave it; 0 = a newcomer, or its turn is used up.
    turn: int = 0
    #: Where it has that turn, as route:lane; "" without one.
    turn_at: str = ""
    #: Where it waits for its turn, while it does.
    seat: Seat | None = None
    #: The operator asked for it while it was leased: the holder's next move ends in held.
    is_hold_wanted: bool = False
    #: The operator has let it go on: its next holder asks functions that wait at once.
    is_ask_wanted: bool = False
    #: So long an operator's hold or pause, or trouble of the account, kept it; does not count for its age.
    kept_ms: int = 0
    content: bytes | None = field(default=None, repr=False)
    #: What rules decided; None = it was not judged, or there were none.
    verdict: Verdict | None = field(default=None, repr=False)
    #: There is a verdict that this version cannot read: `verdict` is None, and nothing may be sent.
    is_verdict_unreadable: bool = False
    #: The recipients as they were accepted; the same as `recipients` when nothing else is said.
    envelope: tuple[str, ...] = ()
    parameters: SendParameters = NO_PARAMETERS
    #: What SES told later, a letter for each recipient (feedback_states.py); "" = nothing yet.
    feedback: str = ""
    #: How often its sender sent it again and was told of this one (idempotency.py).
    repeats: int = 0

    def __post_init__(self) -> None:
        if not self.envelope:
            object.__setattr__(self, "envelope", self.recipients)

    def __repr__(self) -> str:
        return f"<Message {self.message_id} {self.size_bytes} bytes>"

    def judged(self, verdict: Verdict) -> "Message":
        """The message with another verdict: whom it adds waits, at the end; nobody who was added goes away again."""
        recipients = verdict.effective(self.envelope)
        assert len(recipients) >= len(self.states)
        more = (RecipientState.WAITING,) * (len(recipients) - len(self.states))
        return dataclasses.replace(self, verdict=verdict, recipients=recipients, states=self.states + more)

    def having(
        self, indexes: tuple[int, ...], happening: Happening, attempts: tuple[Attempt, ...] | None = None
    ) -> "Message":
        """The message after the same thing happened to some of its recipients, with its attempts from then on."""
        states = list(self.states)
        for index in indexes:
            states[index] = after(states[index], happening)
        attempts = self.attempts if attempts is None else attempts
        return dataclasses.replace(self, states=tuple(states), attempts=attempts)

    def indexes(self, *states: RecipientState) -> tuple[int, ...]:
        """Which recipients are in one of these states, in envelope order."""
        return tuple(index for index, state in enumerate(self.states) if state in states)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a message. The fence guards every write; the deadline guards every SES call."""

    message_id: str
    fence: int
    #: time.monotonic() of this process after which nothing may be sent; renewed by the worker.
    deadline: float


@dataclass(frozen=True, slots=True)
class Settlement:
    """One atomic write by the holder of a lease: new facts, events, and where the message goes.

    `to` None keeps the lease (an intent or an outcome in the middle of the work).
    """

    lease: Lease
    #: Counts the settlements under one lease from 1: a repeat after a lost answer is recognised by it.
    number: int = 0
    to: Literal["due", "parked", "lane", "held", "done"] | None = None
    #: Distance to the wake-up for `parked` and `lane` (0 there = never); a distance because only the server's clock
    #: counts.
    after_seconds: float = 0.0
    #: For `lane`: where it waits for its turn.
    seat: Seat | None = None
    reason: str = ""
    #: As many as before, and one more for each recipient that `verdict` adds.
    states: tuple[RecipientState, ...] | None = None
    rounds: int | None = None
    failures: int | None = None
    attempts: tuple[Attempt, ...] = ()
    told: frozenset[int] | None = None
    #: Written when there are any.
    suppressed: frozenset[int] = frozenset()
    events: tuple[bytes, ...] = ()
    #: Counter name → how much to add.
    counts: dict[str, int] = field(default_factory=dict)
    #: Messages accepted in the same transaction: bounces.
    spawned: tuple[NewMessage, ...] = ()
    #: What calls told about their routes.
    facts: tuple[RouteFact, ...] = ()
    #: Written together with the states; counts["accepted_recipients"] says how many recipients it adds.
    verdict: Verdict | None = None
    #: For `lane`: how many recipients want that turn; None = all who wait.
    queued: int | None = None


def static_part(message: NewMessage, content_ref: str) -> bytes:
    """JSON of what never changes about a message."""
    values: dict[str, Any] = {
        "sender": message.sender,
        "recipients": message.recipients,
        "size": len(message.content),
        "door": message.door,
        "hmid": message.header_message_id,
        "user": message.user,
        "client": message.client_address,
        "helo": message.helo,
        "auto": message.is_auto_submitted,
        "ref": content_ref,
        "once": message.once,
        "with": message.parameters.encode(),
    }
    return orjson.dumps({key: value for key, value in values.items() if value or key == "sender"})
