"""Addresses as SES reads them: 7-bit ASCII, with a domain, and its texts for those that are not.

The texts are those of the Java mail library behind SES; "Missing final '@domain'", "Local address contains
control or whitespace" and "Domain contains control or whitespace" are on record from the real service.
"""

import re
from email.utils import getaddresses

from simulator.refusals import INVALID, Refused

_PLAIN = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
)
_QUOTED_LOCAL = re.compile(r'"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"')
_DOMAIN_LITERAL = re.compile(r"\[[0-9A-Za-z.:-]+\]")
_CONTROL_OR_SPACE = re.compile(r"[^\x21-\x7e]")
_ILLEGAL_LOCAL = re.compile(r'[()<>,;:\\"\[\]@]')
_ILLEGAL_DOMAIN = re.compile(r"[^A-Za-z0-9._-]")


def bare_address(written: str) -> str:
    """The address in a parameter such as `Ann <ann@example.com>`; raises `Refused` when SES would not take it."""
    address = written.strip()
    if _PLAIN.fullmatch(address):
        return address
    if address.endswith(">") and "<" in address:
        address = address[address.rindex("<") + 1 : -1].strip()
    flaw = flaw_of(address)
    if flaw is not None:
        raise Refused(INVALID, flaw)
    return address


def flaw_of(address: str) -> str | None:
    """What SES says about a malformed address, or None for a good one."""
    if _PLAIN.fullmatch(address):
        return None
    local, at, domain = address.rpartition("@")
    if not at or not domain:
        return "Missing final '@domain'"
    if not local:
        return "Missing local name"
    return _flaw_of_local(local) or _flaw_of_domain(domain)


def _flaw_of_local(local: str) -> str | None:
    if local.isascii() and _QUOTED_LOCAL.fullmatch(local):
        return None
    if _CONTROL_OR_SPACE.search(local):
        return "Local address contains control or whitespace"
    if _ILLEGAL_LOCAL.search(local):
        return "Local address contains illegal character"
    if local.startswith("."):
        return "Local address starts with dot"
    if local.endswith("."):
        return "Local address ends with dot"
    return "Local address contains dot-dot" if ".." in local else None


def _flaw_of_domain(domain: str) -> str | None:
    if _CONTROL_OR_SPACE.search(domain):
        return "Domain contains control or whitespace"
    if _DOMAIN_LITERAL.fullmatch(domain):
        return None
    if _ILLEGAL_DOMAIN.search(domain):
        return "Domain contains illegal character"
    if domain.startswith("."):
        return "Domain starts with dot"
    return "Domain contains dot-dot" if ".." in domain else None


def addresses_in(header_values: list[str]) -> tuple[str, ...]:
    """Every address of some address headers, members of groups included; raises `Refused` for a malformed one."""
    try:
        found = getaddresses(header_values)
    except Exception as error:  # the stdlib parser dies in many ways on hostile headers
        raise Refused(INVALID, "Illegal address") from error
    return tuple(bare_address(address) for name, address in found if name or address)
