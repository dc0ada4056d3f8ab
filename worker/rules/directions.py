"""Which way mail goes, as seen from the house: INBOUND to one of `smtp.local_domains`, else OUTBOUND.

There as in all settings `*.example.com` means the subdomains only. One look-up for each label of a domain, however many
local domains there are.
"""

from functools import lru_cache

from config.settings import Settings
from spool.verdicts import Direction
from worker.relay.choice import plain_domain

_LONGEST_DOMAIN = 253


class LocalDomains:
    """The domains of the house."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        plain = [plain_domain(pattern) for pattern in patterns]
        self._domains = frozenset(one for one in plain if not one.startswith("*."))
        self._above = frozenset(one[2:] for one in plain if one.startswith("*."))

    def has(self, domain: str) -> bool:
        """Whether it is one of them; `domain` as plain_domain has it."""
        if domain in self._domains:
            return True
        rest = domain if self._above and len(domain) <= _LONGEST_DOMAIN else ""
        while rest:
            rest = rest.partition(".")[2]
            if rest in self._above:
                return True
        return False

    def direction_of(self, address: str) -> Direction:
        """Of one recipient."""
        return "INBOUND" if self.has(plain_domain(address.rpartition("@")[2])) else "OUTBOUND"


def local_domains(settings: Settings) -> LocalDomains:
    """Those of the settings."""
    return _made(tuple(settings.smtp.local_domains))


@lru_cache(maxsize=8)
def _made(patterns: tuple[str, ...]) -> LocalDomains:
    return LocalDomains(patterns)
