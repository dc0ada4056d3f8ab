"""Makes a MIME message of a subject, texts and attachments, as SendEmail does. Pure.

Nothing that a sender gives can become a header of its own (header_writing.py says how). Lines end with CRLF. Bcc is
never written. Date and Message-ID are not either: SES sets its own.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from aws_api.ses.addresses import Mailbox
from aws_api.ses.attachments import attachment
from aws_api.ses.header_writing import address_header, text_header
from aws_api.ses.mime_parts import multipart, part, transferable
from aws_api.ses.refusals import SendRefused
from spool.header_text import codec_named

_CHARSET_NAME: Final = re.compile(r"[A-Za-z0-9._:-]{1,40}")
#: Headers that SendEmail makes itself or SES replaces (SES developer guide, "Header fields in Amazon SES").
OWN_HEADERS: Final = frozenset(
    {
        "bcc", "cc", "content-disposition", "content-transfer-encoding", "content-type", "date", "from", "message-id",
        "mime-version", "reply-to", "return-path", "subject", "to",
    }
)  # fmt: skip


def composed(
    addresses: Mapping[str, Sequence[Mailbox]], content: Mapping[str, Any], headers: Iterable[tuple[str, str]] = ()
) -> bytes:
    """The message. `addresses` by header; `content` as the model has Message or Simple. Raises SendRefused."""
    lines = [address_header(name, boxes) for name, boxes in addresses.items() if boxes]
    lines.append(text_header("Subject", _in_charset(content["Subject"])[0]))
    for name, value in headers:
        if name.lower() in OWN_HEADERS:
            raise SendRefused(f"Header '{name}' cannot be set: it is made of the other parameters.")
        lines.append(text_header(name, value))
    lines.append("MIME-Version: 1.0")
    body = _with_attachments(_texts(content.get("Body", {})), content.get("Attachments", ()))
    return "\r\n".join([*lines, ""]).encode("ascii") + body


def _in_charset(text: Mapping[str, str]) -> tuple[str, str, bytes]:
    """The text, the charset it is written in, and its bytes; UTF-8 when its own charset does not have all of it."""
    data, charset = text["Data"], text.get("Charset") or ("us-ascii" if text["Data"].isascii() else "utf-8")
    codec = codec_named(charset)  # not asked of Python, which keeps every name for ever
    if not codec:
        raise SendRefused(f"Unsupported charset <{charset[:100]}>.")
    if not _CHARSET_NAME.fullmatch(charset):
        charset = codec
    with suppress(UnicodeError):
        raw = data.encode(codec)
        if raw.decode(codec) == data:  # Shift_JIS writes a yen sign as a backslash, and nobody could tell
            return data, charset, raw
    return data, "utf-8", data.encode("utf-8", "replace")


def _texts(body: Mapping[str, Any]) -> bytes:
    """text/plain, text/html, or both as alternatives; nothing = an empty text. Raises SendRefused."""
    parts = [_text_part(kind, body[member]) for member, kind in (("Text", "plain"), ("Html", "html")) if member in body]
    if not parts:
        return _text_part("plain", {"Data": ""})
    return parts[0] if len(parts) == 1 else multipart("alternative", parts)


def _text_part(kind: str, text: Mapping[str, str]) -> bytes:
    lines = text["Data"].replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
    _, charset, raw = _in_charset({**text, "Data": lines})
    encoding, written = transferable(raw)
    return part(f"Content-Type: text/{kind}; charset={charset}", encoding, written)


def _with_attachments(body: bytes, attachments: Sequence[Mapping[str, Any]]) -> bytes:
    inline = [attachment(one) for one in attachments if one.get("ContentDisposition") == "INLINE"]
    others = [attachment(one) for one in attachments if one.get("ContentDisposition") != "INLINE"]
    if inline:
        body = multipart("related", [body, *inline])
    return multipart("mixed", [body, *others]) if others else body
