"""What the rules say about a message when it is first looked at: the verdict. Pure.

The semantics are in three files, each with its theory: matching.py says which rules match whom, outcomes.py what they
come to, and here the outcomes of all recipients become one verdict. docs/rules.md tells it to people.

Theory of operation
1. Each recipient has an outcome; those of equal outcome share a part, a decision or the template of a call.
2. A function is called once for a rule and a direction. The id of that call follows from message, rule and direction:
   whoever judges the message, and how often, comes to the same id.
3. REPLACE_RECIPIENT puts its first address in the recipient's place and adds the others, who share its fate. An address
   that would get the same mail twice by that gets it once: the later recipient is dropped, and its decision says why.
4. TEE adds an address that is no recipient yet. Nobody asks the rules about added addresses, so nothing goes in rings.
5. Of a message that was tried before there were rules only those recipients are judged who have no final state, as if
   there were no others: whom a call has reached keeps no address from anybody. Those in doubt come last.
Invariant: each recipient so judged, an added one too, has exactly one decision or is in exactly one sync call.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from config.settings import Settings
from spool.records import Message
from spool.states import RecipientState
from spool.verdicts import Applied, DecidedAction, Decision, Direction, FunctionCall, Part, Verdict
from worker.rules.directions import LocalDomains, local_domains
from worker.rules.facts import Facts
from worker.rules.matching import Matching
from worker.rules.outcomes import Outcome, Reason, directed, outcome_of
from worker.rules.records import Function, RuleSet, RunLambda
from worker.rules.ways import Way

_NO_RULE = Reason("", "no rule matches")
#: Why a recipient is dropped who shares the address of another.
TWICE = "REPLACE_RECIPIENT: the same address gets this mail already"


def first_verdict(rule_set: RuleSet, facts: Facts, message: Message, settings: Settings) -> Verdict:
    """The verdict on a message that was not judged yet; only its version when no rule matches anybody."""
    if not rule_set.rules:
        return Verdict(rule_set.version)
    local = local_domains(settings)
    matching = Matching(rule_set, facts, local)
    if not matching.may_match:
        return Verdict(rule_set.version)
    outcomes: dict[Outcome, list[int]] = {}
    has_match = False
    judged = [index for index, state in enumerate(message.states) if not state.is_final]
    for likeness, places in matching.alike([message.recipients[index] for index in judged]).items():
        indexes = [judged[place] for place in places]
        matches = matching.matches(likeness)
        outcome = outcome_of(matches, likeness.direction, settings.rules.outbound_precedence)
        has_match = has_match or outcome is not None
        outcome = outcome or Outcome(Way(likeness.direction), "DEFAULT", _NO_RULE)
        outcomes.setdefault(outcome, []).extend(indexes)
    if not has_match:
        return Verdict(rule_set.version)
    return _Draft(rule_set, message, local).written(outcomes)


def invocation_id_of(message_id: str, rule: str, direction: Direction) -> str:
    """32 hex digits, the same for every try of this call."""
    return hashlib.blake2b(f"{message_id} {direction} {rule}".encode(), digest_size=16).hexdigest()


# A decision or a part is gathered under what it says, with its recipients.
_DecisionKey = tuple[DecidedAction, Reason, str]
_CallKey = tuple[int, Direction]
# Who goes together: the rule that is asked about them, None = nobody is; and how.
_Fate = tuple[int | None, Way]


@dataclass(slots=True)
class _Draft:
    """A verdict in the making."""

    rule_set: RuleSet
    message: Message
    local: LocalDomains
    decisions: dict[_DecisionKey, list[int]] = field(default_factory=dict)
    fates: dict[_Fate, list[int]] = field(default_factory=dict)
    asked: dict[_CallKey, list[int]] = field(default_factory=dict)
    applied: dict[tuple[Reason, str], list[int]] = field(default_factory=dict)
    replaced: dict[int, str] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)

    def written(self, outcomes: Mapping[Outcome, list[int]]) -> Verdict:
        """The verdict; the recipients who stay come first, then the replaced, then those who are added."""
        for outcome, indexes in outcomes.items():
            for change in outcome.applied:
                self.applied.setdefault(change, []).extend(indexes)
            if not outcome.replaced_by:
                self._take(outcome, indexes)
        self._replace(outcomes)
        self._copy(outcomes)
        calls = tuple(sorted(self._calls(), key=lambda call: call.recipients))
        parts = [way.part(sorted(indexes)) for (asks, way), indexes in self.fates.items() if asks is None]
        return Verdict(
            version=self.rule_set.version,
            decisions=tuple(
                Decision(action, tuple(sorted(indexes)), reason.rule, reason.because, text)
                for (action, reason, text), indexes in self.decisions.items()
            ),
            applied=tuple(
                Applied(reason.rule, tuple(sorted(indexes)), reason.because, words)
                for (reason, words), indexes in self.applied.items()
            ),
            parts=tuple(sorted(parts, key=lambda part: part.recipients)),
            calls=calls,
            added=tuple(self.added),
            replaced=self.replaced,
        )

    def _take(self, outcome: Outcome, indexes: Iterable[int]) -> None:
        """These recipients have this outcome."""
        indexes = list(indexes)
        for rule in outcome.also_asks:
            self.asked.setdefault((rule, outcome.way.direction), []).extend(indexes)
        if outcome.action is None:
            assert outcome.asks is not None, "who is not decided about waits for a function"
            self.asked.setdefault((outcome.asks, outcome.way.direction), []).extend(indexes)
            self.fates.setdefault((outcome.asks, outcome.way), []).extend(indexes)
            return
        self.decisions.setdefault((outcome.action, outcome.reason, outcome.text), []).extend(indexes)
        if not outcome.is_final:
            self.fates.setdefault((None, outcome.way.marked(outcome.action)), []).extend(indexes)

    # -- addresses

    def _replace(self, outcomes: Mapping[Outcome, list[int]]) -> None:
        replacing = {outcome: indexes for outcome, indexes in outcomes.items() if outcome.replaced_by}
        if not replacing:
            return
        goes: dict[_Fate, set[str]] = {
            fate: {self._address(index) for index in indexes} for fate, indexes in self.fates.items()
        }
        for outcome, indexes in sorted(replacing.items(), key=lambda one: min(map(self._turn, one[1]))):
            taken = goes.setdefault(_fate(outcome), set())
            first, *further = outcome.replaced_by
            for index in sorted(indexes, key=self._turn):
                self.replaced[index] = first
                if first.lower() in taken:
                    reason = Reason(outcome.replaced_by_rule, TWICE)
                    self.decisions.setdefault(("DROP", reason, ""), []).append(index)
                    continue
                taken.add(first.lower())
                self._take(outcome, (index,))
            for address in further:
                if address.lower() not in taken:
                    taken.add(address.lower())
                    self._take(outcome, (self._add(address),))

    def _copy(self, outcomes: Mapping[Outcome, list[int]]) -> None:
        if not any(outcome.copies for outcome in outcomes):
            return
        known = {self._address(index) for index in range(len(self.message.recipients) + len(self.added))}
        for outcome in outcomes:
            for address, reason in outcome.copies:
                if address.lower() in known:
                    continue
                known.add(address.lower())
                way = outcome.way.towards(self.local.direction_of(address))
                copy = Outcome(way, "DEFAULT", Reason(reason.rule, f"TEE: {reason.because}"))
                self._take(copy, (self._add(address),))

    def _turn(self, index: int) -> tuple[bool, int]:
        """Who is in doubt may never be sent to again, and takes no address from those who wait."""
        return self.message.states[index] is not RecipientState.WAITING, index

    def _address(self, index: int) -> str:
        """To whom it goes now, as it is compared."""
        envelope = self.message.recipients
        if index < len(envelope):
            return self.replaced.get(index, envelope[index]).lower()
        return self.added[index - len(envelope)].lower()

    def _add(self, address: str) -> int:
        self.added.append(address)
        return len(self.message.recipients) + len(self.added) - 1

    # -- calls

    def _calls(self) -> Iterable[FunctionCall]:
        for (number, direction), indexes in self.asked.items():
            rule = self.rule_set.rules[number]
            assert isinstance(rule.disposal, RunLambda), "only functions are asked"
            templates = [
                way.part(sorted(some))
                for (asks, way), some in self.fates.items()
                if asks == number and way.direction == direction
            ]
            yield _call(
                rule.name,
                rule.disposal.function,
                invocation_id=invocation_id_of(self.message.message_id, rule.name, direction),
                direction=direction,
                recipients=tuple(sorted(indexes)),
                templates=tuple(templates),
            )


def _fate(outcome: Outcome) -> _Fate:
    if outcome.action is None:
        return outcome.asks, outcome.way
    return None, outcome.way.marked(outcome.action)


def _call(
    rule: str,
    function: Function,
    *,
    invocation_id: str,
    direction: Direction,
    recipients: tuple[int, ...],
    templates: tuple[Part, ...],
) -> FunctionCall:
    return FunctionCall(
        rule=rule,
        function=function.target,
        mode=function.mode,
        invocation_id=invocation_id,
        recipients=recipients,
        parts=templates,
        timeout_minutes=function.timeout_minutes,
        fallback=directed(function.fallback, direction),
        fallback_text=function.fallback_text,
    )
