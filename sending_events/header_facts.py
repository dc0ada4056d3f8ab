"""What events tell of a header section: the list `headers` and the addresses, subject and date of `commonHeaders`.

As SES has them ("Contents of event data: mail object"): values of `headers` are the ones that were sent, unfolded and
otherwise as they are written; those of `commonHeaders` are as people read them, names without quotes and encoded words
decoded. Any bytes have an answer: what is no header is left out, text that is no UTF-8 is shown with U+FFFD. Linear in
what is read. A Bcc is told nowhere: SES would not have got it either.
"""

import re
from dataclasses import dataclass

import orjson

from spool.header_addresses import mailboxes
from spool.header_text import decoded_words

_NAME = re.compile(r"[!-9;-~]+")
# A lone address, also in angle brackets, or a name of plain words before one: most values.
_BARE = re.compile(r"(<)?([A-Za-z0-9!#$%&'*+/=^_`{|}~.-]+@[A-Za-z0-9.-]+)(?(1)>)")
_NAMED = re.compile(r"\"?([A-Za-z0-9][A-Za-z0-9 ._-]*)\"? ?<([A-Za-z0-9!#$%&'*+/=^_`{|}~.-]+@[A-Za-z0-9.-]+)>")
_QUOTED_PAIR = re.compile(r"\\(.)")
_UNTOLD = "-"
#: Header in lower case → member of commonHeaders.
_COMMON = {
    "from": "from",
    "to": "to",
    "cc": "cc",
    "reply-to": "replyTo",
    "subject": "subject",
    "date": "date",
    "bcc": _UNTOLD,
    "resent-bcc": _UNTOLD,
}
_TEXTS = frozenset({"subject", "date"})


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """Of one message. `fields` is the JSON of the list, made once for all events of the message."""

    fields: orjson.Fragment
    #: Members of commonHeaders without messageId; only those whose header is there.
    common: dict[str, str | list[str]]
    #: Of the first address in From, in lower case; "" without one.
    from_domain: str
    #: There was more than is told.
    is_truncated: bool


def facts_of(section: bytes, *, is_truncated: bool) -> HeaderFacts:
    """The facts of a header section, or of the beginning of one."""
    told: list[dict[str, str]] = []
    common: dict[str, str | list[str]] = {}
    from_domain = ""
    for name, written in _fields(section.decode("utf-8", "replace")):
        value = written.rstrip(" \t\r")
        member = _COMMON.get(name.lower(), "")
        if member == _UNTOLD:
            continue
        told.append({"name": name, "value": value})
        if not member or member in common:
            continue
        if member in _TEXTS:
            common[member] = decoded_words(value) if "=?" in value else value
        else:
            common[member] = shown = _shown_addresses(value)
            if member == "from" and shown:
                from_domain = shown[0].rstrip(">").rpartition("@")[2].lower()
    return HeaderFacts(orjson.Fragment(orjson.dumps(told)), common, from_domain, is_truncated)


def _fields(section: str) -> list[tuple[str, str]]:
    """Names and unfolded values. The empty line ends the section. No regular expression: three times as fast."""
    found: list[tuple[str, str]] = []
    is_field = False
    for line in section.split("\n"):
        if line[:1] in {" ", "\t"}:
            if is_field:
                name, value = found[-1]
                found[-1] = (name, value.rstrip("\r") + line)
            continue
        name, colon, value = line.partition(":")
        if not colon and line in {"", "\r"}:
            break
        name = name.rstrip(" \t")
        is_field = bool(colon) and ((name.replace("-", "").isalnum() and name.isascii()) or _is_name(name))
        if is_field:
            found.append((name, value.lstrip(" \t")))
    return found


def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def _shown_addresses(value: str) -> list[str]:
    """One entry for each mailbox: `Jane Doe <jane@example.com>`, or the address alone."""
    if found := _BARE.fullmatch(value):
        return [found[2]]
    if found := _NAMED.fullmatch(value):
        return [f"{found[1].rstrip()} <{found[2]}>"]
    boxes = mailboxes(value.encode("utf-8"))
    return [
        _shown(box.named.decode("utf-8", "replace"), box.address.decode("utf-8", "replace"))
        for box in boxes
        if box.address
    ]


def _shown(named: str, address: str) -> str:
    if named == address:
        return address
    phrase = decoded_words(named.rpartition("<")[0].strip(" \t"))
    if phrase[:1] == phrase[-1:] == '"' and len(phrase) > 1:
        phrase = _QUOTED_PAIR.sub(r"\1", phrase[1:-1])
    return f"{phrase} <{address}>" if phrase else address
