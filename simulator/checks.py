"""What SES refuses, in the order it looks: size, header section, tags, envelope; with its own texts.

The envelope of the call wins over the headers: `Source` absent means the From header, `Destinations` absent means
To, Cc and Bcc. An empty message is accepted as long as the call names both (the real service does so too).
Identities and configuration sets are looked at in admission.py.
"""

import re
from dataclasses import dataclass

from simulator.addresses import addresses_in, bare_address
from simulator.header_section import NO_HEADERS, HeaderSection, read_header_section
from simulator.refusals import INVALID, Refused
from simulator.send_call import SendCall

MAX_RECIPIENTS = 50
MAX_TAG_CHARACTERS = 255
MAX_LINE_BYTES = 998
_LONG_LINE = re.compile(rb"[^\r\n]{%d}" % (MAX_LINE_BYTES + 1))
_TAG_NAME = re.compile(r"[A-Za-z0-9_-]+")
_TAG_VALUE = re.compile(r"[A-Za-z0-9_.@-]+")

#: headers that SES takes once only, lower case
ONCE_ONLY = frozenset(
    (
        "accept-language", "acceptlanguage", "archived-at", "auto-submitted", "bounces-to", "comments",
        "content-alternative", "content-base", "content-class", "content-description", "content-disposition",
        "content-duration", "content-id", "content-language", "content-length", "content-location",
        "content-md5", "content-transfer-encoding", "content-type", "date", "delivered-to",
        "disposition-notification-options", "disposition-notification-to", "dkim-signature",
        "domainkey-signature", "errors-to", "from", "importance", "in-reply-to", "keywords", "list-archive",
        "list-help", "list-id", "list-owner", "list-post", "list-subscribe", "list-unsubscribe",
        "list-unsubscribe-post", "message-context", "message-id", "mime-version", "organization",
        "original-from", "original-message-id", "original-recipient", "original-subject", "precedence",
        "priority", "references", "reply-to", "return-path", "return-receipt-to", "sender", "sensitivity",
        "solicitation", "subject", "thread-index", "thread-topic", "user-agent", "vbr-info",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Envelope:
    """A send that SES would take: bare addresses, and what the call or the headers say about it."""

    source: str
    destinations: tuple[str, ...]
    configuration_set: str | None
    tags: tuple[tuple[str, str], ...]
    header_message_id: str | None
    subject: str | None
    headers: HeaderSection = NO_HEADERS


def check(call: SendCall, *, counts_header_recipients: bool = False, refuses_long_lines: bool = False) -> Envelope:
    """The envelope of an acceptable call; raises `Refused` with the text SES has for the first flaw.

    Reports differ on whether the addresses in the headers count while the call names its recipients, and on what
    becomes of lines that are too long: both are switches.
    """
    encoded_bytes = (len(call.raw) + 2) // 3 * 4
    if encoded_bytes > call.max_encoded_bytes:
        limit = call.max_encoded_bytes
        raise Refused(INVALID, f"Message length is more than {limit} bytes long: '{encoded_bytes}'.")
    headers = read_header_section(call.raw)
    _check_header_section(headers)
    if refuses_long_lines and _LONG_LINE.search(call.raw):  # text not on record
        raise Refused(INVALID, f"Message line is too long: more than {MAX_LINE_BYTES} bytes.")
    tags = call.tags or _tags_in(headers)
    _check_tags(tags)
    return Envelope(
        source=_source(call, headers),
        destinations=_destinations(call, headers, counts_headers=counts_header_recipients),
        configuration_set=call.configuration_set or headers.first("x-ses-configuration-set"),
        tags=tags,
        header_message_id=headers.first("message-id"),
        subject=headers.first("subject"),
        headers=headers,
    )


def _check_header_section(headers: HeaderSection) -> None:
    if headers.is_too_long:
        raise Refused(INVALID, "Header section too long.")
    for name, values in headers.values.items():
        if not name:
            raise Refused(INVALID, "Empty header names are illegal.")
        if len(values) > 1 and name in ONCE_ONLY:
            raise Refused(INVALID, f"Duplicate header '{headers.written_names[name]}'.")


def _tags_in(headers: HeaderSection) -> tuple[tuple[str, str], ...]:
    written = headers.first("x-ses-message-tags")
    if not written:
        return ()
    pairs = (pair.partition("=") for pair in written.split(","))
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


def _check_tags(tags: tuple[tuple[str, str], ...]) -> None:
    for name, value in tags:
        flaw = _flaw_of_tag_name(name) or _flaw_of_tag_value(value)
        if flaw is not None:
            raise Refused(INVALID, flaw)


def _flaw_of_tag_name(name: str) -> str | None:
    if not name:
        return "The tag name must be specified."
    if len(name) > MAX_TAG_CHARACTERS:
        return f"Tag name cannot exceed {MAX_TAG_CHARACTERS} characters."
    if not _TAG_NAME.fullmatch(name):  # the two blanks after the first comma are SES's
        return f"Invalid tag name <{name}>: only alphanumeric ASCII characters, '_',  '-' are allowed."
    return None


def _flaw_of_tag_value(value: str) -> str | None:
    if not value:
        return "The tag value must be specified."
    if len(value) > MAX_TAG_CHARACTERS:
        return f"Tag value cannot exceed {MAX_TAG_CHARACTERS} characters."
    if not _TAG_VALUE.fullmatch(value):
        return f"Invalid tag value <{value}>: only alphanumeric ASCII characters, '_',  '-' , '.', '@' are allowed."
    return None


def _source(call: SendCall, headers: HeaderSection) -> str:
    if call.source is not None:
        return bare_address(call.source)
    written = headers.first("from")
    found = addresses_in([written]) if written else ()
    if not found:
        raise Refused(INVALID, "Missing required header 'From'.")
    return found[0]


def _destinations(call: SendCall, headers: HeaderSection, *, counts_headers: bool) -> tuple[str, ...]:
    if call.destinations is not None:
        _check_count(len(call.destinations))
        if counts_headers:
            _check_count(len(_in_headers(headers)))
        return tuple(bare_address(written) for written in call.destinations)
    found = _in_headers(headers)
    if not found:
        raise Refused(INVALID, "Missing required header 'To'.")
    _check_count(len(found))
    return found


def _in_headers(headers: HeaderSection) -> tuple[str, ...]:
    return addresses_in([value for name in ("to", "cc", "bcc") for value in headers.values.get(name, ())])


def _check_count(recipients: int) -> None:
    if recipients > MAX_RECIPIENTS:
        raise Refused(INVALID, f"Recipient count exceeds {MAX_RECIPIENTS}.")
