"""Addresses as SES takes them, with its own texts for those that it does not. Pure.

SES wants 7-bit ASCII. A domain with other letters is written as DNS has it, as the SMTP door does; a local part cannot
be. The texts are those of the mail library behind SES, some of them on record from the real service.
"""

import re
from dataclasses import dataclass
from typing import Final

import idna

from aws_api.ses.refusals import SendRefused
from spool.header_addresses import Mailbox as HeaderMailbox
from spool.header_addresses import mailboxes
from spool.header_text import decoded_words, text_of

MAX_LOCAL_PART_BYTES: Final = 64
MAX_DOMAIN_BYTES: Final = 253
#: No address with a name is longer than this, and nothing longer is looked at.
MAX_WRITTEN_CHARACTERS: Final = 2000

_PLAIN: Final = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
)
_QUOTED_LOCAL: Final = re.compile(r'"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"')
_CONTROL_OR_SPACE: Final = re.compile(r"[^\x21-\x7e]")
_ILLEGAL_LOCAL: Final = re.compile(r'[()<>,;:\\"\[\]@]')
_ILLEGAL_DOMAIN: Final = re.compile(r"[^A-Za-z0-9._-]")
# Possessive, and it may end at the end: no piece is ever read twice.
_QUOTED_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.?)*+"?', re.DOTALL)
_TWO_ANGLES: Final = re.compile(r"<[^<>]*+>[^<>,;]*+<")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address with the name that stood before it, decoded; "" = none."""

    name: str
    address: str


def mailbox_of(written: str) -> Mailbox:
    """The one address in a parameter such as `Ann <ann@example.com>`. Raises SendRefused."""
    text = written.strip()
    if len(text) > MAX_WRITTEN_CHARACTERS:
        raise SendRefused("Illegal address")
    if "<" not in text and "(" not in text:
        return Mailbox("", _checked(text))
    [address, *more] = addresses_in(text) or [""]
    if more or not address:
        raise SendRefused("Missing final '@domain'" if not more else "Illegal address")
    name, angle, _ = text.rpartition("<")
    return Mailbox(_unquoted(name.strip()) if angle else "", address)


def addresses_in(written: str) -> tuple[str, ...]:
    """Every address of a list, members of groups too. Raises SendRefused for the first that is none."""
    if _TWO_ANGLES.search(_QUOTED_TEXT.sub("", written)):
        raise SendRefused("Extra route-addr")
    return tuple(map(_checked, map(_address, mailboxes(written.encode("utf-8", "replace")))))


def header_addresses(value: bytes) -> tuple[str, ...]:
    """The same of a header's value as it stands in the message."""
    return addresses_in(re.sub(rb"\r\n[ \t]*", b" ", value).decode("utf-8", "replace"))


def written(value: bytes) -> str:
    """A header's value as SES repeats it: unfolded, encoded words decoded."""
    return text_of(value)


def _address(entry: HeaderMailbox) -> str:
    if entry.address and entry.start < 0:  # blanks or a comment inside it: without them it would be another address
        raise SendRefused("Local address contains control or whitespace")
    return entry.address.decode("utf-8", "replace")


def _checked(address: str) -> str:
    local, at, domain = address.rpartition("@")
    if at and not domain.isascii() and len(domain) <= MAX_DOMAIN_BYTES:
        address = f"{local}@{_punycode(domain)}"
    if flaw := flaw_of(address):
        raise SendRefused(flaw)
    return address


def _punycode(domain: str) -> str:
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return domain


def flaw_of(address: str) -> str:
    """What SES says about a malformed address; "" for a good one."""
    local, at, domain = address.rpartition("@")
    if not at or not domain:
        return "Missing final '@domain'"
    if not local:
        return "Missing local name"
    if len(local) > MAX_LOCAL_PART_BYTES:
        return "Local address is too long"
    if _PLAIN.fullmatch(address) and len(domain) <= MAX_DOMAIN_BYTES:
        return ""
    return _flaw_of_local(local) or _flaw_of_domain(domain)


def _flaw_of_local(local: str) -> str:
    if local.isascii() and _QUOTED_LOCAL.fullmatch(local):
        return ""
    if _CONTROL_OR_SPACE.search(local):
        return "Local address contains control or whitespace"
    if _ILLEGAL_LOCAL.search(local):
        return "Local address contains illegal character"
    if local.startswith("."):
        return "Local address starts with dot"
    if local.endswith("."):
        return "Local address ends with dot"
    return "Local address contains dot-dot" if ".." in local else ""


def _flaw_of_domain(domain: str) -> str:
    if _CONTROL_OR_SPACE.search(domain):
        return "Domain contains control or whitespace"
    if _ILLEGAL_DOMAIN.search(domain):  # address literals too: SES cannot relay to them
        return "Domain contains illegal character"
    if domain.startswith("."):
        return "Domain starts with dot"
    if domain.endswith("."):
        return "Domain ends with dot"
    if len(domain) > MAX_DOMAIN_BYTES:
        return "Domain is too long"
    return "Domain contains dot-dot" if ".." in domain else ""


def _unquoted(name: str) -> str:
    if len(name) > 1 and name[0] == name[-1] == '"':
        return re.sub(r"\\(.)", r"\1", name[1:-1])
    return decoded_words(name)
