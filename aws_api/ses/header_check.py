"""What SES refuses about the header section of a message, with its texts. Pure.

Where a setting of the relay repairs a message before SES sees it, nothing is refused for it here.
"""

import re
from dataclasses import dataclass
from typing import Final

from aws_api.message_flow.header_fields import HeaderSection, read_header_section
from aws_api.message_flow.line_ends import line_number
from aws_api.message_flow.once_only_headers import ONCE_ONLY_HEADERS
from aws_api.ses.refusals import SendRefused
from config.settings import Settings

_MEDIA_TYPE: Final = re.compile(rb"\s*([^\s/;]+)\s*(.?)", re.DOTALL)
# Matched at the begin of the value and cut at its semicolons, so that no piece is ever read twice.
_BOUNDARY: Final = re.compile(
    rb"(?i)\s*multipart/[^;]*+(?:;[^;]*+)*?;\s*boundary\s*=\s*(?:\"([^\"]+)\"|([^\s;]+))", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What of the settings counts for the header section."""

    max_header_bytes: int
    max_received_headers: int
    keeps_duplicates: bool
    keeps_empty_names: bool

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """As the settings have it."""
        return cls(
            settings.smtp.max_header_bytes,
            settings.smtp.max_received_headers,
            keeps_duplicates=settings.relay.duplicate_headers == "keep",
            keeps_empty_names=settings.relay.empty_headers == "keep",
        )


def read_headers(content: bytes, limits: Limits) -> HeaderSection:
    """The header section of a content with CRLF line ends. Raises SendRefused."""
    section = read_header_section(content, 0, limits.max_header_bytes)
    is_ended = section.body > section.end or section.odd_line
    if not is_ended and len(content) > limits.max_header_bytes:
        raise SendRefused("Header section too long.")
    if section.odd_line.startswith(b":") and limits.keeps_empty_names:
        raise SendRefused("Empty header names are illegal.")
    if limits.keeps_duplicates:
        _check_once_only(content, section)
    if len(section.values.get(b"received", ())) > limits.max_received_headers:
        raise SendRefused("Too many Received headers: the message is in a loop.", "rejected")
    _check_content_type(content, section)
    if b"\0" in content[: section.end]:
        raise SendRefused("The header section has a NUL character.")
    return section


def check_odd_line(content: bytes, section: HeaderSection) -> None:
    """Readers differ on what follows a line that is no header field. Raises SendRefused."""
    if section.odd_line:
        raise SendRefused(f"Line {line_number(content, section.end)} of the header section is no header field.")


def _check_once_only(content: bytes, section: HeaderSection) -> None:
    for name, values in section.values.items():
        if len(values) > 1 and name.decode("ascii", "replace") in ONCE_ONLY_HEADERS:
            as_written = re.search(rb"(?im)^" + re.escape(name) + rb"(?=[ \t]*:)", content[: section.end])
            shown = (as_written[0] if as_written else name).decode("ascii", "replace")
            raise SendRefused(f"Duplicate header '{shown}'.")


def _check_content_type(content: bytes, section: HeaderSection) -> None:
    value = section.first(b"content-type")
    found = _MEDIA_TYPE.match(value)
    if found and found[2] != b"/":
        raise SendRefused(f"Expected '/', got {found[2].decode('ascii', 'replace') or 'end of value'}")
    boundary = _BOUNDARY.match(value)
    if boundary and content.find(b"--" + (boundary[1] or boundary[2]), section.end) < 0:
        raise SendRefused("Missing start boundary")
