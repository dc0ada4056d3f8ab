"""What is taken out of a message before SES sees it, on raw bytes; everything else stays as it is (promise P5).

`Bcc`, `Resent-Bcc`, `X-SES-*` and our own `X-Sluice-*` headers are removed. What X-SES-* headers say was read when the
message was accepted (spool/ses_headers.py) and becomes parameters of the call; of mail that no sender's door took, the
tags of the first `X-SES-MESSAGE-TAGS` do.

The header section ends at the first empty line, whether its lines end with CRLF or with LF. A lone CR ends nothing:
RFC 5322 gives it no meaning, and guessing one could cut a header in two. Every pattern below is linear.
"""

import re

from spool.ses_headers import parse_tags

# From the beginning of a line: the name, blanks before the colon as old mailers write them, all continuation lines.
_VALUE = rb"[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)(?:\n|\Z)"
_REMOVED = re.compile(rb"(?im)^(?:(?:resent-)?bcc|x-(?:ses|sluice)-[!-9;-~]*)" + _VALUE)
_TAGS = re.compile(rb"(?im)^x-ses-message-tags" + _VALUE)
_EMPTY_LINE = re.compile(rb"\n\r?\n")


def without_private_headers(content: bytes) -> tuple[bytes, dict[str, str]]:
    """The content to send, and the application's tags. The same object comes back when nothing is removed."""
    head = content[: header_end(content)]
    if not _REMOVED.search(head):
        return content, {}
    found = _TAGS.search(head)
    tags = parse_tags(found[1].decode("ascii", "replace")) if found else {}
    return _REMOVED.sub(b"", head) + content[len(head) :], tags


def header_end(content: bytes) -> int:
    """Length of the header section with its last line end, without the empty line."""
    if content.startswith((b"\r\n", b"\n")):
        return 0
    found = _EMPTY_LINE.search(content)
    return found.start() + 1 if found else len(content)
