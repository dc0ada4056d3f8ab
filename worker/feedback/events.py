"""What SES's own events prove about our calls: the one entry point for every source of them.

Every call carries `<message_id>.<attempt number>` as message tag and as header. SES repeats both in all events about
the mail (event publishing has the tags, the older notifications the headers), and no event of any type comes about a
call that SES did not take. So any of them, Send or a later one, settles a call that ended without an answer.

An event may come twice, out of order, before the call's own outcome was written, or after the message was forgotten:
each is an ordinary answer of `confirm` and none an error. A source may count an event as done when `sent_event`
returned; when it raises TryLater the same event has to be given again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

#: As the relay puts it on every call: the tag's name, and the header's in lower case.
BATCH_TAG = "sluice-batch"
BATCH_HEADER = "x-sluice-batch"
# The first group is an id of ours (spool/keys.py).
_BATCH = re.compile(r"([a-z0-9-]{1,120})\.([0-9]{1,9})")
_LONGEST_SES_ID = 200

Confirmation = Literal["noted", "known", "unknown"]
#: Or the event is about nothing of ours: other mail of the account, a test event, text of another form.
Verdict = Literal["noted", "known", "unknown", "foreign"]


class Confirms(Protocol):
    """What is asked of the spool."""

    async def confirm(self, message_id: str, attempt_number: int, ses_message_id: str, at_ms: int) -> Confirmation:
        """Closes the attempt as accepted if it is open or in doubt. Raises StoreUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class SentCall:
    """A call that SES took, by SES's own word."""

    message_id: str
    attempt_number: int
    ses_message_id: str
    #: When SES took it, epoch milliseconds.
    at_ms: int


async def sent_event(spool: Confirms, event: Mapping[str, Any]) -> Verdict:
    """Notes what an event of SES proves. `event` is SES's JSON itself, out of whatever it was wrapped in.

    Raises StoreUnavailable: then the same event has to be given again.
    """
    call = call_of(event)
    return "foreign" if call is None else await note_call(spool, call)


async def note_call(spool: Confirms, call: SentCall) -> Confirmation:
    """The same for a call that was read out of an event before."""
    return await spool.confirm(call.message_id, call.attempt_number, call.ses_message_id, call.at_ms)


def call_of(event: Mapping[str, Any]) -> SentCall | None:
    """The call of ours that an event is about; None when it is about none, or not of SES's form."""
    mail = event.get("mail")
    if not isinstance(mail, Mapping) or not (event.get("eventType") or event.get("notificationType")):
        return None
    batch = _batch_of(mail)
    ses_message_id, at_ms = mail.get("messageId"), _milliseconds(mail.get("timestamp"))
    if batch is None or at_ms is None or not isinstance(ses_message_id, str):
        return None
    if not 0 < len(ses_message_id) <= _LONGEST_SES_ID or not ses_message_id.isprintable():
        return None
    return SentCall(batch[0], batch[1], ses_message_id, at_ms)


def _batch_of(mail: Mapping[str, Any]) -> tuple[str, int] | None:
    """From the tag, else from the header; the first that has the form."""
    for text in (*_tags_of(mail), *_headers_of(mail)):
        if isinstance(text, str) and (found := _BATCH.fullmatch(text.strip())):
            return found[1], int(found[2])
    return None


def _tags_of(mail: Mapping[str, Any]) -> list[Any]:
    tags = mail.get("tags")
    values = tags.get(BATCH_TAG) if isinstance(tags, Mapping) else None
    return values if isinstance(values, list) else []


def _headers_of(mail: Mapping[str, Any]) -> list[Any]:
    headers = mail.get("headers")
    if not isinstance(headers, list):
        return []
    return [
        header.get("value")
        for header in headers
        if isinstance(header, Mapping) and str(header.get("name")).lower() == BATCH_HEADER
    ]


def _milliseconds(text: Any) -> int | None:
    """`2016-10-14T05:02:16.645Z` as epoch milliseconds."""
    try:
        instant = datetime.fromisoformat(text)
        return round(instant.replace(tzinfo=instant.tzinfo or UTC).timestamp() * 1000)
    except (TypeError, ValueError, OverflowError):
        return None
