"""The parts that a composed message is built of: their heads, their transfer encodings, and multiparts. Pure.

Every part ends where the next boundary begins; lines end with CRLF.
"""

import base64
import binascii
import uuid
from collections.abc import Sequence

from aws_api.message_flow.line_ends import count_of_bare_cr, has_bare_lf, long_lines, with_crlf


def part(head: str, encoding: str, written: bytes) -> bytes:
    """One part; `head` is its header lines, `written` its content in that encoding."""
    return f"{head}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode("ascii") + written


def multipart(kind: str, parts: Sequence[bytes]) -> bytes:
    """Several as one. It says 8bit when one of them is, as RFC 2045 section 6.4 asks."""
    boundary = f"=_{uuid.uuid4().hex}"
    head = f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n'
    if not all(map(bytes.isascii, parts)):
        head += "Content-Transfer-Encoding: 8bit\r\n"
    pieces = [f"{head}\r\n".encode("ascii")]
    for one in parts:
        pieces += [f"--{boundary}\r\n".encode("ascii"), one, b"\r\n"]
    return b"".join([*pieces, f"--{boundary}--\r\n".encode("ascii")])


def transferable(raw: bytes) -> tuple[str, bytes]:
    """Transfer encoding of a text, and the text in it: 7bit where it can be, else what is shorter."""
    if raw.isascii() and b"\0" not in raw and not _has_long_line(raw):
        return "7bit", raw
    if b"\0" not in raw and 6 * len(raw.translate(None, bytes(range(128)))) < len(raw):
        return "quoted-printable", with_crlf(binascii.b2a_qp(raw, istext=True))
    return "base64", in_base64(raw)


def in_base64(raw: bytes) -> bytes:
    """Lines of base64."""
    return base64.encodebytes(raw).replace(b"\n", b"\r\n")


def in_lines(raw: bytes) -> bytes | None:
    """As 7bit and 8bit have it: lines of at most 998 bytes that end with CRLF, without NUL; None = it cannot be."""
    lines = with_crlf(raw)
    return None if b"\0" in lines or count_of_bare_cr(lines) or _has_long_line(lines) else lines


def as_it_is(raw: bytes) -> tuple[str, bytes] | None:
    """7bit or 8bit, and the content in lines; None = it would arrive as something else.

    Where all lines end with LF they are a file of Unix and get CRLF; a mixture is left alone.
    """
    lines = None if b"\r" in raw and has_bare_lf(raw) else in_lines(raw)
    return None if lines is None else ("7bit" if lines.isascii() else "8bit", lines)


def _has_long_line(raw: bytes) -> bool:
    return next(long_lines(raw), None) is not None
