"""Patterns of addresses as WorkMail has them, and an index that finds the rules whose patterns fit an address.

Theory of operation
1. `user@domain` fits this address, `domain` its addresses and no subdomain's, `*.domain` those of the domain and of
   all its subdomains, `*` everybody. Case does not count, international domains are compared as A-labels.
2. A rule is a bit of a number. The index keeps one number for each pattern that occurs, so that a question costs one
   look-up for the address, one for its domain and one for each label, however many rules and patterns there are.
3. The answer is a list of hits, the most specific first: address, domain, longest *.domain, *. A rule's place in the
   list is how specific it is.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from worker.relay.choice import plain_domain

_LOCAL_PART = re.compile(r"[a-z0-9.!#$%&'/=?^_`{|}~-]{1,64}")
_DOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_LONGEST_DOMAIN = 253

#: More than any *.domain, whose rank is its length.
_DOMAIN_RANK = 1000
_ADDRESS_RANK = 2000


@dataclass(frozen=True, slots=True)
class Pattern:
    """Whose mail: `user@domain`, `domain`, `*.domain` (and that domain itself) or `*`, in lower case."""

    text: str
    kind: Literal["address", "domain", "wildcard", "all"]


@dataclass(frozen=True, slots=True)
class Hit:
    """The rules (as bits) that have a pattern which fits; a higher rank is more specific."""

    rank: int
    #: The pattern; "" = rules without any.
    text: str
    rules: int


def parse_pattern(text: str) -> Pattern:
    """The pattern as it is compared. Raises ValueError with what is allowed."""
    text = text.strip()
    if text == "*":
        return Pattern("*", "all")
    if "+" in text:
        raise ValueError("no + may stand in a pattern; allowed: user@domain, domain, *.domain, *")
    local, at, domain = text.rpartition("@")
    if not at and domain.startswith("*."):
        return Pattern(f"*.{_domain(domain[2:])}", "wildcard")
    if not at:
        return Pattern(_domain(domain), "domain")
    if not _LOCAL_PART.fullmatch(local.lower()):
        raise ValueError("no such local part can be compared; allowed: user@domain, domain, *.domain, *")
    return Pattern(f"{local.lower()}@{_domain(domain)}", "address")


def _domain(text: str) -> str:
    domain = plain_domain(text)
    if not _DOMAIN.fullmatch(domain):
        raise ValueError("no domain; allowed: user@domain, domain, *.domain, *")
    return domain


class PatternIndex:
    """The patterns of all rules of a set, of one kind: senders, recipients, or those excepted."""

    def __init__(self, patterns_by_rule: Iterable[Sequence[Pattern]], *, fits_without: bool) -> None:
        """`fits_without`: whether a rule without patterns fits everybody, or nobody."""
        self.unrestricted = 0
        self._everybody = 0
        self._addresses: dict[str, int] = {}
        self._domains: dict[str, int] = {}
        self._suffixes: dict[str, int] = {}
        for number, patterns in enumerate(patterns_by_rule):
            rule = 1 << number
            if not patterns and fits_without:
                self.unrestricted |= rule
            for pattern in patterns:
                self._add(pattern, rule)

    def _add(self, pattern: Pattern, rule: int) -> None:
        if pattern.kind == "all":
            self._everybody |= rule
            return
        tables: Mapping[str, dict[str, int]] = {
            "address": self._addresses,
            "domain": self._domains,
            "wildcard": self._suffixes,
        }
        table, key = tables[pattern.kind], pattern.text.removeprefix("*.")
        table[key] = table.get(key, 0) | rule

    @property
    def has_addresses(self) -> bool:
        """Whether the local part of an address matters at all."""
        return bool(self._addresses)

    def address_hit(self, local: str, domain: str) -> Hit | None:
        """For the one address; `domain` as plain_domain has it."""
        address = f"{local.lower()}@{domain}"
        rules = self._addresses.get(address, 0)
        return Hit(_ADDRESS_RANK, address, rules) if rules else None

    def domain_hits(self, domain: str) -> tuple[Hit, ...]:
        """For every address of the domain; `domain` as plain_domain has it, "" = an address without one."""
        hits = []
        if rules := self._domains.get(domain, 0):
            hits.append(Hit(_DOMAIN_RANK, domain, rules))
        if self._suffixes and len(domain) <= _LONGEST_DOMAIN:
            rest = domain
            while rest:
                if rules := self._suffixes.get(rest, 0):
                    hits.append(Hit(len(rest), f"*.{rest}", rules))
                rest = rest.partition(".")[2]
        if self._everybody:
            hits.append(Hit(0, "*", self._everybody))
        if self.unrestricted:
            hits.append(Hit(0, "", self.unrestricted))
        return tuple(hits)

    def hits(self, address: str) -> tuple[Hit, ...]:
        """All hits for an address as it is written; without an @ only those for everybody."""
        local, _, domain = address.rpartition("@")
        plain = plain_domain(domain) if local else ""
        found = self.address_hit(local, plain) if self.has_addresses else None
        return (*((found,) if found else ()), *self.domain_hits(plain))


def rules_of(hits: Iterable[Hit]) -> int:
    """The bits of every rule that one of them names."""
    rules = 0
    for hit in hits:
        rules |= hit.rules
    return rules


def best_hit(hits: Iterable[Hit], number: int) -> Hit | None:
    """The most specific hit of one rule; None when its patterns do not fit."""
    return next((hit for hit in hits if hit.rules >> number & 1), None)
