"""Composes a bounce: what the sender of a message gets about recipients that were refused or given up. Pure.

RFC 3464 multipart/report in three parts: words for a person, fields for a program, the headers of the original. The
envelope sender is null and `Auto-Submitted: auto-replied` is set, so nothing answers it. SES has no null sender: the
From address of the bounce stands in for it and has to be of a verified domain, by default the sender's own.

Whatever the original and SES's texts hold, the bounce is ASCII, its lines are at most 998 bytes long, and nothing from
outside can end a line of a field: none can be forged. Its size is bounded by the recipients, about 1.8 KB each at
worst; the text of a rule, which people write for people, may have lines and letters of its own and 2,000 characters.
"""

import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from spool.records import Message, NewMessage
from worker.relay.mime import header_end, without_private_headers

_MAX_ORIGINAL_HEADER_BYTES = 8 * 1024
_MAX_ADDRESS_CHARACTERS = 320
_MAX_REASON_CHARACTERS = 500
_MAX_TEXT_CHARACTERS = 2000
_MAX_LINE_CHARACTERS = 200

# What can stand in a header field as it is: atoms or a quoted string, then a domain or an address literal.
_PLAIN_ADDRESS = re.compile(
    r'(?:[^\x00-\x20\x7f-\U0010ffff"(),:;<>@\[\\\]]+|"(?:[ !#-\[\]-~]|\\[ -~])*")@[A-Za-z0-9._:\[\]-]+'
)
_CLEAN_LINE = re.compile(r"[\t -~]{0,998}")  # RFC 5322 section 2.1.1
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_PLAIN_MESSAGE_ID = re.compile(r"<?([!-;=?-~]{1,900})>?")


@dataclass(frozen=True, slots=True)
class Failure:
    """One recipient that will not get the message."""

    address: str
    #: Enhanced status code, RFC 3463.
    status: str
    reason: str
    #: For people, in lines, any letters; "" = the reason says it.
    text: str = ""


def compose_bounce(
    *,
    message_id: str,
    original: Message,
    original_content: bytes,
    failures: Sequence[Failure],
    reporting_host: str,
    bounce_sender: str,
    now_ms: int,
) -> NewMessage:
    """The bounce as a message for the spool, addressed to the original's envelope sender."""
    header_message_id = f"{message_id}@{reporting_host}"
    arrived_at = _date(original.accepted_at_ms)
    boundary = f"=_{message_id}"
    lines = [
        f"From: Mail Delivery System <{_author(original.sender, reporting_host, bounce_sender)}>",
        f"To: {_in_header(original.sender)}",
        "Subject: Undelivered Mail Returned to Sender",
        f"Date: {_date(now_ms)}",
        f"Message-ID: <{header_message_id}>",
        *_references(original),
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{boundary}"',
        "",
        "This is a MIME-encapsulated message.",
        "",
        f"--{boundary}",
        "Content-Description: Notification",
        *_words_part(_words(original, failures, reporting_host, arrived_at)),
        "",
        f"--{boundary}",
        "Content-Description: Delivery report",
        "Content-Type: message/delivery-status",
        "",
        f"Reporting-MTA: dns; {reporting_host}",
        f"X-Mailsluice-Message-Id: {original.message_id}",
        f"Arrival-Date: {arrived_at}",
        *(line for failure in failures for line in _status_fields(failure)),
        "",
        f"--{boundary}",
        *_headers_part(original_content),
        f"--{boundary}--",
        "",
    ]
    return NewMessage(
        message_id=message_id,
        sender="",
        recipients=(original.sender,),
        content="\r\n".join(lines).encode("ascii", "backslashreplace"),
        door="bounce",
        header_message_id=header_message_id,
        is_auto_submitted=True,
    )


def without_addresses(text: str, addresses: Iterable[str], shown: Sequence[str], *, is_cut: bool) -> str:
    """The text without those of the addresses, and their domains, that do not stand in `shown`.

    `is_cut`: somebody ended the text anywhere, so its last word may be half of one.
    """
    hidden = {address.lower() for address in addresses}.difference(address.lower() for address in shown)
    if not hidden:
        return text
    domains = {_domain(address) for address in hidden}.difference(_domain(address) for address in shown)
    whole = re.sub(r"\S+\Z", "", text) if is_cut else text
    for one in sorted(hidden | domains - {""}, key=len, reverse=True):
        whole = re.sub(re.escape(one), "(hidden)", whole, flags=re.IGNORECASE)
    return whole


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()


def _author(sender: str, reporting_host: str, bounce_sender: str) -> str:
    if bounce_sender:
        return bounce_sender
    domain = sender.rpartition("@")[2] if _PLAIN_ADDRESS.fullmatch(sender) else reporting_host
    return f"mailer-daemon@{domain}"


def _in_header(address: str) -> str:
    """The address as a header field can hold it; the envelope has it anyway."""
    is_plain = len(address) <= _MAX_ADDRESS_CHARACTERS and _PLAIN_ADDRESS.fullmatch(address)
    return address if is_plain else "undisclosed-recipients:;"


def _words(original: Message, failures: Sequence[Failure], host: str, arrived_at: str) -> list[str]:
    return [
        f"This is mailsluice at {host}.",
        "",
        f"Your message of {arrived_at} could not be sent to the recipients below.",
        f"Its id here is {original.message_id}.",
        "",
        *(line for failure in failures for line in _about(failure)),
    ]


def _about(failure: Failure) -> list[str]:
    address = _one_line(failure.address, _MAX_ADDRESS_CHARACTERS)
    if not failure.text:
        return [f"<{address}>: {_one_line(failure.reason)}"]
    lines = failure.text[:_MAX_TEXT_CHARACTERS].splitlines()
    cleaned = (_CONTROL.sub(" ", line.encode("utf-8", "replace").decode()) for line in lines)
    pieces = (
        line[n : n + _MAX_LINE_CHARACTERS] for line in cleaned for n in range(0, len(line) or 1, _MAX_LINE_CHARACTERS)
    )
    return [f"<{address}>:", *(f"  {piece}" for piece in pieces), ""]


def _words_part(words: list[str]) -> list[str]:
    """The part for people: plain ASCII as long as nobody wrote anything else."""
    if all(line.isascii() for line in words):
        return ["Content-Type: text/plain; charset=us-ascii", "", *words]
    encoded = binascii.b2a_qp("\n".join(words).encode(), istext=True).decode("ascii")
    return [
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        *encoded.split("\n"),
    ]


def _status_fields(failure: Failure) -> list[str]:
    return [
        "",
        f"Final-Recipient: rfc822; {_one_line(failure.address, _MAX_ADDRESS_CHARACTERS)}",
        "Action: failed",
        f"Status: {failure.status}",
        f"Diagnostic-Code: X-Mailsluice; {_one_line(failure.reason)}",
    ]


def _references(original: Message) -> list[str]:
    found = _PLAIN_MESSAGE_ID.fullmatch(original.header_message_id)
    return [f"In-Reply-To: <{found[1]}>", f"References: <{found[1]}>"] if found else []


def _headers_part(content: bytes) -> list[str]:
    """The original's header section without Bcc, quoted-printable when it is not clean ASCII (RFC 6522 section 4)."""
    lines = _header_lines(content)
    is_clean = all(_CLEAN_LINE.fullmatch(line) for line in lines)
    if not is_clean:
        encoded = (binascii.b2a_qp(line.encode("latin-1"), istext=False) for line in lines)  # a lone CR as well
        lines = b"\n".join(encoded).decode("ascii").split("\n")
    return [
        "Content-Description: Headers of the undelivered message",
        "Content-Type: text/rfc822-headers",
        f"Content-Transfer-Encoding: {'7bit' if is_clean else 'quoted-printable'}",
        "",
        *lines,
        "",
    ]


def _header_lines(content: bytes) -> list[str]:
    """Whole lines without their ends, bounded, each byte one character."""
    beginning = content[: _MAX_ORIGINAL_HEADER_BYTES + 2]
    head = beginning[: header_end(beginning)]
    if len(head) > _MAX_ORIGINAL_HEADER_BYTES:
        head = head[: head.rfind(b"\n") + 1]
    kept, _ = without_private_headers(head)
    return [line.removesuffix("\r") for line in kept.decode("latin-1").removesuffix("\n").split("\n")]


def _one_line(text: str, at_most: int = _MAX_REASON_CHARACTERS) -> str:
    """ASCII without line ends and control characters, bounded."""
    ascii_text = text[:at_most].encode("ascii", "backslashreplace").decode("ascii")
    return re.sub(r"[\x00-\x1f\x7f]+", " ", ascii_text)[:at_most]


def _date(at_ms: int) -> str:
    return format_datetime(datetime.fromtimestamp(at_ms / 1000, UTC))
