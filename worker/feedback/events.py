"""What SES's events prove about our calls: which call an event is about, and that SES took it.

Every call carries `<message_id>.<attempt number>` as message tag and as header. SES repeats both in all events about
the mail (event publishing has the tags, the older notifications the headers), and no event of any type comes about a
call that SES did not take. So any of them, Send or a later one, settles a call that ended without an answer.

An event may come twice, out of order, before the call's own outcome was written, or after the message was forgotten:
each is an ordinary answer of `confirm` and none an error.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

#: As the relay puts it on every call: the tag's name, and the header's in lower case.
BATCH_TAG = "sluice-batch"
BATCH_HEADER = "x-sluice-batch"
#: The configuration set of the message, one of ours; so does the relay.
SET_TAG = "sluice-set"
# The first group is an id of ours (spool/keys.py).
_BATCH = re.compile(r"([a-z0-9-]{1,120})\.([0-9]{1,9})")
_LONGEST_SES_ID = 200

Confirmation = Literal["noted", "known", "unknown"]


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


async def note_call(spool: Confirms, call: SentCall) -> Confirmation:
    """Notes that SES took a call. Raises StoreUnavailable: then the same event has to be given again."""
    return await spool.confirm(call.message_id, call.attempt_number, call.ses_message_id, call.at_ms)


def call_of(event: Mapping[str, Any]) -> SentCall | None:
    """The call of ours that an event is about; None when it is about none, or not of SES's form.

    `event` is SES's JSON itself, out of whatever it was wrapped in.
    """
    mail = event.get("mail")
    if not isinstance(mail, Mapping) or not (event.get("eventType") or event.get("notificationType")):
        return None
    batch, ses_message_id, at_ms = _batch_of(mail), ses_message_id_of(mail), milliseconds(mail.get("timestamp"))
    if batch is None or at_ms is None or not ses_message_id:
        return None
    return SentCall(batch[0], batch[1], ses_message_id, at_ms)


def ses_message_id_of(mail: Mapping[str, Any]) -> str:
    """SES's id of the call; "" for what cannot be one."""
    found = mail.get("messageId")
    is_one = isinstance(found, str) and 0 < len(found) <= _LONGEST_SES_ID and found.isprintable()
    return found if is_one and isinstance(found, str) else ""


def _batch_of(mail: Mapping[str, Any]) -> tuple[str, int] | None:
    """From the tag, else from the header; the first that has the form."""
    for text in (*tag_values(mail, BATCH_TAG), *_headers_of(mail)):
        if isinstance(text, str) and (found := _BATCH.fullmatch(text.strip())):
            return found[1], int(found[2])
    return None


def tag_values(mail: Mapping[str, Any], name: str) -> list[Any]:
    """The values of a message tag."""
    tags = mail.get("tags")
    values = tags.get(name) if isinstance(tags, Mapping) else None
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


# "2018-10-08T14:05:45 +0000" stands in AWS's page of notification contents.
_ZONE_APART = re.compile(r"\s+(?=[+-]\d\d:?\d\d\Z)")


def milliseconds(text: Any) -> int | None:
    """`2016-10-14T05:02:16.645Z` as epoch milliseconds."""
    try:
        instant = datetime.fromisoformat(_ZONE_APART.sub("", text))
        return round(instant.replace(tzinfo=instant.tzinfo or UTC).timestamp() * 1000)
    except (TypeError, ValueError, OverflowError):
        return None
