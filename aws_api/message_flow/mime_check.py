"""May a function's update stand in for the message? PutRawMessageContent's MIME criteria, as a list of checks.

The contract of AWS (type RawMessageContent): multiparts well-formed, attachments of types that SES takes, lines of at
most 1,000 bytes, required headers there, immutable headers unchanged, once-only headers once. AWS does not say which
headers are required or immutable: required here are From and Date (RFC 5322 section 3.6), immutable is a setting, and
Message-ID must stay when it was there.

Guarantees that what the message had when it was accepted is no reason: each check asks what is wrong with the update
and was not wrong before. So a function can always put back what it got. Raises nothing but MessageRejected, whatever
the bytes are; time is linear in the two contents.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aws_api.message_flow.header_fields import HeaderSection, comparable, read_header_section
from aws_api.message_flow.line_ends import (
    MAX_LINE_BYTES,
    count_of,
    count_of_bare_cr,
    line_number,
    long_lines,
    position_of_bare_cr,
    size_with_crlf,
    text_hash,
    with_crlf,
)
from aws_api.message_flow.mime_flaws import mime_flaws, shown_text
from aws_api.message_flow.once_only_headers import ONCE_ONLY_HEADERS
from config.errors import Refused
from config.settings import Settings

REQUIRED = ("From", "Date")
#: A message without them is incomplete: they may be added, though not changed.
MAY_BE_ADDED = frozenset({"from", "date", "message-id"})
#: The door's own Received line comes on top of what a client may send.
SPARE_HEADER_BYTES = 4096


class MessageRejected(Refused):
    """The update cannot be taken; `reason` says what is wrong and where."""


@dataclass(frozen=True, slots=True)
class _Update:
    """Both contents with CRLF, their header sections, and the limits."""

    content: bytes
    before: bytes
    section: HeaderSection
    section_before: HeaderSection
    settings: Settings


def check_update(new: bytes, original: bytes, settings: Settings) -> bytes:
    """The new content with CRLF at the end of each line. Raises MessageRejected."""
    limit = max(settings.smtp.max_message_bytes, len(original))
    if (size_bytes := size_with_crlf(new)) > limit:
        raise MessageRejected(f"The message is too large: {size_bytes} bytes, allowed: {limit}.")
    content, before = with_crlf(new), with_crlf(original)
    if content == before:
        return content
    header_limit = settings.smtp.max_header_bytes + SPARE_HEADER_BYTES
    update = _Update(
        content,
        before,
        read_header_section(content, 0, header_limit + 1),
        read_header_section(before, 0, header_limit + 1),
        settings,
    )
    for check in CHECKS:
        for reason in check(update):
            raise MessageRejected(f"{reason[0].upper()}{reason[1:]}.")
    return content


def _bare_cr(update: _Update) -> Iterator[str]:
    if count_of_bare_cr(update.content) > count_of_bare_cr(update.before):
        line = line_number(update.content, position_of_bare_cr(update.content))
        yield f"line {line} has a carriage return without a line feed"


def _zero_bytes(update: _Update) -> Iterator[str]:
    if count_of(b"\0", update.content) > count_of(b"\0", update.before):
        yield f"line {line_number(update.content, update.content.index(0))} has a NUL byte"


def _line_length(update: _Update) -> Iterator[str]:
    known: set[int] | None = None
    for start, end in long_lines(update.content):
        if known is None:  # hashes: the lines themselves may be the whole message once more
            known = {one for line in long_lines(update.before) for one in _hashes_of(update.before, *line)}
        if text_hash(update.content, start, end) not in known:
            number = line_number(update.content, start)
            yield f"line {number} is {end - start} bytes long, allowed: {MAX_LINE_BYTES} and the line end"


def _hashes_of(content: bytes, start: int, end: int) -> tuple[int, int]:
    """Of a line, and of a header's value alone: a library that folds anew puts it on a line of its own."""
    colon = content.find(b":", start, end)
    return text_hash(content, start, end), text_hash(content, end if colon < 0 else colon + 1, end)


def _header_size(update: _Update) -> Iterator[str]:
    limit = max(update.settings.smtp.max_header_bytes, update.section_before.end)
    if update.section.end > limit:
        yield f"the header section is longer than {limit} bytes"


def _header_lines(update: _Update) -> Iterator[str]:
    odd = update.section.odd_line
    if odd and odd != update.section_before.odd_line:
        yield f"line {line_number(update.content, update.section.end)} is neither a header nor a continuation of one"


def _required_headers(update: _Update) -> Iterator[str]:
    for name in (*REQUIRED, "Message-ID"):
        key = name.lower().encode("ascii")
        if key in update.section_before.values and key not in update.section.values:
            yield f"the required header {name} is missing"


def _immutable_headers(update: _Update) -> Iterator[str]:
    for name in update.settings.message_flow.immutable_headers:
        key = name.lower().encode("utf-8")
        before = [comparable(value, name) for value in update.section_before.values.get(key, ())]
        now = [comparable(value, name) for value in update.section.values.get(key, ())]
        if update.section_before.odd_line:  # what stands behind it becomes a header again when a library writes it
            now = now[: len(before)]
        if now != before and (before or name.lower() not in MAY_BE_ADDED):
            what = "removed" if not now else "added" if not before else "changed"
            yield f"the immutable header {name} was {what}"


def _once_only_headers(update: _Update) -> Iterator[str]:
    for key, values in update.section.values.items():
        name = key.decode("ascii")
        count_before = len(update.section_before.values.get(key, ()))
        if len(values) > max(1, count_before) and name in ONCE_ONLY_HEADERS:
            yield f"the header {shown_text(name)} stands there {len(values)} times, allowed: once"


def _structure(update: _Update) -> Iterator[str]:
    known: set[tuple[str, str]] | None = None
    for flaw in mime_flaws(update.content, update.section):
        if known is None:
            known = {one.key for one in mime_flaws(update.before, update.section_before)}
        if flaw.key not in known:
            yield f"line {line_number(update.content, flaw.position)}: {flaw.words}"


#: In this order; the first reason is the one that is told.
CHECKS: tuple[Callable[[_Update], Iterator[str]], ...] = (
    _bare_cr,
    _zero_bytes,
    _header_size,
    _header_lines,
    _required_headers,
    _immutable_headers,
    _once_only_headers,
    _line_length,
    _structure,
)
