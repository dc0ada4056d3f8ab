"""What a sender says in headers that never leave the house: SES's parameters (X-SES-*), and a key for repeats. Pure.

Both doors read them when a message is accepted. The first of several headers of a name counts, as with SES; what SES
could not take (a name of a set with a blank, a tag with a colon) is not said. Line ends are CRLF or LF; a lone CR ends
nothing. Every pattern is linear, and a section without such headers costs two microseconds.
"""

import re

from spool.send_parameters import SendParameters, nothing_said

#: SES takes so many tags with a call (SendRawEmail reference, MessageTag).
MAX_TAGS = 50
#: Of these the relay adds so many of its own: the batch, and the configuration set.
OWN_TAGS = 2

# SES: names [A-Za-z0-9_-], values also . and @, at most 255 characters (SendRawEmail reference, MessageTag).
_TAG = re.compile(r"\s*([A-Za-z0-9_-]{1,255})\s*=\s*([A-Za-z0-9_.@-]{1,255})\s*")
_MAX_TAGS_CHARACTERS = 49 * 600
_SET_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
# SES looks at the rest of it.
_ARN = re.compile(r"arn:[!-~]{1,1020}")
_KEY = re.compile(r"[!-~]{1,255}")

_MARKS = (b"x-ses-", b"x-sluice-idempotency-key")
_LINES = re.compile(
    rb"(?im)^(x-ses-(?:configuration-set|message-tags|(?:source|from|return-path)-arn)|x-sluice-idempotency-key)"
    rb"[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)"
)
_FOLD = re.compile(r"\r?\n[ \t]+")


def parameters_of(header_section: bytes, operation: str) -> SendParameters:
    """The parameters that the headers give."""
    said = _said(header_section, _MARKS[0])
    if not said:
        return nothing_said(operation)
    return SendParameters(
        operation=operation,
        configuration_set=_proper(_SET_NAME, said.get("x-ses-configuration-set", "")),
        tags=tuple(parse_tags(said.get("x-ses-message-tags", "")).items()),
        source_arn=_proper(_ARN, said.get("x-ses-source-arn", "")),
        from_arn=_proper(_ARN, said.get("x-ses-from-arn", "")),
        return_path_arn=_proper(_ARN, said.get("x-ses-return-path-arn", "")),
    )


def idempotency_key_of(header_section: bytes) -> str:
    """X-Sluice-Idempotency-Key; "" without one, or when it is not 1 to 255 visible ASCII characters."""
    return _proper(_KEY, _said(header_section, _MARKS[1]).get("x-sluice-idempotency-key", ""))


def parse_tags(text: str) -> dict[str, str]:
    """`a=b, c=d` as SES reads it; pieces that SES would refuse are left out."""
    tags: dict[str, str] = {}
    for piece in text[:_MAX_TAGS_CHARACTERS].split(","):
        if (match := _TAG.fullmatch(piece)) and len(tags) < MAX_TAGS:
            tags.setdefault(match[1], match[2])
    return tags


def _said(section: bytes, mark: bytes) -> dict[str, str]:
    """Name in lower case → value without folds, of headers that may begin with the mark."""
    if mark not in section.lower():
        return {}
    found: dict[str, str] = {}
    for match in _LINES.finditer(section):
        found.setdefault(match[1].decode("ascii").lower(), _FOLD.sub(" ", match[2].decode("ascii", "replace")).strip())
    return found


def _proper(form: re.Pattern[str], text: str) -> str:
    return text if form.fullmatch(text) else ""
