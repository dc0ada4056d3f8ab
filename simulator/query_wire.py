"""The v1 wire: form bodies in, XML out (AWS Query protocol, API version 2010-12-01).

The body is cut at `&` as bytes and the message is never percent-decoded as text: a generic form parser costs
more than all the rest of a call. Requests without `Version` (the 2011 clients) are welcome.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus, unquote_to_bytes
from xml.sax.saxutils import escape

from aiohttp import web

from simulator.ids import new_request_id
from simulator.refusals import MALFORMED, MISSING_MEMBER, Refused
from simulator.send_call import V1_MAX_ENCODED_BYTES, SendCall, decode_base64

NAMESPACE = "http://ses.amazonaws.com/doc/2010-12-01/"
#: more fields than any real call has; keeps a body of ampersands from becoming millions of objects
MAX_FIELDS = 10_000
#: the escapes that form-encoded base64 consists of; anything else takes the general way
BASE64_ESCAPES = (
    (b"%2B", b"+"), (b"%2F", b"/"), (b"%3D", b"="), (b"%0A", b""), (b"%0D", b""),
    (b"%2b", b"+"), (b"%2f", b"/"), (b"%3d", b"="), (b"%0a", b""), (b"%0d", b""),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Form:
    """A parsed body: the message's bytes as they came (None = not given), and everything else as text."""

    fields: Mapping[str, str]
    encoded_message: bytes | None


def parse_form(body: bytes) -> Form:
    """Split a form body; the last of two fields with one name wins."""
    if body.count(b"&") >= MAX_FIELDS:
        raise Refused(MALFORMED, "The request has too many parameters.")
    fields: dict[str, str] = {}
    message = None
    for pair in body.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name == b"RawMessage.Data":
            message = value
        else:
            fields[_text(name)] = _text(value)
    return Form(fields, message)


def _text(quoted: bytes) -> str:
    if b"%" in quoted or b"+" in quoted:
        return unquote_plus(quoted.decode("ascii", "replace"), errors="replace")
    return quoted.decode("utf-8", "replace")


def decode_message(encoded: bytes) -> bytes:
    """Undo form encoding and base64.

    A bare `+` is a blank in a form; but a client that escapes no `+` at all means the base64 digit by it.
    """
    if b"+" in encoded and (b"%2B" in encoded or b"%2b" in encoded):
        encoded = encoded.replace(b"+", b"")
    for escape_sequence, plain in BASE64_ESCAPES:
        if b"%" not in encoded:
            break
        encoded = encoded.replace(escape_sequence, plain)
    if b"%" in encoded:
        encoded = unquote_to_bytes(encoded)
    return decode_base64(encoded)


def read_send_raw_email(form: Form) -> SendCall:
    """SendRawEmail: `Source`, `Destinations`, `Tags` and `ConfigurationSetName` are all optional."""
    if form.encoded_message is None:
        raise Refused(
            MISSING_MEMBER,
            "1 validation error detected: Value null at 'rawMessage' failed to satisfy constraint: "
            "Member must not be null",
        )
    fields = form.fields
    return SendCall(
        raw=decode_message(form.encoded_message),
        source=fields.get("Source") or None,
        destinations=_destinations(fields),
        configuration_set=fields.get("ConfigurationSetName") or None,
        tags=_tags(fields),
        max_encoded_bytes=V1_MAX_ENCODED_BYTES,
    )


def _destinations(fields: Mapping[str, str]) -> tuple[str, ...] | None:
    members = _members(fields, "Destinations.member.")
    return tuple(value for _, value in members) or None


def _members(fields: Mapping[str, str], prefix: str) -> list[tuple[int, str]]:
    found = [(_member_number(name, prefix), value) for name, value in fields.items() if name.startswith(prefix)]
    found.sort()
    return found


def _member_number(name: str, prefix: str) -> int:
    digits = name[len(prefix) :].partition(".")[0]
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 9):
        raise Refused(MALFORMED, f"The parameter {name[:100]} is not a member of a list.")
    return int(digits)


def _tags(fields: Mapping[str, str]) -> tuple[tuple[str, str], ...] | None:
    prefix = "Tags.member."
    numbers = sorted({_member_number(name, prefix) for name in fields if name.startswith(prefix)})
    tags = tuple(
        (fields.get(f"{prefix}{number}.Name", ""), fields.get(f"{prefix}{number}.Value", "")) for number in numbers
    )
    return tags or None


def sent(ses_message_id: str) -> web.Response:
    """The answer to an accepted SendRawEmail."""
    return _answer("SendRawEmail", f"<MessageId>{ses_message_id}</MessageId>")


def send_quota(max_24_hour_send: float, max_send_rate: float, sent_last_24_hours: float) -> web.Response:
    """The answer to GetSendQuota; -1 = unlimited."""
    return _answer(
        "GetSendQuota",
        f"<SentLast24Hours>{sent_last_24_hours}</SentLast24Hours>"
        f"<Max24HourSend>{max_24_hour_send}</Max24HourSend>"
        f"<MaxSendRate>{max_send_rate}</MaxSendRate>",
    )


def _answer(action: str, result: str) -> web.Response:
    return answer(action, result, NAMESPACE)


def answer(action: str, result: str, namespace: str) -> web.Response:
    """A good answer; `result` is XML."""
    request_id = new_request_id()
    body = (
        f'<{action}Response xmlns="{namespace}"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    )
    return _xml(200, body, request_id)


def refused(refused: Refused) -> web.Response:
    """The error envelope of the Query protocol; 5xx is the service's fault ("Receiver")."""
    request_id, refusal = new_request_id(), refused.refusal
    members = "".join(f"<{name}>{escaped(value)}</{name}>" for name, value in refused.members.items())
    fault = "Sender" if refusal.query_status < 500 else "Receiver"
    body = (
        f'<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>{fault}</Type><Code>{refusal.query_code}</Code>'
        f"<Message>{escaped(refused.text)}</Message>{members}</Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    return _xml(refusal.query_status, body, request_id)


def escaped(text: str) -> str:
    """Text for XML. XML 1.0 has no way to write most control characters, and texts quote what the client sent."""
    return escape("".join(character if character.isprintable() else "?" for character in text))


def _xml(status: int, body: str, request_id: str) -> web.Response:
    return web.Response(
        status=status,
        body=body.encode("utf-8", "replace"),
        headers={"Content-Type": "text/xml", "x-amzn-RequestId": request_id},
    )
