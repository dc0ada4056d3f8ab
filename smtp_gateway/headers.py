"""The header section: our Received line, and the few facts the gateway reads. Pure, on bytes.

Nothing is parsed with the email package: it raises on hostile input and costs more than all the rest. One bounded
look at the lines finds three names; what is odd is not an error here, it is only not known.
"""

import re
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache

MAX_HEADER_MESSAGE_ID = 250

_SANE_MESSAGE_ID = re.compile(rb"<?([\x21-\x3b\x3d\x3f-\x7e]{1,%d})>?" % MAX_HEADER_MESSAGE_ID)
# A header field or a line that continues one. Any other line ends the header section as an empty one does.
_OF_A_HEADER = re.compile(rb"[ \t]|[\x21-\x39\x3b-\x7e]+[ \t]*:")
_FIRST_LETTERS = frozenset(b"rRmMaA")
# A client's own name: letters of a domain or of an address literal, else it is not shown.
_CLIENT_NAME = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """What the gateway wants to know of a header section."""

    received_lines: int
    #: Without angle brackets; "" when it is missing or not sane.
    header_message_id: str
    #: RFC 3834: made by a program as an answer, never to be answered.
    is_auto_submitted: bool
    #: Where it ends in the content: before the empty line, or where the look at it ended.
    end: int
    #: More than `max_bytes`; what lies behind them was not looked at.
    is_too_long: bool = False


def header_facts(content: bytes, start: int = 0, *, max_bytes: int) -> HeaderFacts:
    """Reads the header section that begins at `start`, at most `max_bytes` of it."""
    bound = start + max_bytes
    # No header at all begins with the empty line; else it ends before one, whose CRLF is not counted.
    is_empty = content.startswith(b"\r\n", start)
    end = start if is_empty else content.find(b"\r\n\r\n", start, bound + 2)
    stop = end if end >= 0 else min(bound, len(content))
    lines = content[start:stop].split(b"\r\n")
    received, message_id, auto_submitted = 0, b"", b""
    for index, line in enumerate(lines):
        if not line or line[0] not in _FIRST_LETTERS:
            continue
        name, colon, value = line.partition(b":")
        match (name.rstrip(b" \t") + colon).lower():
            case b"received:":
                received += 1
            case b"message-id:" if not message_id:
                message_id = _unfolded(value, lines, index)
            case b"auto-submitted:" if not auto_submitted:
                auto_submitted = _unfolded(value, lines, index)
    sane = _SANE_MESSAGE_ID.fullmatch(message_id)
    return HeaderFacts(
        received_lines=received,
        header_message_id=sane[1].decode("ascii") if sane else "",
        is_auto_submitted=_keyword(auto_submitted) not in {b"", b"no"},
        end=stop,
        is_too_long=end < 0 and len(content) > bound and all(map(_OF_A_HEADER.match, lines[:-1])),
    )


def _unfolded(value: bytes, lines: list[bytes], index: int) -> bytes:
    """The value with the first continuation line, which is where mailers put a long Message-ID."""
    if index + 1 < len(lines) and lines[index + 1][:1] in {b" ", b"\t"}:
        value += lines[index + 1]
    return value.strip()


def _keyword(value: bytes) -> bytes:
    return re.split(rb"[;\s(]", value, maxsplit=1)[0].lower()


def protocol_name(*, is_extended: bool, is_smtputf8: bool, has_tls: bool, is_authenticated: bool) -> str:
    """The word after `with` (RFC 3848, RFC 6531): SMTP, ESMTP, ESMTPS, ESMTPA, ESMTPSA, UTF8SMTP and so on."""
    if not is_extended:
        return "SMTP"
    word = "UTF8SMTP" if is_smtputf8 else "ESMTP"
    return word + ("S" if has_tls else "") + ("A" if is_authenticated else "")


def shown_client_name(name: str) -> str:
    """The name a client gave itself, when it looks like one; else ""."""
    return name if _CLIENT_NAME.fullmatch(name) else ""


def received_line(
    *, client_name: str, client_address: str, hostname: str, protocol: str, message_id: str, now: float
) -> bytes:
    """Our Received line without its last CRLF. No user name, and no recipient: one may be a Bcc of another."""
    shown_name = shown_client_name(client_name) or "unknown"
    literal = f"IPv6:{client_address}" if ":" in client_address else client_address
    text = (
        f"Received: from {shown_name} ([{literal}])\r\n"
        f"\tby {hostname} with {protocol}\r\n"
        f"\tid {message_id}; {_date(int(now))}"
    )
    return text.encode("ascii", "replace")


@lru_cache(maxsize=4)
def _date(now_seconds: int) -> str:
    return formatdate(now_seconds, localtime=False).replace("-0000", "+0000")
