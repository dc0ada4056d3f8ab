"""The proof of the feedback loop: three mails to SES's mailbox simulator, and what SES tells of them.

Theory of operation
1. The mails go in at the SMTP door like everybody's, each to an address of its own (`bounce+doctor-3f9a@…`), so that no
   run can take another's events for its own.
2. Delivery, Bounce and Complaint are seen in the recipients' states in the spool, where the feedback process writes
   them. A Send event leaves no trace at a message that needs none; it is seen by the counter of Send events going up,
   which any mail's does: that they come back is what is to be shown.
They cost nothing of the daily quota, do not count against the account's reputation at SES, and enter no suppression
list.
"""

import asyncio
import re
import secrets
import smtplib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mailsluice.doctor_report import Finding, fail, ok
from spool import keys
from spool.feedback_states import FeedbackState, states_of
from spool.mailbox_simulator import DOMAIN
from spool.records import Message
from spool.scripts import answer_of
from spool.states import Place, RecipientState
from spool.store import Spool

POLL_SECONDS = 0.1
SMTP_SECONDS = 30.0
_ID = re.compile(r"Ok ([a-z0-9-]+)")
#: Counters that a Send event adds to.
_SEND_COUNTERS = ("feedback_events:known", "feedback_events:noted")
#: Local part at the mailbox simulator: (the event that has to come, the recipient's state then).
EXPECTED: Mapping[str, tuple[str, FeedbackState]] = {
    "success": ("Delivery", FeedbackState.DELIVERED),
    "bounce": ("Bounce", FeedbackState.BOUNCED),
    "complaint": ("Complaint", FeedbackState.COMPLAINED),
}
EVENTS = ("Send", *(event for event, _ in EXPECTED.values()))


@dataclass(frozen=True, slots=True)
class Door:
    """Where the mails go in, and as whom."""

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(slots=True)
class Proof:
    """What was sent and what came back; seconds count from the first mail."""

    #: Local part → our id.
    sent: dict[str, str] = field(default_factory=dict)
    #: Event → after how many seconds.
    seen: dict[str, float] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """Events that did not come."""
        return [event for event in EVENTS if event not in self.seen]

    @property
    def is_complete(self) -> bool:
        return not self.missing


#: Sends one mail and returns our id.
Submit = Callable[[str, str, str], Awaitable[str]]


async def prove(spool: Spool, submit: Submit, sender: str, *, wait_seconds: float) -> tuple[Proof, list[Finding]]:
    """Sends and waits; the findings tell how it went. Raises StoreUnavailable."""
    proof, label = Proof(), f"doctor-{secrets.token_hex(4)}"
    addresses = {name: f"{name}+{label}@{DOMAIN}" for name in EXPECTED}
    before = await _send_events(spool)
    begun = time.monotonic()
    try:
        for name, address in addresses.items():
            proof.sent[name] = await submit(sender, address, mail_of(sender, address, label))
    except (smtplib.SMTPException, OSError) as error:
        return proof, [_not_taken(error)]
    while True:
        is_last = time.monotonic() - begun >= wait_seconds  # asked first: however late it is, it is looked once
        await _look(spool, proof, before, begun)
        if proof.is_complete or is_last:
            break
        await asyncio.sleep(POLL_SECONDS)
    return proof, [ok("sent", f"three mails from {sender}, by SMTP"), *await _told(spool, proof, wait_seconds)]


async def _look(spool: Spool, proof: Proof, sends_before: int, begun: float) -> None:
    for name, message_id in proof.sent.items():
        event, state = EXPECTED[name]
        if event in proof.seen or (message := await spool.load(message_id)) is None:
            continue
        if states_of(message.feedback, 1)[0] is state:
            proof.seen[event] = time.monotonic() - begun
    if "Send" not in proof.seen and await _send_events(spool) > sends_before:
        proof.seen["Send"] = time.monotonic() - begun


async def _send_events(spool: Spool) -> int:
    """Send events that were read since the spool was made."""
    figures = await answer_of(spool.redis.hmget(keys.COUNTERS, list(_SEND_COUNTERS)))
    return sum(int(figure or 0) for figure in figures)


async def _told(spool: Spool, proof: Proof, wait_seconds: float) -> list[Finding]:
    told = [ok(event, f"came back after {seconds:.1f} s") for event, seconds in proof.seen.items()]
    if proof.is_complete:
        return told
    messages = [await spool.load(message_id) for message_id in proof.sent.values()]
    for message in messages:
        if message is not None and (flaw := flaw_of(message)):
            return [*told, fail("relay", flaw, f"`mailsluice show {message.message_id}` tells the whole of it")]
    missing = ", ".join(proof.missing)
    text = f"{missing} did not come back within {wait_seconds:g} s"
    return [*told, fail("feedback", text, remedy_of(proof.missing))]


def flaw_of(message: Message) -> str:
    """Why SES was never asked to take this one; "" = it took it."""
    state = message.states[0]
    if state is RecipientState.SENT:
        return ""
    if message.place is Place.DONE or message.place is Place.HELD:
        return f"{message.message_id} was not sent: {state.name.lower()} {message.reason}".rstrip()
    waits = f" for {message.reason}" if message.reason else ""
    return f"{message.message_id} still waits{waits}: is a worker running?"


def remedy_of(missing: Sequence[str]) -> str:
    """Where to look, by what did not come."""
    if len(missing) == len(EVENTS):
        return "is `mailsluice feedback` running, with the settings above? Is there a configuration set on the calls?"
    return f"does the event destination have {', '.join(missing)}? Else wait longer: --wait 300"


def mail_of(sender: str, address: str, label: str) -> str:
    """A mail that nobody reads."""
    return (
        f"From: {sender}\r\nTo: {address}\r\nSubject: mailsluice doctor {label}\r\n\r\n"
        "This mail shows that events of SES come back. The mailbox simulator takes it.\r\n"
    )


def _not_taken(error: Exception) -> Finding:
    match error:
        case smtplib.SMTPResponseException():
            said = (
                error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
            )
            text = f"the SMTP door says {error.smtp_code} {said}"
        case smtplib.SMTPRecipientsRefused():
            text = f"the SMTP door says {'; '.join(str(answer) for answer in error.recipients.values())}"
        case _:
            text = f"the SMTP door cannot be used: {error}"
    return fail("send", text, "start the gateway, name it with --smtp HOST:PORT, or log in with --user NAME")


def by_smtp(door: Door) -> Submit:
    """Sends through a gateway, a connection for each mail, encrypted when it offers that."""

    def send(sender: str, address: str, mail: str) -> str:
        with smtplib.SMTP(door.host, door.port, timeout=SMTP_SECONDS) as client:
            client.ehlo()
            if door.user:
                if client.has_extn("starttls"):
                    client.starttls()
                    client.ehlo()
                client.login(door.user, door.password)
            for code, answer in (client.mail(sender), client.rcpt(address), client.data(mail)):
                if code >= 300:  # RFC 5321: what is taken is 2yz
                    raise smtplib.SMTPResponseException(code, answer)
            found = _ID.search(answer.decode("utf-8", "replace"))
            if found is None:
                raise smtplib.SMTPResponseException(code, answer)
            return found[1]

    return lambda sender, address, mail: asyncio.to_thread(send, sender, address, mail)
