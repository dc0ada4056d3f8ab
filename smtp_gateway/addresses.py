"""Addresses and parameters of MAIL and RCPT, as values. Pure.

One strict regular expression decides; there is no second, more lenient parser behind it. What SES cannot carry is
refused here, where the client still knows which recipient it was: non-ASCII local parts, address literals, names
without a domain. Domains with non-ASCII letters become punycode. Source routes are read and dropped (RFC 5321 C).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import idna

from smtp_gateway.replies import Reply

# RFC 5321 section 4.5.3.1
MAX_LOCAL_PART_BYTES = 64
MAX_DOMAIN_BYTES = 253

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_STRING = rf"{_ATOM}(?:\.{_ATOM})*"
_QUOTED = r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*"'
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_ADDRESS = re.compile(rf"({_DOT_STRING}|{_QUOTED})@({_DOMAIN})")
# The same with room for letters beyond ASCII: what matches only this is converted or refused.
_WIDE = r"[^\x00-\x20\x7f-\xa0\"(),:;<>@\[\\\]\s\ud800-\udfff]+"
_WIDE_ADDRESS = re.compile(rf"({_WIDE}|{_QUOTED})@({_WIDE})")
_PATH = re.compile(r'<(?:@[^:<>"\s]{1,1000}:)?((?:[^<>"\\]|"(?:[^"\\]|\\.)*")*)>(?: +(.*))?', re.DOTALL)
_BARE_PATH = re.compile(r"([^<>\s]+)(?: +(.*))?", re.DOTALL)
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e]+))?")


@dataclass(frozen=True, slots=True)
class MailCommand:
    """MAIL FROM, understood. The null sender <> is ""."""

    sender: str
    declared_bytes: int = 0
    is_smtputf8: bool = False


def parse_mail(argument: str, *, is_extended: bool) -> MailCommand | Reply:
    """What follows `MAIL`; a Reply says what is wrong with it."""
    path = _path(argument, "FROM:")
    if path is None:
        return Reply.BAD_ARGUMENTS
    parameters = _parameters(path[1], is_extended=is_extended)
    if isinstance(parameters, Reply):
        return parameters
    fault = _wrong_mail_parameter(parameters)
    if fault:
        return fault
    sender = address_of(path[0], Reply.BAD_SENDER) if path[0] else ""
    if isinstance(sender, Reply):
        return sender
    return MailCommand(sender, int(parameters.get("SIZE") or 0), "SMTPUTF8" in parameters)


def parse_rcpt(argument: str, *, is_extended: bool) -> str | Reply:
    """What follows `RCPT`: the recipient, or what is wrong with it."""
    path = _path(argument, "TO:")
    if path is None:
        return Reply.BAD_ARGUMENTS
    parameters = _parameters(path[1], is_extended=is_extended)
    if isinstance(parameters, Reply):
        return parameters
    if parameters:
        return Reply.UNKNOWN_PARAMETER
    return address_of(path[0], Reply.BAD_RECIPIENT)


def address_of(text: str, fault: Reply) -> str | Reply:
    """The address in the form SES takes, or `fault`, or the refusal of a non-ASCII local part."""
    match = _ADDRESS.fullmatch(text)
    if match:
        return text if _has_sane_lengths(match[1], match[2]) else fault
    wide = _WIDE_ADDRESS.fullmatch(text)
    if wide is None or text.isascii():
        return fault
    domain = punycode(wide[2])
    if domain is None:
        return fault
    if not wide[1].isascii():
        return Reply.NON_ASCII_LOCAL_PART
    return address_of(f"{wide[1]}@{domain}", fault)


def identity_of(address: str) -> str:
    """What two spellings of one mailbox have in common: the domain's case does not matter, the local part's does."""
    local_part, _, domain = address.rpartition("@")
    return f"{local_part}@{domain.lower()}"


def _has_sane_lengths(local_part: str, domain: str) -> bool:
    return len(local_part) <= MAX_LOCAL_PART_BYTES and len(domain) <= MAX_DOMAIN_BYTES


def punycode(domain: str) -> str | None:
    """A domain with letters beyond ASCII as DNS has it; None when there is no such form."""
    if len(domain) > MAX_DOMAIN_BYTES:  # idna's time grows with the square of a label
        return None
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return None


def _path(argument: str, keyword: str) -> tuple[str, str] | None:
    """(address as written, parameters as written). A space behind the colon and missing brackets are tolerated."""
    if argument[: len(keyword)].upper() != keyword:
        return None
    text = argument[len(keyword) :].strip(" ")
    match = (_PATH if text.startswith("<") else _BARE_PATH).fullmatch(text)
    return (match[1], match[2] or "") if match else None


def _parameters(text: str, *, is_extended: bool) -> dict[str, str | None] | Reply:
    found: dict[str, str | None] = {}
    for word in text.split():
        match = _PARAMETER.fullmatch(word)
        if match is None or match[1].upper() in found:
            return Reply.BAD_PARAMETER
        found[match[1].upper()] = match[2]
    return Reply.UNKNOWN_PARAMETER if found and not is_extended else found


def _is_size(value: str | None) -> bool:
    return value is not None and value.isdecimal() and len(value) <= 20  # RFC 1870: at most 20 digits


# Parameter of MAIL → what its value may be. AUTH= (RFC 4954) is a hint that we do not trust: taken and not used.
MAIL_PARAMETERS: dict[str, Callable[[str | None], bool]] = {
    "SIZE": _is_size,
    "BODY": lambda value: value is not None and value.upper() in {"7BIT", "8BITMIME"},
    "SMTPUTF8": lambda value: value is None,
    "AUTH": lambda value: value is not None,
}


def _wrong_mail_parameter(parameters: dict[str, str | None]) -> Reply | None:
    for name, value in parameters.items():
        is_right = MAIL_PARAMETERS.get(name)
        if is_right is None:
            return Reply.UNKNOWN_PARAMETER
        if not is_right(value):
            return Reply.BAD_PARAMETER
    return None
