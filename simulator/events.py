"""An event as SES publishes it: the JSON of "event publishing", for calls of the raw operations.

Made when somebody reads it and not before: most runs never do. Times are those of the acceptance; what a mail server
far away would add (its answer, its name) is made up, in the form of recorded events.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formataddr, getaddresses

import orjson

from simulator.caller import ACCOUNT_ID, Caller
from simulator.checks import Envelope
from simulator.header_section import fields_of
from simulator.mailbox import Happening, Kind

#: SES tells headers up to this size and says so when there were more
MAX_HEADER_BYTES = 10 * 1024
MTA = "a8-70.smtp-out.amazonses.com"
OUTGOING_IP = "192.0.2.70"
SUPPRESSED_TEXT = (
    "Amazon SES has suppressed sending to this address because it has a recent history of bouncing as an invalid "
    "address."
)
ON_LIST_TEXT = (
    "Amazon SES did not send the message to this address because it is on the suppression list for your account. "
    "For more information about removing addresses from the suppression list, see the Amazon SES Developer Guide at "
    "https://docs.aws.amazon.com/ses/latest/DeveloperGuide/sending-email-suppression-list.html"
)
#: name in commonHeaders: (header, whether it holds addresses)
COMMON_HEADERS: Mapping[str, tuple[str, bool]] = {
    "returnPath": ("return-path", False),
    "from": ("from", True),
    "replyTo": ("reply-to", True),
    "sender": ("sender", False),
    "to": ("to", True),
    "cc": ("cc", True),
    "bcc": ("bcc", True),
    "date": ("date", False),
    "subject": ("subject", False),
}


@dataclass(frozen=True, slots=True)
class AcceptedCall:
    """What the events of one call need of it; the headers are cut where SES stops telling them."""

    ses_message_id: str
    accepted_ms: int
    source: str
    destinations: tuple[str, ...]
    configuration_set: str | None
    tags: tuple[tuple[str, str], ...]
    headers: bytes
    is_truncated: bool
    caller: Caller


def accepted_call(ses_message_id: str, accepted_ms: int, envelope: Envelope, caller: Caller) -> AcceptedCall:
    """From the envelope of a call that was just accepted."""
    section = envelope.headers.section
    return AcceptedCall(
        ses_message_id=ses_message_id,
        accepted_ms=accepted_ms,
        source=envelope.source,
        destinations=envelope.destinations,
        configuration_set=envelope.configuration_set,
        tags=envelope.tags,
        headers=section[:MAX_HEADER_BYTES],
        is_truncated=len(section) > MAX_HEADER_BYTES,
        caller=caller,
    )


def line_of(call: AcceptedCall, happening: Happening) -> bytes:
    """One event as a line of JSON, without its end."""
    event_type, member, write = _WRITERS[happening.kind]
    event = {"eventType": event_type, "mail": _mail(call, happening.kind), member: write(call, happening.recipients)}
    return orjson.dumps(event)


def _mail(call: AcceptedCall, kind: Kind) -> dict[str, object]:
    fields = list(fields_of(call.headers))
    if call.is_truncated:
        fields = fields[:-1]  # cut in its middle
    return {
        "timestamp": _time(call.accepted_ms),
        "source": call.source,
        "sourceArn": f"arn:aws:ses:{call.caller.region}:{ACCOUNT_ID}:identity/{call.source}",
        "sendingAccountId": ACCOUNT_ID,
        "messageId": call.ses_message_id,
        "destination": call.destinations,
        "headersTruncated": call.is_truncated,
        "headers": [{"name": name, "value": value} for name, value in fields],
        "commonHeaders": _common_headers(call.ses_message_id, fields),
        "tags": _tags(call, fields, kind),
    }


def _common_headers(ses_message_id: str, fields: Sequence[tuple[str, str]]) -> dict[str, object]:
    common: dict[str, object] = {"messageId": ses_message_id}
    for member, (header, has_addresses) in COMMON_HEADERS.items():
        values = [value for name, value in fields if name.lower() == header]
        if values:
            common[member] = _addresses(values) if has_addresses else values[0]
    return common


def _addresses(values: Sequence[str]) -> list[str]:
    try:
        return [formataddr((name, address)) for name, address in getaddresses(list(values))]
    except Exception:  # noqa: BLE001 -- the stdlib parser dies in many ways on hostile headers
        return list(values)


def _tags(call: AcceptedCall, fields: Sequence[tuple[str, str]], kind: Kind) -> dict[str, list[str]]:
    tags: dict[str, list[str]] = {"ses:operation": [call.caller.operation]}
    if call.configuration_set:
        tags["ses:configuration-set"] = [call.configuration_set]
    tags["ses:source-ip"] = [call.caller.source_ip]
    if any(name.lower() == "from" for name, _ in fields):
        tags["ses:from-domain"] = [_from_domain(call, fields)]
    tags["ses:caller-identity"] = ["simulated"]
    if kind is not Kind.SEND:
        tags["ses:outgoing-ip"] = [OUTGOING_IP]
    for name, value in call.tags:
        tags.setdefault(name, []).append(value)
    return tags


def _from_domain(call: AcceptedCall, fields: Sequence[tuple[str, str]]) -> str:
    written = next(value for name, value in fields if name.lower() == "from")
    found = _addresses([written])
    address = (found[0] if found else call.source).rstrip(">")
    return address.rpartition("@")[2]


def _time(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{unix_ms % 1000:03d}Z"


def _send(_call: AcceptedCall, _recipients: Sequence[str]) -> dict[str, object]:
    return {}


def _delivery(call: AcceptedCall, recipients: Sequence[str]) -> dict[str, object]:
    return {
        "timestamp": _time(call.accepted_ms),
        "processingTimeMillis": 0,
        "recipients": recipients,
        "smtpResponse": "250 2.6.0 Message received",
        "reportingMTA": MTA,
    }


def _bounce(call: AcceptedCall, recipients: Sequence[str]) -> dict[str, object]:
    return _bounce_of(call, recipients, "General", "smtp; 550 5.1.1 user unknown", f"dsn; {MTA}")


def _suppressed(call: AcceptedCall, recipients: Sequence[str]) -> dict[str, object]:
    return _bounce_of(call, recipients, "Suppressed", SUPPRESSED_TEXT, "dns; amazonses.com")


def _on_account_list(call: AcceptedCall, recipients: Sequence[str]) -> dict[str, object]:
    return _bounce_of(call, recipients, "OnAccountSuppressionList", ON_LIST_TEXT, "dns; amazonses.com")


def _bounce_of(
    call: AcceptedCall, recipients: Sequence[str], sub_type: str, diagnostic_code: str, reporting_mta: str
) -> dict[str, object]:
    failed = {"action": "failed", "status": "5.1.1", "diagnosticCode": diagnostic_code}
    return {
        "bounceType": "Permanent",
        "bounceSubType": sub_type,
        "bouncedRecipients": [{"emailAddress": recipient, **failed} for recipient in recipients],
        "timestamp": _time(call.accepted_ms),
        "feedbackId": _feedback_id(call, sub_type),
        "reportingMTA": reporting_mta,
    }


def _complaint(call: AcceptedCall, recipients: Sequence[str]) -> dict[str, object]:
    return {
        "complainedRecipients": [{"emailAddress": recipient} for recipient in recipients],
        "timestamp": _time(call.accepted_ms),
        "feedbackId": _feedback_id(call, "Complaint"),
        "complaintSubType": None,
        "userAgent": "Amazon SES Mailbox Simulator",
        "complaintFeedbackType": "abuse",
        "arrivalDate": _time(call.accepted_ms),
    }


def _feedback_id(call: AcceptedCall, what: str) -> str:
    """In the form of SES's, and the same each time the event is read."""
    head, _, rest = call.ses_message_id.partition("-")
    return f"{head}-{what.encode().hex()[:8]}{rest[8:]}"


_Writer = Callable[[AcceptedCall, Sequence[str]], dict[str, object]]
#: kind: (eventType, member that holds it, its content)
_WRITERS: Mapping[Kind, tuple[str, str, _Writer]] = {
    Kind.SEND: ("Send", "send", _send),
    Kind.DELIVERY: ("Delivery", "delivery", _delivery),
    Kind.BOUNCE: ("Bounce", "bounce", _bounce),
    Kind.SUPPRESSED: ("Bounce", "bounce", _suppressed),
    Kind.ON_ACCOUNT_LIST: ("Bounce", "bounce", _on_account_list),
    Kind.COMPLAINT: ("Complaint", "complaint", _complaint),
}
