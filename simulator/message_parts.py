"""A raw message opened for the page: headers in readable form, and its leaf parts.

Hostile mail is the normal case here, and the stdlib parser raises nearly anything on it. Everything that touches it
is in this file and degrades: a message that cannot be opened has a `problem` and no parts, never an exception.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message

#: beyond these the page shows the source only, or less
MAX_OPENED_BYTES = 10 * 1024 * 1024
MAX_PARTS = 100
MAX_HEADERS = 200
MAX_SHOWN_CHARACTERS = 200_000
MAX_HEADER_CHARACTERS = 4_000

_UNSAFE_IN_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Part:
    """A leaf of the MIME tree; `text` is set for text parts that are no attachments."""

    number: int
    content_type: str
    file_name: str | None
    size_bytes: int
    text: str | None

    @property
    def is_html(self) -> bool:
        return self.content_type == "text/html"


@dataclass(frozen=True, slots=True)
class OpenedMessage:
    """What the page shows; `problem` says why parts are missing."""

    headers: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]
    problem: str | None = None


def open_message(raw: bytes) -> OpenedMessage:
    """Parse for display."""
    if len(raw) > MAX_OPENED_BYTES:
        return OpenedMessage((), (), "The message is too large to be opened here; its source can be read.")
    try:
        parsed = message_from_bytes(raw)
        headers = tuple(
            (readable(name), readable(str(value))[:MAX_HEADER_CHARACTERS])
            for name, value in list(parsed.raw_items())[:MAX_HEADERS]
        )
        parts = tuple(_part(number, leaf) for number, leaf in enumerate(_leaves(parsed)))
    except Exception:  # noqa: BLE001 -- the parser raises nearly anything on hostile mail
        return OpenedMessage((), (), "The message could not be taken apart; its source can be read.")
    return OpenedMessage(headers, parts)


def content_of_part(raw: bytes, number: int) -> tuple[str, bytes] | None:
    """A safe file name and the decoded bytes of one part, or None when there is no such part."""
    if len(raw) > MAX_OPENED_BYTES:
        return None
    try:
        for position, leaf in enumerate(_leaves(message_from_bytes(raw))):
            if position == number:
                return safe_file_name(_file_name(leaf), number), _decoded(leaf)
    except Exception:  # noqa: BLE001 -- as above
        return None
    return None


def safe_file_name(written: str | None, number: int) -> str:
    """A name that no shell, file system or header minds."""
    name = _UNSAFE_IN_NAME.sub("_", (written or "").replace("\\", "/").rpartition("/")[2])
    return name.lstrip("._-")[-80:] or f"part-{number}.bin"


def readable(written: str) -> str:
    """A header value with encoded words decoded and without line breaks; as it was where that fails."""
    cleaned = written.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    unfolded = re.sub(r"\r?\n[ \t]*", " ", cleaned)
    if "=?" not in unfolded:
        return unfolded
    try:
        return _without_surrogates(str(make_header(decode_header(unfolded[:MAX_HEADER_CHARACTERS]))))
    except Exception:  # noqa: BLE001 -- as above
        return unfolded


def _leaves(parsed: Message) -> Iterator[Message]:
    found = 0
    for part in parsed.walk():
        if part.is_multipart():
            continue  # its inside is walked next
        yield part
        found += 1
        if found >= MAX_PARTS:
            return


def _part(number: int, leaf: Message) -> Part:
    content = _decoded(leaf)
    file_name = _file_name(leaf)
    is_text = leaf.get_content_maintype() == "text" and leaf.get_content_disposition() != "attachment"
    return Part(
        number=number,
        content_type=_without_surrogates(leaf.get_content_type())[:100],
        file_name=readable(file_name)[:200] if file_name else None,
        size_bytes=len(content),
        text=_as_text(content, leaf.get_content_charset()) if is_text else None,
    )


def _file_name(leaf: Message) -> str | None:
    try:
        return leaf.get_filename()
    except Exception:  # noqa: BLE001 -- as above; a part without a name is still worth showing
        return None


def _decoded(leaf: Message) -> bytes:
    content = leaf.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _as_text(content: bytes, charset: str | None) -> str:
    try:
        text = content.decode(charset or "utf-8", "replace")
    except (LookupError, UnicodeError, ValueError):
        text = content.decode("utf-8", "replace")
    text = _without_surrogates(text)
    if len(text) > MAX_SHOWN_CHARACTERS:
        return text[:MAX_SHOWN_CHARACTERS] + "\n[cut here: the source has the rest]"
    return text


def _without_surrogates(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
