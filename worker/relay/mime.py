"""What is taken out of a message before SES sees it, on raw bytes; everything else stays as it is (promise P5).

`Bcc`, `Resent-Bcc`, `X-SES-*` and our own `X-Sluice-*` headers are removed; the tags of the first `X-SES-MESSAGE-TAGS`
become parameters of the call, because SES lets call parameters replace that header and our own tag is always there.

The header section ends at the first empty line, whether its lines end with CRLF or with LF. A lone CR ends nothing:
RFC 5322 gives it no meaning, and guessing one could cut a header in two. Every pattern below is linear.
"""

import re

# From the beginning of a line: the name, blanks before the colon as old mailers write them, all continuation lines.
_VALUE = rb"[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)(?:\n|\Z)"
_REMOVED = re.compile(rb"(?im)^(?:(?:resent-)?bcc|x-(?:ses|sluice)-[!-9;-~]*)" + _VALUE)
_TAGS = re.compile(rb"(?im)^x-ses-message-tags" + _VALUE)
_EMPTY_LINE = re.compile(rb"\n\r?\n")
# SES: names [A-Za-z0-9_-], values also . and @, at most 255 characters (SendRawEmail reference, MessageTag).
_TAG = re.compile(r"\s*([A-Za-z0-9_-]{1,255})\s*=\s*([A-Za-z0-9_.@-]{1,255})\s*")
MAX_TAGS = 49  # SES takes 50, one is ours
_MAX_TAGS_CHARACTERS = 49 * 600


def without_private_headers(content: bytes) -> tuple[bytes, dict[str, str]]:
    """The content to send, and the application's tags. The same object comes back when nothing is removed."""
    head = content[: header_end(content)]
    if not _REMOVED.search(head):
        return content, {}
    found = _TAGS.search(head)
    tags = parse_tags(found[1].decode("ascii", "replace")) if found else {}
    return _REMOVED.sub(b"", head) + content[len(head) :], tags


def parse_tags(text: str) -> dict[str, str]:
    """`a=b, c=d` as SES reads it; pieces that SES would refuse are left out."""
    tags: dict[str, str] = {}
    for piece in text[:_MAX_TAGS_CHARACTERS].split(","):
        if (match := _TAG.fullmatch(piece)) and len(tags) < MAX_TAGS:
            tags.setdefault(match[1], match[2])
    return tags


def header_end(content: bytes) -> int:
    """Length of the header section with its last line end, without the empty line."""
    if content.startswith((b"\r\n", b"\n")):
        return 0
    found = _EMPTY_LINE.search(content)
    return found.start() + 1 if found else len(content)
