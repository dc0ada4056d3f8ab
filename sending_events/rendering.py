"""What is told outside: SES's event-publishing JSON of every record of the stream. Pure.

`mail.messageId` and `commonHeaders.messageId` are ours in every event, because that is the id that applications were
answered; SES's id is the tag `sluice:ses-message-id` (docs/decisions/0021). Automatic tags of SES that we can know have
its names: ses:operation, ses:configuration-set, ses:source-ip, ses:from-domain, ses:caller-identity. What SES tells
later keeps SES's object as it came; its `mail` gets our ids, the sender's tags and, while our record of the message is
kept, the headers as they were sent.

Absent because nobody here knows them: mail.sendingAccountId and, without a sending authorization, mail.sourceArn, but
for what SES tells itself. Ours beyond SES: eventId, the tags `sluice:*`, the events `sluice:*` and their objects.
Every line begins with `{"eventType":`.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from sending_events import feedback_records, operator_acts
from sending_events.feedback_records import FeedbackRecord
from sending_events.header_facts import HeaderFacts
from sending_events.operator_acts import OperatorAct
from sending_events.records import EVENT_TYPES, EventRecord, UnreadableEvent, iso
from spool.records import Message
from spool.verdicts import Direction

Record = EventRecord | FeedbackRecord | OperatorAct

#: eventType → name of its object, for everything that is ever told.
OBJECT_NAMES: dict[str, str] = {
    **dict(EVENT_TYPES.values()),
    operator_acts.EVENT_TYPE: operator_acts.OBJECT_NAME,
    "Complaint": "complaint",
    "Delivery": "delivery",
    "DeliveryDelay": "deliveryDelay",
    "Rendering Failure": "failure",
    "Open": "open",
    "Click": "click",
    "Subscription": "subscription",
}

# How the entry of another kind than EventRecord's begins, and what reads it.
_DECODERS: tuple[tuple[bytes, Callable[[bytes], Record]], ...] = tuple(
    (f'{{"k":"{kind}"'.encode(), decode)
    for kind, decode in ((operator_acts.KIND, OperatorAct.decode), (feedback_records.KIND, FeedbackRecord.decode))
)

_OTHER_MARKS = tuple(mark for mark, _ in _DECODERS)

#: What we put into a call to find it again; nobody outside needs it.
_OUR_SES_TAGS = frozenset({"sluice-batch", "sluice-set"})
_OUR_SES_HEADER = "x-sluice-batch"
_CONFIGURATION_SET = "ses:configuration-set"

# WorkMail's words for the kind of a rule.
_RULE_TYPES: dict[Direction, str] = {"INBOUND": "INBOUND_RULE", "OUTBOUND": "OUTBOUND_RULE"}

# The words of SES for the same case.
_SUPPRESSED = (
    "Amazon SES did not send the message to this address because it is on the suppression list for your account."
)
_NO_HEADERS = orjson.Fragment(b"[]")


@dataclass(frozen=True, slots=True)
class Known:
    """What the spool still has of a message. `headers` None = they are not kept any more."""

    message: Message
    headers: HeaderFacts | None = None


def decoded(raw: bytes) -> Record:
    """The record of a stream entry. Raises UnreadableEvent."""
    if raw.startswith(_OTHER_MARKS):
        return next(decode for mark, decode in _DECODERS if raw.startswith(mark))(raw)
    return EventRecord.decode(raw)


def event_type_of(record: Record) -> str:
    """Its eventType. Raises UnreadableEvent."""
    if isinstance(record, FeedbackRecord):
        return record.event_type
    if isinstance(record, OperatorAct):
        return operator_acts.EVENT_TYPE
    if record.kind not in EVENT_TYPES:
        raise UnreadableEvent("not an event", detail=f"unknown kind {record.kind!r}")
    return EVENT_TYPES[record.kind][0]


def line_of(record: Record, known: Known | None, event_id: str, configuration_set: str = "") -> bytes:
    """The record as one line of JSON without a line end. Raises UnreadableEvent.

    `configuration_set`: the one whose event it is, "" = none; `known` None = the message is forgotten.
    """
    try:
        return orjson.dumps(rendered(record, known, event_id, configuration_set))
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise UnreadableEvent("the event does not fit its message", detail=detail) from error


def rendered(record: Record, known: Known | None, event_id: str, configuration_set: str = "") -> dict[str, Any]:
    """The record in SES's shape; parts of it may be orjson.Fragment. A forgotten message leaves its fields empty."""
    if isinstance(record, OperatorAct):
        return operator_acts.rendered(record, event_id)
    if isinstance(record, FeedbackRecord):
        return _feedback(record, known, event_id, configuration_set)
    event_type, object_name = EVENT_TYPES[record.kind]
    addresses = _addresses(record, known.message if known else None)
    return {
        "eventType": event_type,
        "eventId": event_id,
        "mail": _mail(record, known, addresses, configuration_set),
        object_name: _object(record, addresses, event_id),
    }


def _mail(record: EventRecord, known: Known | None, addresses: list[str], configuration_set: str) -> dict[str, Any]:
    message = known.message if known else None
    # SES: the instant of the call. What never reached SES has the instant of our door.
    is_about_a_call = record.kind in {"send", "reject"}
    mail: dict[str, Any] = {
        "timestamp": iso(record.at_ms if message is None or is_about_a_call else message.accepted_at_ms),
        "source": message.sender if message else "",
        "messageId": record.message_id,
        "destination": addresses,
    }
    if message and message.parameters.source_arn:
        mail["sourceArn"] = message.parameters.source_arn
    mail |= _headers(record.message_id, known)
    tags = _tags(known, configuration_set) if known else _set_tag(configuration_set)
    mail["tags"] = tags | _sluice_tags(record, message)
    return mail


def _headers(message_id: str, known: Known | None) -> dict[str, Any]:
    """headersTruncated, headers and commonHeaders."""
    headers = known.headers if known else None
    if headers:
        return {
            "headersTruncated": headers.is_truncated,
            "headers": headers.fields,
            "commonHeaders": {**headers.common, "messageId": message_id},
        }
    fields: Any = _NO_HEADERS
    if known and known.message.header_message_id:
        bare = known.message.header_message_id.removeprefix("<").removesuffix(">")
        fields = [{"name": "Message-ID", "value": f"<{bare}>"}]
    return {"headersTruncated": True, "headers": fields, "commonHeaders": {"messageId": message_id}}


def _tags(known: Known, configuration_set: str) -> dict[str, Sequence[str]]:
    """SES's automatic tags and those of the sender."""
    message = known.message
    headers = known.headers
    from_domain = headers.from_domain if headers else ""
    if not from_domain and (headers is None or headers.is_truncated) and "@" in message.sender:  # From is not known
        from_domain = message.sender.rpartition("@")[2].lower()
    automatic = {
        "ses:operation": message.parameters.operation,
        _CONFIGURATION_SET: configuration_set,
        "ses:source-ip": message.client_address,
        "ses:from-domain": from_domain,
        "ses:caller-identity": "" if message.door == "bounce" else message.user or "anonymous",
    }
    tags: dict[str, Sequence[str]] = {name: (value,) for name, value in automatic.items() if value}
    for name, value in message.parameters.tags:
        tags[name] = (value,)
    return tags


def _set_tag(configuration_set: str) -> dict[str, Sequence[str]]:
    return {_CONFIGURATION_SET: (configuration_set,)} if configuration_set else {}


def _sluice_tags(record: EventRecord | FeedbackRecord, message: Message | None) -> dict[str, Sequence[str]]:
    tags: dict[str, Sequence[str]] = {"sluice:message-id": (record.message_id,)}
    if record.ses_message_id:
        tags["sluice:ses-message-id"] = (record.ses_message_id,)
    if record.attempt:
        tags["sluice:attempt"] = (str(record.attempt),)
    if isinstance(record, EventRecord) and record.redirected_to:
        tags["sluice:redirected-to"] = (record.redirected_to,)
    if message and message.user:
        tags["sluice:user"] = (message.user,)
    return tags


def _object(record: EventRecord, addresses: list[str], event_id: str) -> dict[str, Any]:
    if record.kind == "send":
        return {}  # as SES has it
    if record.kind == "reject":
        return {"reason": record.reason}
    if record.kind == "suppressed":
        return _suppressed(record, addresses, event_id)
    values: dict[str, Any] = {"timestamp": iso(record.at_ms), "recipients": addresses}
    rule = {
        "ruleName": record.rule,
        "ruleType": _RULE_TYPES[record.direction] if record.direction else "",
        "ruleActions": record.action,
        "version": record.version,
    }
    values |= {name: told for name, told in rule.items() if told}
    if record.reason:
        values["reason"] = record.reason
    if record.next_at_ms:
        values["nextAttemptAt"] = iso(record.next_at_ms)
    return values


def _suppressed(record: EventRecord, addresses: list[str], event_id: str) -> dict[str, Any]:
    """The bounce that SES makes of a recipient on the account's suppression list."""
    recipient = {"action": "failed", "status": "5.1.1", "diagnosticCode": record.reason or _SUPPRESSED}
    return {
        "feedbackId": _feedback_id(record, event_id),
        "bounceType": "Permanent",
        "bounceSubType": "OnAccountSuppressionList",
        "bouncedRecipients": [{"emailAddress": address, **recipient} for address in addresses],
        "timestamp": iso(record.at_ms),
        "reportingMTA": "dns; amazonses.com",
    }


def _feedback_id(record: EventRecord, event_id: str) -> str:
    """In SES's format, and the same whenever the event is told."""
    mark = hashlib.blake2b(f"{record.message_id} {event_id}".encode(), digest_size=16).hexdigest()
    return f"{record.at_ms:016x}-{mark[:8]}-{mark[8:12]}-{mark[12:16]}-{mark[16:20]}-{mark[20:]}-000000"


def _addresses(record: EventRecord, message: Message | None) -> list[str]:
    if message is None:
        return []
    if record.recipients is None:
        return list(message.envelope if record.kind == "accepted" else message.recipients)
    return [message.recipients[index] for index in record.recipients]


def _feedback(record: FeedbackRecord, known: Known | None, event_id: str, configuration_set: str) -> dict[str, Any]:
    objects = {name: value for name, value in record.event.items() if name not in {"eventType", "eventId", "mail"}}
    return {
        "eventType": record.event_type,
        "eventId": event_id,
        "mail": _feedback_mail(record, record.event.get("mail", {}), known, configuration_set),
        **objects,
    }


def _feedback_mail(
    record: FeedbackRecord, theirs: Mapping[str, Any], known: Known | None, configuration_set: str
) -> dict[str, Any]:
    """SES's mail with our ids and tags, and with the headers that the application sent while they are kept."""
    mail = {**theirs, "messageId": record.message_id}
    if "commonHeaders" in theirs:
        mail["commonHeaders"] = {**theirs["commonHeaders"], "messageId": record.message_id}
    if "headers" in theirs:
        mail["headers"] = [one for one in theirs["headers"] if one["name"].lower() != _OUR_SES_HEADER]
    tags = {name: value for name, value in theirs.get("tags", {}).items() if name not in _OUR_SES_TAGS}
    tags.pop(_CONFIGURATION_SET, None)  # the route's, not the one that the application named
    tags |= _tags(known, configuration_set) if known else _set_tag(configuration_set)
    mail["tags"] = tags | _sluice_tags(record, known.message if known else None)
    if known:
        mail["source"] = known.message.sender
        if known.headers:
            mail |= _headers(record.message_id, known)
    return mail
