"""An event of SES as a value, whichever of its two JSON shapes it came in. Pure.

Event publishing says `eventType` and has tags; identity notifications say `notificationType` and have none, but an
address and a caller of their own, which become the tags that event publishing has for them. From here on there is one
shape. Fields that nobody here knows are kept and passed on; members of a wrong type are as if they were not there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from spool.feedback_book import Mark, mark_of
from spool.feedback_states import FeedbackHappening
from worker.feedback.events import SET_TAG, SentCall, call_of, milliseconds, ses_message_id_of, tag_values

_H = FeedbackHappening
# DSN: it is still being tried, or somebody else's business (RFC 3464 section 2.3.3).
_ACTIONS: Mapping[str, FeedbackHappening | None] = {
    "delayed": _H.DELAY,
    "delivered": _H.DELIVERY,
    "relayed": _H.DELIVERY,
    "expanded": _H.DELIVERY,
}
#: Bounces and complaints because a list of the account's had the address before: SES did not try, and counts them for
#: no rate. That of SES itself ("Suppressed") counts, but it also says nothing that this installation should remember.
OWN_LIST_SUB_TYPES = frozenset({"OnAccountSuppressionList", "OnTenantSuppressionList"})
LISTED_SUB_TYPES = OWN_LIST_SUB_TYPES | {"Suppressed"}
# AWS's names are short; what is longer is not one.
_LONGEST_NAME = 64
_LONGEST_ADDRESS = 1000


@dataclass(frozen=True, slots=True)
class ToldRecipient:
    """One recipient of whom an event tells."""

    address: str
    happening: FeedbackHappening
    #: Enhanced status code and words of the far server; "" = not told.
    status: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class SesEvent:
    """One event about one call."""

    event_type: str
    ses_message_id: str
    #: When SES took the call, and when what the event tells happened; epoch ms.
    sent_at_ms: int
    at_ms: int
    #: SES's JSON in the shape of event publishing.
    json: dict[str, Any] = field(repr=False)
    #: The batch of ours that it names; None = it names none.
    call: SentCall | None = None
    recipients: tuple[ToldRecipient, ...] = ()
    feedback_id: str = ""
    #: Of a bounce or a complaint.
    sub_type: str = ""
    #: From our tag; "" = none.
    configuration_set: str = ""
    #: The envelope sender as SES had it.
    source: str = ""
    #: Whether SES tells the tags of the call: then one of ours would have ours.
    has_tags: bool = False
    #: What makes it itself, beside its type, call, instant and recipients.
    more: str = ""

    @property
    def mark(self) -> Mark:
        """By what it is known again, in either shape."""
        addresses = sorted({one.address.lower() for one in self.recipients})
        itself = self.feedback_id or str(self.at_ms)
        return mark_of(self.at_ms, self.event_type, self.ses_message_id, itself, self.more, *addresses)


def ses_event_of(raw: Mapping[str, Any]) -> SesEvent | None:
    """The event; None when it is none of SES's."""
    event_type, mail = raw.get("eventType") or raw.get("notificationType"), raw.get("mail")
    if not isinstance(event_type, str) or not 0 < len(event_type) <= _LONGEST_NAME or not isinstance(mail, dict):
        return None
    ses_message_id, sent_at_ms = ses_message_id_of(mail), milliseconds(mail.get("timestamp"))
    if not ses_message_id or sent_at_ms is None:
        return None
    name, recipients_of = _KINDS.get(event_type, ("", _nobody))
    told = raw.get(name or _unknown_name(raw))
    told = told if isinstance(told, dict) else {}
    at_ms = milliseconds(told.get("timestamp"))
    return SesEvent(
        event_type=event_type,
        ses_message_id=ses_message_id,
        sent_at_ms=sent_at_ms,
        at_ms=sent_at_ms if at_ms is None else at_ms,
        json=_published(raw, event_type, mail),
        call=call_of(raw),
        recipients=tuple(recipients_of(told, mail)),
        feedback_id=_text(told.get("feedbackId")),
        sub_type=_text(told.get("bounceSubType")) or _text(told.get("complaintSubType")),
        configuration_set=next(map(_text, tag_values(mail, SET_TAG)), ""),
        source=_text(mail.get("source")),
        has_tags="eventType" in raw and isinstance(mail.get("tags"), dict),
        more=_rest(told) if recipients_of is _nobody else "",
    )


def _published(raw: Mapping[str, Any], event_type: str, mail: Mapping[str, Any]) -> dict[str, Any]:
    """The event in the shape of event publishing."""
    mail = {name: value for name, value in mail.items() if _is_proper(name, value)}
    name, _ = _KINDS.get(event_type, ("", _nobody))
    raw = {**raw, name: _told(raw.get(name))} if name in raw else raw
    if "eventType" in raw:
        return {**raw, "mail": mail}
    tags = dict(mail.get("tags", {}))
    for name, tag in (("sourceIp", "ses:source-ip"), ("callerIdentity", "ses:caller-identity")):
        if value := _text(mail.pop(name, "")):
            tags.setdefault(tag, [value])
    rest = {name: value for name, value in raw.items() if name not in {"notificationType", "mail"}}
    return {"eventType": event_type, "mail": {**mail, "tags": tags}, **rest}


def _told(told: Any) -> dict[str, Any]:
    """The event's object: nothing of it when it is none, and no instant that is not written as one."""
    told = told if isinstance(told, dict) else {}
    return {name: value for name, value in told.items() if name != "timestamp" or milliseconds(value) is not None}


def _is_proper(name: str, value: Any) -> bool:
    """Whether a member of the mail has the type that it has with SES."""
    match name:
        case "tags":
            return isinstance(value, dict) and all(isinstance(one, list) for one in value.values())
        case "headers":
            return isinstance(value, list) and all(map(_is_header, value))
        case "destination":
            return isinstance(value, list) and all(isinstance(one, str) for one in value)
        case "commonHeaders":
            return isinstance(value, dict)
        case _:
            return True


def _is_header(value: Any) -> bool:
    return isinstance(value, dict) and bool(_text(value.get("name"))) and isinstance(value.get("value"), str)


def _unknown_name(raw: Mapping[str, Any]) -> str:
    """Where an event of a type that is newer than this keeps what it tells."""
    return next((name for name, value in raw.items() if name != "mail" and isinstance(value, dict)), "")


def _rest(told: Mapping[str, Any]) -> str:
    return orjson.dumps(told, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode() if told else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _rows(told: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    rows = told.get(name)
    rows = rows if isinstance(rows, list) else []
    return [
        row for row in rows if isinstance(row, dict) and 0 < len(_text(row.get("emailAddress"))) <= _LONGEST_ADDRESS
    ]


def _addresses(rows: Any) -> list[str]:
    rows = rows if isinstance(rows, list) else []
    return [row for row in rows if 0 < len(_text(row)) <= _LONGEST_ADDRESS]


def _bounced(told: Mapping[str, Any], _: Mapping[str, Any]) -> list[ToldRecipient]:
    happening = bounce_happening(_text(told.get("bounceType")), _text(told.get("bounceSubType")))
    return [
        ToldRecipient(
            row["emailAddress"],
            _ACTIONS.get(_text(row.get("action")).lower()) or happening,
            _text(row.get("status")),
            _text(row.get("diagnosticCode")),
        )
        for row in _rows(told, "bouncedRecipients")
    ]


def bounce_happening(bounce_type: str, sub_type: str) -> FeedbackHappening:
    """What a bounce of this type means; see spool/feedback_states.py."""
    if bounce_type == "Permanent":
        return _H.BOUNCE
    if bounce_type == "Transient" and sub_type == "General":
        return _H.ANSWER
    return _H.TRANSIENT_BOUNCE


def _complained(told: Mapping[str, Any], _: Mapping[str, Any]) -> list[ToldRecipient]:
    rows = _rows(told, "complainedRecipients")
    if told.get("complaintFeedbackType") == "not-spam":  # the opposite of a complaint
        return []
    return [ToldRecipient(row["emailAddress"], _H.COMPLAINT) for row in rows]


def _delivered(told: Mapping[str, Any], _: Mapping[str, Any]) -> list[ToldRecipient]:
    return [ToldRecipient(address, _H.DELIVERY) for address in _addresses(told.get("recipients"))]


def _delayed(told: Mapping[str, Any], _: Mapping[str, Any]) -> list[ToldRecipient]:
    return [
        ToldRecipient(row["emailAddress"], _H.DELAY, _text(row.get("status")), _text(row.get("diagnosticCode")))
        for row in _rows(told, "delayedRecipients")
    ]


def _refused(told: Mapping[str, Any], mail: Mapping[str, Any]) -> list[ToldRecipient]:
    words = _text(told.get("reason")) or _text(told.get("errorMessage"))
    return [ToldRecipient(address, _H.REFUSAL, "", words) for address in _addresses(mail.get("destination"))]


def _nobody(_told: Mapping[str, Any], _mail: Mapping[str, Any]) -> list[ToldRecipient]:
    return []


_Reader = Callable[[Mapping[str, Any], Mapping[str, Any]], Sequence[ToldRecipient]]
#: SES's type → (name of its object, of whom it tells). Types that are newer tell of nobody.
_KINDS: Mapping[str, tuple[str, _Reader]] = {
    "Send": ("send", _nobody),
    "Delivery": ("delivery", _delivered),
    "Bounce": ("bounce", _bounced),
    "Complaint": ("complaint", _complained),
    "DeliveryDelay": ("deliveryDelay", _delayed),
    "Reject": ("reject", _refused),
    "Rendering Failure": ("failure", _refused),
    "Open": ("open", _nobody),
    "Click": ("click", _nobody),
    "Subscription": ("subscription", _nobody),
}

#: What arrived: an event, a message that SES or SNS sends when somebody sets the way up, or nothing that is known.
Arrived = dict[str, Any] | Literal["set up", "garbage"]

_SET_UP = ("Successfully validated SNS topic", "You have successfully subscribed")


def unwrapped(body: str | bytes) -> Arrived:
    """What a message of the queue or of the topic holds: SES's JSON, bare or in the envelope of SNS."""
    outer = _json(body)
    if not isinstance(outer, dict):
        return _other(body)
    if not (isinstance(outer.get("Message"), str) and "TopicArn" in outer):
        return _event_or_other(outer, body)
    inner = _json(outer["Message"])
    return _event_or_other(inner, outer["Message"]) if isinstance(inner, dict) else _other(outer["Message"])


def _event_or_other(values: dict[str, Any], text: str | bytes) -> Arrived:
    return _other(text) if values.get("notificationType") == "AmazonSnsSubscriptionSucceeded" else values


def _other(text: str | bytes) -> Literal["set up", "garbage"]:
    words = text if isinstance(text, str) else text.decode("utf-8", "replace")
    return "set up" if any(one in words for one in _SET_UP) else "garbage"


def _json(text: str | bytes) -> Any:
    try:
        return orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeError):
        return None
