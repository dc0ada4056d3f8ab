"""Attachments of SendEmail as MIME parts. Pure.

A mail or a multipart that is attached must not be in base64 or quoted-printable (RFC 2045 section 6.4, RFC 2046
section 5.2.1): readers would take the encoded text for the mail. So it goes as 7bit or 8bit, whatever encoding is
asked for, and where its bytes do not allow that as application/octet-stream, a file. The type that a name says is the
one of the bytes: a packed file (`.csv.gz`) is application/octet-stream and not the text inside.
"""

import binascii
import re
from collections.abc import Mapping
from mimetypes import guess_type
from typing import Any, Final
from urllib.parse import quote

from aws_api.message_flow.line_ends import with_crlf
from aws_api.ses.header_writing import check_controls, text_header
from aws_api.ses.mime_parts import as_it_is, in_base64, in_lines, part
from aws_api.ses.refusals import SendRefused

_CONTENT_TYPE: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:[ \t]*;[ -~]*)?")
_OF_BYTES: Final = "application/octet-stream"
_PIECE_CHARACTERS: Final = 60


def attachment(one: Mapping[str, Any]) -> bytes:
    """The part; `one` as the model has Attachment. Raises SendRefused."""
    for name in ("FileName", "ContentType", "ContentId", "ContentDescription"):
        check_controls(name, one.get(name, ""))
    content_type, encoding, written = _content(one)
    disposition = "inline" if one.get("ContentDisposition") == "INLINE" else "attachment"
    lines = [f"Content-Type: {content_type}", f"Content-Disposition: {disposition};\r\n {_file_name(one['FileName'])}"]
    if content_id := one.get("ContentId", "").strip("<>"):
        if not re.fullmatch(r"[!-;=?-~]+", content_id):
            raise SendRefused(f"Invalid content id <{content_id}>.")
        lines.append(f"Content-ID: <{content_id}>")
    if description := one.get("ContentDescription"):
        lines.append(text_header("Content-Description", description))
    return part("\r\n".join(lines), encoding, written)


def _content(one: Mapping[str, Any]) -> tuple[str, str, bytes]:
    """Content type, transfer encoding, and the content in it."""
    content_type, raw = one.get("ContentType") or _type_of(one["FileName"]), one["RawContent"]
    asked = one.get("ContentTransferEncoding", "BASE64")
    if not _CONTENT_TYPE.fullmatch(content_type):
        raise SendRefused(f"Invalid content type <{content_type}>.")
    if asked != "SEVEN_BIT" and content_type.lower().startswith(("message/", "multipart/")):
        if plain := as_it_is(raw):
            return content_type, *plain
        content_type = _OF_BYTES
    return content_type, *_encoded(raw, asked)


def _type_of(file_name: str) -> str:
    kind, packing = guess_type(file_name, strict=False)
    return kind if kind and not packing else _OF_BYTES


def _encoded(raw: bytes, asked: str) -> tuple[str, bytes]:
    match asked:
        case "QUOTED_PRINTABLE":
            return "quoted-printable", with_crlf(binascii.b2a_qp(raw, istext=False))
        case "SEVEN_BIT":
            lines = in_lines(raw)
            if lines is None or not lines.isascii():
                raise SendRefused("An attachment with SEVEN_BIT must be ASCII text in lines of at most 998 characters.")
            return "7bit", lines
        case _:
            return "base64", in_base64(raw)


def _file_name(name: str) -> str:
    if not name.isascii():  # in pieces of a line each (RFC 2231 section 3)
        letters, pieces = [quote(letter, safe="", errors="replace") for letter in name], ["utf-8''"]
        for letter in letters:
            if len(pieces[-1]) + len(letter) > _PIECE_CHARACTERS:
                pieces.append("")
            pieces[-1] += letter
        return ";\r\n ".join(f"filename*{number}*={piece}" for number, piece in enumerate(pieces))
    quoted = re.sub(r'(["\\])', r"\\\1", name)
    return f'filename="{quoted}"'
