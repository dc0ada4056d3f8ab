"""A send, checked as SES does and in its order: size, headers, tags, envelope. Pure; in a thread when it is large.

Lines that end with LF alone get CRLF, as every message in the spool has. A CR alone is refused: readers differ about
it, and one that takes it for the end of a line would see headers that nobody checked.
"""

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Final

from aws_api.message_flow.header_fields import HeaderSection
from aws_api.message_flow.line_ends import count_of, line_number, position_of_bare_cr, with_crlf
from aws_api.ses.envelope import Envelope, envelope_of, refused_identities
from aws_api.ses.header_check import Limits, check_odd_line, read_headers
from aws_api.ses.refusals import SendRefused
from aws_api.ses.send_request import MAX_ENCODED_BYTES, SendRequest
from aws_api.ses.tags import tags_of_header, tags_of_parameters
from aws_api.wire.access_keys import AccessKey
from config.settings import Settings
from spool.send_parameters import SendParameters
from spool.ses_headers import idempotency_key_of, parameters_of

_ARN: Final = re.compile(r"arn:[!-~]{1,1020}")
_SANE_MESSAGE_ID: Final = re.compile(rb"<?([\x21-\x3b\x3d\x3f-\x7e]{1,250})>?")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A send that SES would take, as far as it can be seen here."""

    content: bytes = field(repr=False)
    envelope: Envelope
    parameters: SendParameters
    header_message_id: str
    is_auto_submitted: bool
    #: Of the message's own header; "" = none.
    idempotency_key: str


def prepared(request: SendRequest, settings: Settings, access_key: AccessKey | None) -> Prepared:
    """The send with everything read. Raises SendRefused.

    Whose mail the key may send is looked at by `check_sender`, after the configuration set.
    """
    content = _content(request, settings)
    for arn in (request.source_arn, request.from_arn, request.return_path_arn):
        if arn and not _ARN.fullmatch(arn):
            raise SendRefused(f"Invalid ARN <{arn[:200]}>.")
    headers = read_headers(content, Limits.of(settings))
    if access_key is not None and "*" not in access_key.senders:
        check_odd_line(content, headers)
    section = content[: headers.end]
    said = parameters_of(section, request.operation)
    tags = tags_of_parameters(request.tags) or tags_of_header(_text(headers, b"x-ses-message-tags"))
    parameters = dataclasses.replace(
        said,
        tags=tags,
        configuration_set=request.configuration_set or _text(headers, b"x-ses-configuration-set"),
        source_arn=request.source_arn or said.source_arn,
        from_arn=request.from_arn or said.from_arn,
        return_path_arn=request.return_path_arn or said.return_path_arn,
    )
    return Prepared(
        content,
        envelope_of(request, headers),
        parameters,
        _message_id(headers),
        is_auto_submitted=_is_auto_submitted(headers),
        idempotency_key=idempotency_key_of(section),
    )


def check_sender(ready: Prepared, access_key: AccessKey | None, region: str) -> None:
    """An access key sends as whom its patterns name. Raises SendRefused, with SES's words for identities."""
    failed = refused_identities(ready.envelope, access_key.senders if access_key is not None else ("*",))
    if failed:
        raise SendRefused(
            "Email address is not verified. The following identities failed the check in region "
            f"{region.upper()}: {', '.join(failed)}",
            "rejected",
        )


def _content(request: SendRequest, settings: Settings) -> bytes:
    """The message with CRLF line ends. Raises SendRefused when it is too long, or has a CR alone."""
    raw = request.content
    limit = min(MAX_ENCODED_BYTES[request.api], _encoded(settings.smtp.max_message_bytes))
    if (size := _encoded(len(raw))) > limit:
        raise SendRefused(f"Message length is more than {limit} bytes long: '{size}'.")
    ends, feeds, returns = (count_of(one, raw) for one in (b"\r\n", b"\n", b"\r"))
    # As it will be relayed; SES's larger API takes it as long as it has that size.
    if len(raw) + feeds - ends > settings.smtp.max_message_bytes:
        raise SendRefused(f"Message length is more than {settings.smtp.max_message_bytes} bytes long, with CRLF.")
    if returns != ends:
        number = line_number(raw, position_of_bare_cr(raw))
        raise SendRefused(f"Line {number} has a CR without LF; lines end with CRLF or LF.")
    return raw if feeds == ends else with_crlf(raw)


def _encoded(raw_bytes: int) -> int:
    """How long base64 makes it."""
    return (raw_bytes + 2) // 3 * 4


def _text(headers: HeaderSection, name: bytes) -> str:
    return re.sub(rb"\r\n[ \t]+", b" ", headers.first(name)).decode("utf-8", "replace").strip()


def _message_id(headers: HeaderSection) -> str:
    sane = _SANE_MESSAGE_ID.fullmatch(b" ".join(headers.first(b"message-id").split()))
    return sane[1].decode("ascii") if sane else ""


def _is_auto_submitted(headers: HeaderSection) -> bool:
    """RFC 3834: made by a program as an answer, never to be answered."""
    keyword = re.split(rb"[;\s(]", headers.first(b"auto-submitted").strip(), maxsplit=1)[0].lower()
    return keyword not in {b"", b"no"}
