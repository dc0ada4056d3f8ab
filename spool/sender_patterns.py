"""As whom an SMTP user or an access key may send. Pure.

Patterns: user@domain, domain, *.domain (its subdomains, not itself), * for all. One rule for every door, as who may
not send by one of them must not find another open.
"""

from collections.abc import Sequence


def may_send_as(sender: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns covers the sender, whatever the case of its letters.

    The null sender needs *: SES sends such a message as whoever stands in its From header.
    """
    address = sender.lower()
    return any(_covers(pattern.lower(), address) for pattern in patterns)


def _covers(pattern: str, address: str) -> bool:
    if pattern == "*":
        return True
    domain = address.rpartition("@")[2]
    if pattern.startswith("*."):
        return domain.endswith(pattern[1:])
    return (address if "@" in pattern else domain) == pattern
