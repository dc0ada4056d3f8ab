"""Makes a MIME message of a subject, texts and attachments, as SendEmail does. Pure.

Nothing that a sender gives can become a header of its own: values with line breaks or other control characters are
refused, the rest is encoded. Lines end with CRLF and fit into 78 characters where they can be folded. Bcc is never
written. Date and Message-ID are not either: SES sets its own.
"""

import base64
import binascii
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from email.header import Header
from mimetypes import guess_type
from typing import Any, Final
from urllib.parse import quote

from aws_api.message_flow.line_ends import long_lines, with_crlf
from aws_api.ses.addresses import Mailbox
from aws_api.ses.refusals import SendRefused
from spool.header_text import codec_named

_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ATOMS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_CONTENT_TYPE: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:\s*;[ -~]*)?")
_FOLD: Final = "\r\n"
_PIECE_CHARACTERS: Final = 60
_LINE_CHARACTERS: Final = 76
#: A line of a header may have 998; a longer word can only be encoded.
_LONGEST_WORD: Final = 900
_CHARSET_NAME: Final = re.compile(r"[A-Za-z0-9._:-]{1,40}")
#: More than any header section may have (`[smtp] max_header_bytes`); folding and encoding such a value costs.
_MOST_VALUE_CHARACTERS: Final = 1024 * 1024
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
    lines = [f"{name}: {_listed(boxes)}" for name, boxes in addresses.items() if boxes]
    subject = content["Subject"]
    lines.append(f"Subject: {_header_text('Subject', _in_charset(subject)[0])}")
    for name, value in headers:
        if name.lower() in OWN_HEADERS:
            raise SendRefused(f"Header '{name}' cannot be set: it is made of the other parameters.")
        lines.append(f"{name}: {_header_text(name, value)}")
    lines.append("MIME-Version: 1.0")
    body = _with_attachments(_texts(content.get("Body", {})), content.get("Attachments", ()))
    return "\r\n".join([*lines, ""]).encode("ascii") + body


def _listed(boxes: Sequence[Mailbox]) -> str:
    return ",\r\n ".join(_shown(box) for box in boxes)


def _shown(box: Mailbox) -> str:
    if not box.name:
        return box.address
    _check_controls("address", box.name)
    if not box.name.isascii():
        return f"{Header(box.name, 'utf-8').encode(linesep=_FOLD)} <{box.address}>"
    if _ATOMS.fullmatch(box.name):
        return f"{box.name} <{box.address}>"
    quoted = re.sub(r'(["\\])', r"\\\1", box.name)
    return f'"{quoted}" <{box.address}>'


def _header_text(name: str, value: str) -> str:
    _check_controls(name, value)
    if not value.isascii() or any(len(word) > _LONGEST_WORD for word in value.split(" ")):
        return Header(value, "utf-8", header_name=name).encode(linesep=_FOLD)
    if len(name) + len(value) < _LINE_CHARACTERS:
        return value
    lines: list[str] = []
    line, has_word = "", False
    for word in value.split(" "):
        if has_word and word and len(line) + len(word) > _LINE_CHARACTERS - (0 if lines else len(name) + 1):
            lines.append(line)
            line, has_word = "", False
        line += f" {word}"
        has_word = has_word or bool(word)
    return "\r\n".join([*lines, line])[1:]


def _check_controls(name: str, value: str) -> None:
    if _CONTROL.search(value):
        raise SendRefused(f"Control characters are not allowed in '{name}'.")
    if len(value) > _MOST_VALUE_CHARACTERS:
        raise SendRefused("Header section too long.")


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
    return parts[0] if len(parts) == 1 else _multipart("alternative", parts)


def _text_part(kind: str, text: Mapping[str, str]) -> bytes:
    lines = text["Data"].replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
    _, charset, raw = _in_charset({**text, "Data": lines})
    encoding, written = _transferable(raw)
    return _part(f"Content-Type: text/{kind}; charset={charset}", encoding, written)


def _transferable(raw: bytes) -> tuple[str, bytes]:
    """Transfer encoding and text: 7bit where it can be, else what is shorter."""
    if raw.isascii() and b"\0" not in raw and not _has_long_line(raw):
        return "7bit", raw
    if b"\0" not in raw and 6 * len(raw.translate(None, bytes(range(128)))) < len(raw):
        return "quoted-printable", with_crlf(binascii.b2a_qp(raw, istext=True))
    return "base64", _base64(raw)


def _has_long_line(raw: bytes) -> bool:
    return next(long_lines(raw), None) is not None


def _base64(raw: bytes) -> bytes:
    return base64.encodebytes(raw).replace(b"\n", b"\r\n")


def _part(head: str, encoding: str, written: bytes) -> bytes:
    return f"{head}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode("ascii") + written


def _multipart(kind: str, parts: Sequence[bytes]) -> bytes:
    boundary = f"=_{uuid.uuid4().hex}"
    pieces = [f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'.encode("ascii")]
    for part in parts:
        pieces += [f"--{boundary}\r\n".encode("ascii"), part, b"\r\n"]
    return b"".join([*pieces, f"--{boundary}--\r\n".encode("ascii")])


def _with_attachments(body: bytes, attachments: Sequence[Mapping[str, Any]]) -> bytes:
    inline = [_attachment(one) for one in attachments if one.get("ContentDisposition") == "INLINE"]
    others = [_attachment(one) for one in attachments if one.get("ContentDisposition") != "INLINE"]
    if inline:
        body = _multipart("related", [body, *inline])
    return _multipart("mixed", [body, *others]) if others else body


def _attachment(one: Mapping[str, Any]) -> bytes:
    for name in ("FileName", "ContentType", "ContentId", "ContentDescription"):
        _check_controls(name, one.get(name, ""))
    file_name = one["FileName"]
    content_type = one.get("ContentType") or guess_type(file_name, strict=False)[0] or "application/octet-stream"
    if not _CONTENT_TYPE.fullmatch(content_type):
        raise SendRefused(f"Invalid content type <{content_type}>.")
    disposition = "inline" if one.get("ContentDisposition") == "INLINE" else "attachment"
    lines = [f"Content-Type: {content_type}", f"Content-Disposition: {disposition};\r\n {_file_name(file_name)}"]
    if content_id := one.get("ContentId", "").strip("<>"):
        if not re.fullmatch(r"[!-;=?-~]+", content_id):
            raise SendRefused(f"Invalid content id <{content_id}>.")
        lines.append(f"Content-ID: <{content_id}>")
    if description := one.get("ContentDescription"):
        lines.append(f"Content-Description: {_header_text('Content-Description', description)}")
    encoding, written = _encoded_attachment(one["RawContent"], one.get("ContentTransferEncoding", "BASE64"))
    return _part("\r\n".join(lines), encoding, written)


def _file_name(name: str) -> str:
    if not name.isascii():  # in pieces of a line each (RFC 2231 section 3)
        letters, pieces = [quote(letter, safe="") for letter in name], ["utf-8''"]
        for letter in letters:
            if len(pieces[-1]) + len(letter) > _PIECE_CHARACTERS:
                pieces.append("")
            pieces[-1] += letter
        return ";\r\n ".join(f"filename*{number}*={piece}" for number, piece in enumerate(pieces))
    quoted = re.sub(r'(["\\])', r"\\\1", name)
    return f'filename="{quoted}"'


def _encoded_attachment(raw: bytes, encoding: str) -> tuple[str, bytes]:
    match encoding:
        case "QUOTED_PRINTABLE":
            return "quoted-printable", with_crlf(binascii.b2a_qp(raw, istext=False))
        case "SEVEN_BIT":
            lines = with_crlf(raw)
            if not lines.isascii() or b"\0" in lines or b"\r" in lines.replace(b"\r\n", b"") or _has_long_line(lines):
                raise SendRefused("An attachment with SEVEN_BIT must be ASCII text in lines of at most 998 characters.")
            return "7bit", lines
        case _:
            return "base64", _base64(raw)
