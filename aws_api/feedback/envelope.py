"""A message of SNS over HTTP, and what its signature is about. Pure.

SNS developer guide, "Verifying the signatures of Amazon SNS messages".

The host of the certificate and of the subscription's URL must be one of SNS's own: whoever may name the host can sign
whatever he likes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson

from config.errors import Refused, TryLater

Kind = Literal["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"]

_HOST = r"https://sns\.([a-z0-9-]{3,30})\.amazonaws\.com(?:\.cn)?"
_CERTIFICATE = re.compile(_HOST + r"/SimpleNotificationService-[0-9A-Za-z]{1,100}\.pem")
_SUBSCRIBE = re.compile(_HOST + r"/\?[!-~]{1,2000}")

_SUBSCRIPTION_FIELDS: Final = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
#: What is signed, in this order; Subject only when it is there.
SIGNED_FIELDS: Mapping[Kind, tuple[str, ...]] = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": _SUBSCRIPTION_FIELDS,
    "UnsubscribeConfirmation": _SUBSCRIPTION_FIELDS,
}
_OPTIONAL: Final = "Subject"

#: How old a message may be, beyond the longest that SNS can be told to try again; and how far ahead its clock may be.
OLDEST_SECONDS: Final = 2 * 3600.0
AHEAD_SECONDS: Final = 300.0


class NotAnEnvelope(Refused):
    """The body is no message of SNS."""


class Forged(Refused):
    """It says that it is one, and is not to be believed."""


class OutOfTime(TryLater):
    """SNS signed it, and by this machine's clock not now: one of the clocks is wrong, or it is an old one again."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message. What it says is believed after its signature was verified."""

    kind: Kind
    topic: str
    message_id: str
    message: str = field(repr=False)
    sent_at: datetime
    #: 1 = SHA-1, 2 = SHA-256.
    version: Literal["1", "2"]
    certificate_url: str
    signature: str = field(repr=False)
    #: Empty for a notification.
    subscribe_url: str = field(repr=False)
    signed: bytes = field(repr=False)


def envelope_of(body: bytes | bytearray) -> Envelope:
    """The message of a body. Raises NotAnEnvelope."""
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotAnEnvelope("The body is no JSON.") from error
    if not isinstance(values, dict) or not _is_kind(values.get("Type")):
        raise NotAnEnvelope("The body is no message of SNS.")
    kind: Kind = values["Type"]
    needed = {*SIGNED_FIELDS[kind], "SignatureVersion", "Signature", "SigningCertURL"} - {_OPTIONAL}
    if missing := sorted(name for name in needed if not isinstance(values.get(name), str)):
        raise NotAnEnvelope(f"The message of SNS has no {missing[0]}.")
    if values["SignatureVersion"] not in {"1", "2"}:
        raise NotAnEnvelope("The version of the signature is neither 1 nor 2.")
    return Envelope(
        kind=kind,
        topic=values["TopicArn"],
        message_id=values["MessageId"],
        message=values["Message"],
        sent_at=_instant(values["Timestamp"]),
        version=values["SignatureVersion"],
        certificate_url=values["SigningCertURL"],
        signature=values["Signature"],
        subscribe_url="" if kind == "Notification" else values["SubscribeURL"],
        signed=string_to_sign(kind, values),
    )


def _is_kind(value: object) -> bool:
    return isinstance(value, str) and value in SIGNED_FIELDS


def string_to_sign(kind: Kind, values: Mapping[str, Any]) -> bytes:
    """Names and values, each with a line end."""
    names = (name for name in SIGNED_FIELDS[kind] if name != _OPTIONAL or isinstance(values.get(name), str))
    return "".join(f"{name}\n{values[name]}\n" for name in names).encode("utf-8", "surrogatepass")


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise NotAnEnvelope("The Timestamp is none.") from error
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def check_claims(envelope: Envelope, topics: tuple[str, ...]) -> None:
    """What can be said without its signature. Raises Forged."""
    if envelope.topic not in topics:
        raise Forged("The topic is not among those that are listened to ([feedback] topics).")
    certificate = _CERTIFICATE.fullmatch(envelope.certificate_url)
    if certificate is None or certificate[1] != _region_of(envelope.topic):
        raise Forged("The certificate is not of SNS in the topic's region.")
    if envelope.subscribe_url:
        subscribe = _SUBSCRIBE.fullmatch(envelope.subscribe_url)
        if subscribe is None or subscribe[1] != _region_of(envelope.topic):
            raise Forged("The subscription's URL is not of SNS in the topic's region.")


def check_age(envelope: Envelope, now: datetime) -> None:
    """For one whose signature is right: refused, it would be lost by a clock that is wrong. Raises OutOfTime."""
    age_seconds = (now - envelope.sent_at).total_seconds()
    if age_seconds < -AHEAD_SECONDS:
        raise OutOfTime("SNS's message is from the future: look at the clock of this machine")
    if age_seconds > OLDEST_SECONDS:
        raise OutOfTime("SNS's message is too old: look at the clock of this machine")


def _region_of(topic: str) -> str:
    parts = topic.split(":")
    return parts[3] if len(parts) > 3 else ""
