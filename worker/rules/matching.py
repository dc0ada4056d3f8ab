"""Which rules match a message, and each of its recipients, and what fitted. Pure.

Theory of operation
1. What does not depend on the recipient is settled once: for each direction the rules that fit its senders, as the bits
   of one number. Header Sender is looked at first, From for the rules that Sender does not fit; for inbound mail only
   when Sender fits no sender pattern of any inbound rule. Without an address in either, the envelope sender stands in.
2. What depends on the recipient is a few look-ups: by its address, and once for each domain.
3. Recipients with the same hits among the same rules share everything that follows, so a message to 10,000 recipients
   is judged as often as there are different hits, not recipients.
4. Conditions are asked last, once for each rule and message, and only of rules that fit in all else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from spool.verdicts import Direction
from worker.relay.choice import plain_domain
from worker.rules.conditions import why_true
from worker.rules.directions import LocalDomains
from worker.rules.facts import Facts
from worker.rules.patterns import Hit, best_hit, rules_of
from worker.rules.records import DIRECTIONS, Rule, RuleSet

_MAX_BECAUSE_CHARACTERS = 400
_SENDER = "header Sender"


@dataclass(frozen=True, slots=True)
class Match:
    """A rule that matches a recipient: how specific, and what fitted in one line."""

    rule: Rule
    #: Of the sender pattern, then of the recipient pattern; a higher one is more specific.
    rank: tuple[int, int]
    because: str


@dataclass(frozen=True, slots=True)
class Likeness:
    """What recipients have in common whom the rules cannot tell apart."""

    direction: Direction
    #: Of recipient patterns; only rules that are still in question.
    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class _DomainView:
    """What recipients of a domain have in common."""

    likeness: Likeness
    plain: str
    #: Rules that except the whole domain.
    excepted: int


class Matching:
    """The rules of a set against one message."""

    def __init__(self, rule_set: RuleSet, facts: Facts, local: LocalDomains) -> None:
        self._rules, self._facts, self._local = rule_set, facts, local
        self._senders = _sender_hits(rule_set, facts)
        excepted = 0
        for _, address in _sender_addresses(facts):
            excepted |= rules_of(rule_set.unless_senders.hits(address))
        #: Direction → the rules in question.
        self._fitting = {
            direction: _fitting(self._senders, direction, rule_set.by_direction[direction]) & ~excepted
            for direction in DIRECTIONS
        }
        self._has_addresses = rule_set.recipients.has_addresses or rule_set.unless_recipients.has_addresses
        self._domains: dict[str, _DomainView] = {}
        #: Rules whose conditions are not true.
        self._refuted = 0
        #: Of rules whose conditions are true: the sender's hit, and it and the conditions in words.
        self._fitted: dict[int, tuple[Hit, str, str]] = {}

    @property
    def may_match(self) -> bool:
        """Whether any rule can match at all."""
        return any(self._fitting.values())

    def alike(self, addresses: Sequence[str]) -> dict[Likeness, list[int]]:
        """The indexes of the addresses, those together that the rules cannot tell apart."""
        groups: dict[Likeness, list[int]] = {}
        by_domain: dict[str, list[int]] = {}
        for index, address in enumerate(addresses):
            local, _, domain = address.rpartition("@")
            if domain not in by_domain:
                view = self._domains[domain] = self._view(domain)
                by_domain[domain] = groups.setdefault(view.likeness, [])
            if self._has_addresses and (own := self._own_likeness(local, self._domains[domain])):
                groups.setdefault(own, []).append(index)
            else:
                by_domain[domain].append(index)
        return {likeness: indexes for likeness, indexes in groups.items() if indexes}

    def matches(self, likeness: Likeness) -> Iterator[Match]:
        """The rules that match such recipients, in the order of the file."""
        digits = bin(rules_of(likeness.hits) & ~self._refuted)[:1:-1]  # the first rule's first
        number = digits.find("1")
        while number >= 0:
            if number in self._fitted or self._fits(number):
                yield self._match(number, likeness.hits)
            number = digits.find("1", number + 1)

    def _fits(self, number: int) -> bool:
        """Whether the conditions of a rule are true, whose sender fits. Asked once for each rule."""
        rule, told = self._rules.rules[number], []
        for condition in rule.conditions:
            if not (words := why_true(condition, self._facts)):
                self._refuted |= 1 << number
                return False
            told.append(words)
        for condition in rule.unless:
            if why_true(condition, self._facts):
                self._refuted |= 1 << number
                return False
        header, sender = next((header, hit) for header, some in self._senders if (hit := best_hit(some, number)))
        sender_told = f"{header} matches {sender.text}" if sender.text else ""
        self._fitted[number] = sender, sender_told, " and ".join(told)
        return True

    def _match(self, number: int, hits: Sequence[Hit]) -> Match:
        sender, sender_told, conditions = self._fitted[number]
        recipient = best_hit(hits, number)
        assert recipient is not None, "only rules that one of the hits names are asked about"
        recipient_told = f"recipient matches {recipient.text}" if recipient.text else ""
        because = "; ".join(filter(None, (sender_told, recipient_told, conditions))) or "it is for all mail"
        return Match(self._rules.rules[number], (sender.rank, recipient.rank), because[:_MAX_BECAUSE_CHARACTERS])

    def _view(self, domain: str) -> _DomainView:
        plain = plain_domain(domain)
        direction: Direction = "INBOUND" if self._local.has(plain) else "OUTBOUND"
        excepted = rules_of(self._rules.unless_recipients.domain_hits(plain))
        hits = self._rules.recipients.domain_hits(plain)
        return _DomainView(self._likeness(direction, hits, excepted), plain, excepted)

    def _own_likeness(self, local: str, view: _DomainView) -> Likeness | None:
        """Of an address that a pattern names; None = like all of its domain."""
        hit = self._rules.recipients.address_hit(local, view.plain)
        unless = self._rules.unless_recipients.address_hit(local, view.plain)
        if hit is None and unless is None:
            return None
        hits = (*((hit,) if hit else ()), *view.likeness.hits)
        return self._likeness(view.likeness.direction, hits, view.excepted | (unless.rules if unless else 0))

    def _likeness(self, direction: Direction, hits: Sequence[Hit], excepted: int) -> Likeness:
        wanted = self._fitting[direction] & ~excepted
        narrowed = (Hit(hit.rank, hit.text, hit.rules & wanted) for hit in hits)
        return Likeness(direction, tuple(hit for hit in narrowed if hit.rules))


def _fitting(senders: Sequence[tuple[str, tuple[Hit, ...]]], direction: Direction, rules: int) -> int:
    """Those of a direction's rules that fit the senders. For * and without a pattern every sender is the same."""
    header, first = senders[0]
    if direction == "INBOUND" and header == _SENDER and any(hit.rank and hit.rules & rules for hit in first):
        senders = senders[:1]
    return rules & rules_of(hit for _, hits in senders for hit in hits)


def _sender_addresses(facts: Facts) -> tuple[tuple[str, str], ...]:
    """Where an address stands, and the address; in the order in which they count."""
    found = [(_SENDER, address) for address in facts.sender_addresses]
    found += [("header From", address) for address in facts.from_addresses]
    return tuple(dict.fromkeys(found)) or (("envelope sender", facts.envelope_sender),)


def _sender_hits(rule_set: RuleSet, facts: Facts) -> tuple[tuple[str, tuple[Hit, ...]], ...]:
    """Where an address stands, and the hits of all addresses there, the most specific first."""
    by_header: dict[str, list[Hit]] = {}
    for header, address in _sender_addresses(facts):
        by_header.setdefault(header, []).extend(rule_set.senders.hits(address))
    return tuple(
        (header, tuple(sorted(dict.fromkeys(hits), key=lambda hit: -hit.rank))) for header, hits in by_header.items()
    )
