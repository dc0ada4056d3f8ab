"""Events of SES and what applies them, on a real server, with fakes in place of suppression and reputation."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import orjson
import structlog

from config.errors import TryLater
from config.event_settings import SuppressionSettings
from config.failpoints import Failpoints
from config.queues import KEY_PREFIX
from sending_events.feedback_records import FeedbackRecord
from spool.feedback_book import FeedbackBook
from spool.feedback_inbox import FeedbackInbox
from spool.records import Attempt, NewMessage, Settlement, new_message_id
from spool.states import RecipientState
from spool.store import Spool
from spool.tally import Tally
from tests.store.messages import events_of
from worker.feedback.apply import Applier, Keeping
from worker.feedback.bounce_mail import BounceMail
from worker.feedback.followers import Followers

FIXTURES = Path(__file__).parent / "contract" / "fixtures" / "feedback"
SES_ID = "0100018b2f3c4d5e-6f708192-a3b4-4c5d-8e6f-708192a3b4c5-000000"
ACCEPTED_MS = 1_700_000_000_000


def fixture(name: str) -> Any:
    """The JSON of a fixture."""
    return json.loads((FIXTURES / name).read_bytes())


def an_event(event_type: str, told: dict[str, Any], *, message_id: str = "", attempt: int = 1, **mail: Any) -> Any:
    """As event publishing tells it, about a batch of ours when its message is named."""
    tags: dict[str, list[str]] = {"ses:configuration-set": ["theirs"]}
    if message_id:
        tags["sluice-batch"] = [f"{message_id}.{attempt}"]
    about = {
        "timestamp": "2023-11-14T22:13:21.000Z",
        "source": "app@example.com",
        "messageId": SES_ID,
        "destination": ["user0@example.net"],
        "headersTruncated": False,
        "headers": [{"name": "From", "value": "app@example.com"}],
        "commonHeaders": {"from": ["app@example.com"], "messageId": SES_ID},
        "tags": tags,
        **mail,
    }
    names = {"DeliveryDelay": "deliveryDelay", "Rendering Failure": "failure"}
    return {"eventType": event_type, "mail": about, names.get(event_type, event_type.lower()): told}


def a_delivery(message_id: str = "", recipient: str = "user0@example.net", **mail: Any) -> Any:
    told = {"timestamp": "2023-11-14T22:13:30.000Z", "recipients": [recipient], "smtpResponse": "250 ok"}
    return an_event("Delivery", told, message_id=message_id, **mail)


def a_bounce(
    message_id: str = "",
    recipient: str = "user0@example.net",
    bounce_type: str = "Permanent",
    sub_type: str = "General",
    **mail: Any,
) -> Any:
    row = {
        "emailAddress": recipient,
        "action": "failed",
        "status": "5.1.1",
        "diagnosticCode": "smtp; 550 5.1.1 user unknown",
    }
    told = {
        "bounceType": bounce_type,
        "bounceSubType": sub_type,
        "bouncedRecipients": [row],
        "timestamp": "2023-11-14T22:13:40.000Z",
        "feedbackId": f"feedback-of-{bounce_type}-{sub_type}-{recipient}",
    }
    return an_event("Bounce", told, message_id=message_id, **mail)


def a_complaint(message_id: str = "", *recipients: str, **mail: Any) -> Any:
    told = {
        "complainedRecipients": [{"emailAddress": one} for one in recipients or ("user0@example.net",)],
        "timestamp": "2023-11-14T22:14:00.000Z",
        "feedbackId": "feedback-of-a-complaint",
        "complaintFeedbackType": "abuse",
    }
    return an_event("Complaint", told, message_id=message_id, **mail)


def as_notification(event: dict[str, Any]) -> dict[str, Any]:
    """The same as an identity notification tells it: no tags, and our mark in the headers."""
    mail = dict(event["mail"])
    batch = mail.pop("tags").get("sluice-batch", [])
    mail["headers"] = [*mail.get("headers", []), *({"name": "X-Sluice-Batch", "value": one} for one in batch)]
    rest = {name: value for name, value in event.items() if name not in {"eventType", "mail"}}
    return {"notificationType": event["eventType"], "mail": {**mail, "sourceIp": "127.0.3.0"}, **rest}


class FakeSuppression:
    """Remembers who was entered."""

    def __init__(self) -> None:
        self.entered: list[tuple[str, str]] = []
        self.details: list[dict[str, Any]] = []
        self.troubles: list[TryLater] = []

    async def enter(self, address: str, reason: Any, source: Any = "feedback", **more: Any) -> bool:
        if self.troubles:
            raise self.troubles.pop()
        is_new = (address, reason) not in self.entered
        self.entered.append((address, reason))
        self.details.append({"source": source, **more})
        return is_new


class FakeReputation:
    """Remembers what was noted."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, str | None, int, int, int]] = []

    async def note(
        self,
        sender: str,
        *,
        user: str | None,
        delivered: int = 0,
        bounced: int = 0,
        complained: int = 0,
        at_ms: int = 0,
    ) -> None:
        self.noted.append((sender, user, delivered, bounced, complained))


class FeedbackStand:
    """An applier on a real spool."""

    def __init__(self, spool: Spool, *, failpoints: str = "", bounce_mail: bool = False, **settings: Any) -> None:
        self.spool = spool
        self.tally = Tally()
        self.suppression, self.reputation = FakeSuppression(), FakeReputation()
        self.book, self.inbox = FeedbackBook(spool.redis), FeedbackInbox(spool.redis)
        self.now_ms = ACCEPTED_MS
        self.bounce_mail = bounce_mail
        self.settings = SuppressionSettings(**settings)
        self.applier = self.made(failpoints)

    def made(self, failpoints: str = "") -> Applier:
        """An applier as another process has it."""
        bounces = BounceMail(
            self.spool,
            reporting_host="mx.example.com",
            bounce_sender="",
            tally=self.tally,
            log=structlog.get_logger(),
            clock_ms=lambda: self.now_ms,
        )
        self.applier = Applier(
            self.spool,
            self.book,
            Followers(self.suppression, self.reputation, bounces if self.bounce_mail else None, self.settings),
            Keeping(86400, 600),
            tally=self.tally,
            failpoints=Failpoints(failpoints),
            log=structlog.get_logger(),
            clock_ms=lambda: self.now_ms,
        )
        return self.applier

    async def apply(self, *events: Any) -> list[str]:
        return list(await self.applier.apply_all(events))

    @property
    def counted(self) -> dict[str, int]:
        return {name: number for name, number in self.tally._counts.items() if name.startswith("feedback_events")}

    async def sent(
        self, *, recipients: int | tuple[str, ...] = 1, ses_id: str = SES_ID, outcome: str = "accepted", **more: Any
    ) -> str:
        """A message whose one batch SES took, finished when all is known; its id."""
        addresses = (
            recipients if isinstance(recipients, tuple) else tuple(f"user{n}@example.net" for n in range(recipients))
        )
        new = NewMessage(
            message_id=more.pop("message_id", None) or new_message_id(),
            sender=more.pop("sender", "app@example.com"),
            recipients=addresses,
            content=b"Subject: x\r\nFrom: app@example.com\r\n\r\nbody\r\n",
            **more,
        )
        await self.spool.accept(new)
        [claimed] = await self.spool.claim([new.message_id], "worker@test")
        everybody = tuple(range(len(addresses)))
        attempt = Attempt(1, everybody, ACCEPTED_MS, "worker@test")
        await self.spool.settle(
            Settlement(claimed.lease, 1, states=(RecipientState.SENDING,) * len(addresses), attempts=(attempt,))
        )
        if outcome == "accepted":
            closed = dataclasses.replace(attempt, outcome="accepted", ended_at_ms=ACCEPTED_MS, ses_message_id=ses_id)
            states = (RecipientState.SENT,) * len(addresses)
            await self.spool.settle(Settlement(claimed.lease, 2, to="done", states=states, attempts=(closed,)))
        return new.message_id

    async def letters(self, message_id: str) -> str:
        message = await self.spool.load(message_id)
        assert message is not None
        return message.feedback

    async def records(self) -> list[FeedbackRecord]:
        """What is in the event stream about feedback."""
        rows = await events_of(self.spool.redis)
        return [FeedbackRecord.decode(row) for row in rows if orjson.loads(row).get("k") == "ses"]

    async def open_marks(self) -> int:
        return int(await self.spool.redis.hlen(KEY_PREFIX + "told-open"))
