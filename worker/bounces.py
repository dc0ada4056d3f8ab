"""Composes a bounce: what the sender of a message gets about recipients that were refused or given up. Pure.

RFC 3464 multipart/report in three parts: words for a person, fields for a program, the headers of the original. The
envelope sender is null and `Auto-Submitted: auto-replied` is set, so nothing answers it. SES has no null sender: the
From address of the bounce stands in for it and has to be of a verified domain, by default the sender's own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from spool.records import Message, NewMessage

_MAX_ORIGINAL_HEADER_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class Failure:
    """One recipient that will not get the message."""

    address: str
    #: Enhanced status code, RFC 3463.
    status: str
    reason: str


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
    author = bounce_sender or f"mailer-daemon@{original.sender.rpartition('@')[2] or reporting_host}"
    header_message_id = f"{message_id}@{reporting_host}"
    arrived_at = _date(original.accepted_at_ms)
    boundary = f"=_{message_id}"
    content = "\r\n".join(
        [
            f"From: Mail Delivery System <{author}>",
            f"To: {original.sender}",
            "Subject: Undelivered Mail Returned to Sender",
            f"Date: {_date(now_ms)}",
            f"Message-ID: <{header_message_id}>",
            *_references(original),
            "Auto-Submitted: auto-replied",
            "MIME-Version: 1.0",
            f'Content-Type: multipart/report; report-type=delivery-status; boundary="{boundary}"',
            "",
            "This is a MIME-encapsulated message.",
            "",
            f"--{boundary}",
            "Content-Description: Notification",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 8bit",
            "",
            *_words(original, failures, reporting_host, arrived_at),
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
            "Content-Description: Headers of the undelivered message",
            "Content-Type: text/rfc822-headers",
            "Content-Transfer-Encoding: 8bit",
            "",
        ]
    )
    body = content.encode("utf-8", "replace") + b"\r\n" + _headers_of(original_content)
    return NewMessage(
        message_id=message_id,
        sender="",
        recipients=(original.sender,),
        content=body + f"\r\n--{boundary}--\r\n".encode(),
        door="bounce",
        header_message_id=header_message_id,
        is_auto_submitted=True,
    )


def _words(original: Message, failures: Sequence[Failure], host: str, arrived_at: str) -> list[str]:
    return [
        f"This is mailsluice at {host}.",
        "",
        f"Your message of {arrived_at} could not be sent to the recipients below.",
        f"Its id here is {original.message_id}.",
        "",
        *(f"<{failure.address}>: {_one_line(failure.reason)}" for failure in failures),
    ]


def _status_fields(failure: Failure) -> list[str]:
    return [
        "",
        f"Final-Recipient: rfc822; {failure.address}",
        "Action: failed",
        f"Status: {failure.status}",
        f"Diagnostic-Code: X-Amazon-SES; {_one_line(failure.reason)}",
    ]


def _references(original: Message) -> list[str]:
    if not original.header_message_id:
        return []
    return [f"In-Reply-To: <{original.header_message_id}>", f"References: <{original.header_message_id}>"]


def _headers_of(content: bytes) -> bytes:
    """The header section, whole lines only, bounded."""
    head = content.partition(b"\r\n\r\n")[0]
    if len(head) > _MAX_ORIGINAL_HEADER_BYTES:
        head = head[:_MAX_ORIGINAL_HEADER_BYTES].rpartition(b"\r\n")[0]
    return head + b"\r\n"


def _one_line(text: str) -> str:
    """Folded by nothing, safe in a header: no line ends, no control characters, at most 500 characters."""
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text)[:500]


def _date(at_ms: int) -> str:
    return format_datetime(datetime.fromtimestamp(at_ms / 1000, UTC))
