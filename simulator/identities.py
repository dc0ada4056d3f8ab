"""Verified identities: who may send, and in the sandbox who may be sent to.

A verified domain covers its subdomains and all their addresses; a verified address covers itself with any label
(`ann+shop@example.com`). SES checks the headers From, Sender and Return-Path and the sender of the call, and lists
what failed as it was written: the text of the header, and the bare address of the call.
"""

from collections.abc import Iterator, Sequence

from simulator.addresses import addresses_in
from simulator.checks import Envelope
from simulator.mailbox import is_simulated

SENDER_HEADERS = ("from", "sender", "return-path")


def unverified(envelope: Envelope, verified: Sequence[str], *, has_to_verify_recipients: bool) -> list[str]:
    """The identities that failed the check, in SES's order, each once."""
    known = frozenset(identity.lower() for identity in verified)
    failed = [text for text, addresses in _senders(envelope) if not all(is_verified(one, known) for one in addresses)]
    if has_to_verify_recipients:
        failed += [
            address
            for address in envelope.destinations
            if not is_simulated(address) and not is_verified(address, known)
        ]
    return list(dict.fromkeys(failed))


def is_verified(address: str, known: frozenset[str]) -> bool:
    """Whether the address or its domain is among the identities (lower case)."""
    local, _, domain = address.lower().rpartition("@")
    if address.lower() in known or f"{local.partition('+')[0]}@{domain}" in known:
        return True
    labels = domain.split(".")
    return any(".".join(labels[start:]) in known for start in range(len(labels)))


def _senders(envelope: Envelope) -> Iterator[tuple[str, Sequence[str]]]:
    for name in SENDER_HEADERS:
        for text in envelope.headers.values.get(name, ()):
            if text not in ("", "<>"):
                yield text, addresses_in([text])
    yield envelope.source, (envelope.source,)
