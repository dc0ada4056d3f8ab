"""From whom and to whom a message goes: what the call says, and the headers where it says nothing. Pure.

The parameters of a call define the envelope whatever the headers say (SES developer guide, "Sending raw email").
Bounces go to the call's sender, else to Return-Path, else to From.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aws_api.message_flow.header_fields import HeaderSection
from aws_api.ses.addresses import header_addresses, mailbox_of, written
from aws_api.ses.refusals import SendRefused
from aws_api.ses.send_request import SendRequest
from spool.sender_patterns import may_send_as

MAX_RECIPIENTS: Final = 50
#: Whose addresses must be the sender's own, in SES's order.
SENDER_HEADERS: Final = (b"from", b"sender", b"return-path")
_NOBODY: Final = frozenset({b"", b"<>"})


@dataclass(frozen=True, slots=True)
class Envelope:
    """Bare addresses; a recipient stands once."""

    sender: str
    recipients: tuple[str, ...]
    #: As SES would list it → the addresses in it, of everybody who sends.
    identities: tuple[tuple[str, tuple[str, ...]], ...]


def envelope_of(request: SendRequest, headers: HeaderSection) -> Envelope:
    """The envelope of a call. Raises SendRefused."""
    if headers.values and all(value.strip() in _NOBODY for value in headers.values.get(b"from", ())):
        raise SendRefused("Missing required header 'From'.")
    identities = [
        (written(value), _somebody(name, header_addresses(value)))
        for name in SENDER_HEADERS
        for value in headers.values.get(name, ())
        if value.strip() not in _NOBODY
    ]
    sender = _sender(request, headers)
    recipients = _recipients(request, headers)
    if len(recipients) > MAX_RECIPIENTS:
        raise SendRefused(f"Recipient count exceeds {MAX_RECIPIENTS}.")
    return Envelope(sender, _each_once(recipients), (*identities, (sender, (sender,))))


def _somebody(name: bytes, addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Those addresses. Raises SendRefused for text that names nobody (`ceo:;`, `(ceo)`): readers would show it."""
    if not addresses and name != b"return-path":
        raise SendRefused("Missing final '@domain'")
    return addresses


def _sender(request: SendRequest, headers: HeaderSection) -> str:
    if request.source:
        return mailbox_of(request.source).address
    for name in (b"return-path", b"from"):
        value = headers.first(name)
        if value.strip() not in _NOBODY and (found := header_addresses(value)):
            return found[0]
    raise SendRefused("Missing required header 'From'.")


def _recipients(request: SendRequest, headers: HeaderSection) -> tuple[str, ...]:
    if request.destinations:
        if len(request.destinations) > MAX_RECIPIENTS:
            raise SendRefused(f"Recipient count exceeds {MAX_RECIPIENTS}.")
        return tuple(mailbox_of(one).address for one in request.destinations)
    values = [value for name in (b"to", b"cc", b"bcc") for value in headers.values.get(name, ())]
    found = tuple(address for value in values for address in header_addresses(value))
    if not found:
        raise SendRefused("Missing required header 'To'.")
    return found


def _each_once(recipients: Iterable[str]) -> tuple[str, ...]:
    """The domain's case does not matter, the local part's does."""
    found: dict[tuple[str, str], str] = {}
    for address in recipients:
        local, _, domain = address.rpartition("@")
        found.setdefault((local, domain.lower()), address)
    return tuple(found.values())


def refused_identities(envelope: Envelope, patterns: Iterable[str]) -> list[str]:
    """Those that no pattern of the access key covers, each once, as SES lists them.

    Nobody can verify a domain of the TLD `invalid` (RFC 2606): clients send as one to see whether SES says no
    (nodemailer's verify), and that must not become mail.
    """
    wanted = tuple(patterns)
    failed = [
        told
        for told, addresses in envelope.identities
        if not all(_is_covered(wanted, one.lower()) for one in addresses)
    ]
    return list(dict.fromkeys(failed))


def _is_covered(patterns: tuple[str, ...], address: str) -> bool:
    is_possible = not address.endswith((".invalid", "@invalid"))
    return is_possible and may_send_as(address, patterns)
