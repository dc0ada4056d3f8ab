"""What the rules that match a recipient come to: one outcome, the same for all recipients who are alike. Pure.

Theory of operation
1. Considered are the matching rules in the order of the file, up to and including the first with STOP.
2. Of those that dispose (DROP … RUN_LAMBDA) the most specific wins: by the sender's pattern, then the recipient's;
   among equals the more restrictive; then the first in the file.
3. Only when RUN_LAMBDA wins functions run: of the rules as specific as the winner every async one is called, and the
   first sync one decides. With async ones alone the mail goes the ordinary way.
4. Rules without a disposal change how the mail goes, in the order of the file; one with a disposal does so only when
   it is the winner or its function is called.
5. Who is dropped or bounced goes nowhere: of the changes only copies to others are carried out then.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from spool.verdicts import DecidedAction, Direction
from worker.rules.matching import Match
from worker.rules.records import Change, Decide, ReplaceRecipient, RunLambda, StopRules, Tee
from worker.rules.ways import Way, changed, words_of

Precedence = Literal["restrictive", "listed"]

#: The most restrictive first. WorkMail lists DEFAULT first for outbound mail, and contradicts itself there.
_RESTRICTIVE: tuple[str, ...] = ("DROP", "BOUNCE", "MOVE_TO_JUNK", "DEFAULT", "BYPASS_SPAM_CHECK", "RUN_LAMBDA")
_LISTED: tuple[str, ...] = ("DEFAULT", "DROP", "BOUNCE", "RUN_LAMBDA")
#: Nobody gets the mail.
FINAL: frozenset[DecidedAction] = frozenset({"DROP", "BOUNCE"})


@dataclass(frozen=True, slots=True)
class Reason:
    """A rule, and why it is one for these recipients."""

    rule: str
    because: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of recipients. Hashable."""

    way: Way
    #: None while a function has to decide.
    action: DecidedAction | None
    reason: Reason
    #: The bounceMessage.
    text: str = ""
    #: Numbers of the rules whose functions are called; the sync one is named by `asks`.
    asks: int | None = None
    also_asks: tuple[int, ...] = ()
    #: Rules that changed something, and what, in words.
    applied: tuple[tuple[Reason, str], ...] = ()
    replaced_by: tuple[str, ...] = ()
    #: Name of the rule that says so.
    replaced_by_rule: str = ""
    copies: tuple[tuple[str, Reason], ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether these recipients get nothing."""
        return self.action in FINAL


def outcome_of(matches: Iterable[Match], direction: Direction, outbound: Precedence) -> Outcome | None:
    """The outcome for recipients of this direction; None when no rule matches."""
    considered = _considered(matches)
    if not considered:
        return None
    disposing = [match for match in considered if match.rule.disposal is not None]
    winner = min(disposing, key=lambda one: _place(one, direction, outbound), default=None)
    if winner is None:
        return _with_changes(Outcome(Way(direction), "DEFAULT", Reason("", "no rule decides")), considered)
    if isinstance(winner.rule.disposal, Decide):
        action = directed(winner.rule.disposal.action, direction)
        decided = Outcome(Way(direction), action, _reason(winner), winner.rule.disposal.text)
        return _with_changes(decided, [one for one in considered if one is winner or one.rule.disposal is None])
    called = _called([one for one in disposing if one.rank == winner.rank])
    asking = [one for one in considered if one in called or one.rule.disposal is None]
    return _with_changes(_asking(called, Way(direction)), asking)


def directed(action: DecidedAction, direction: Direction) -> DecidedAction:
    """The action as it is in this direction: outbound mail knows no junk folder."""
    return "DEFAULT" if direction == "OUTBOUND" and action in {"MOVE_TO_JUNK", "BYPASS_SPAM_CHECK"} else action


def _considered(matches: Iterable[Match]) -> list[Match]:
    considered = []
    for match in matches:
        considered.append(match)
        if any(isinstance(change, StopRules) for change in match.rule.changes):
            break
    return considered


def _place(match: Match, direction: Direction, outbound: Precedence) -> tuple[int, int, int, int]:
    """Sorts the winner to the front."""
    disposal = match.rule.disposal
    action = directed(disposal.action, direction) if isinstance(disposal, Decide) else "RUN_LAMBDA"
    order = _LISTED if direction == "OUTBOUND" and outbound == "listed" else _RESTRICTIVE
    return (-match.rank[0], -match.rank[1], order.index(action), match.rule.number)


def _called(top: Sequence[Match]) -> list[Match]:
    """Of the most specific rules those whose functions run: every async one and the first sync one."""
    modes = [(match, match.rule.disposal.function.mode) for match in top if isinstance(match.rule.disposal, RunLambda)]
    sync = next((match for match, mode in modes if mode == "sync"), None)
    return [match for match, mode in modes if mode == "async" or match is sync]


def _asking(called: Sequence[Match], way: Way) -> Outcome:
    modes: Mapping[int, str] = {
        match.rule.number: match.rule.disposal.function.mode
        for match in called
        if isinstance(match.rule.disposal, RunLambda)
    }
    sync = next((match for match in called if modes[match.rule.number] == "sync"), None)
    asynchronous = tuple(number for number, mode in modes.items() if mode == "async")
    if sync is None:
        return Outcome(way, "DEFAULT", _reason(called[0]), also_asks=asynchronous)
    return Outcome(way, None, _reason(sync), asks=sync.rule.number, also_asks=asynchronous)


def _with_changes(outcome: Outcome, carried_out: Sequence[Match]) -> Outcome:
    """The outcome with the changes of these rules, in their order."""
    way, applied, copies = outcome.way, [], dict[str, Reason]()
    replaced_by: tuple[str, ...] = ()
    replaced_by_rule = ""
    for match in carried_out:
        effective = [change for change in match.rule.changes if not outcome.is_final or isinstance(change, Tee)]
        for change in effective:
            way = changed(way, change)
            if isinstance(change, ReplaceRecipient):
                replaced_by, replaced_by_rule = change.addresses, match.rule.name
            elif isinstance(change, Tee):
                copies.setdefault(change.address, _reason(match))
        if words := _words(match, effective):
            applied.append((_reason(match), words))
    return Outcome(
        way=way,
        action=outcome.action,
        reason=outcome.reason,
        text=outcome.text,
        asks=outcome.asks,
        also_asks=outcome.also_asks,
        applied=tuple(applied),
        replaced_by=replaced_by,
        replaced_by_rule=replaced_by_rule,
        copies=tuple(copies.items()),
    )


def _words(match: Match, changes: Sequence[Change]) -> str:
    disposal = match.rule.disposal
    runs = [f"runs {disposal.function.target} ({disposal.function.mode})"] if isinstance(disposal, RunLambda) else []
    return ", ".join([*runs, *map(words_of, changes)])


def _reason(match: Match) -> Reason:
    return Reason(match.rule.name, match.because)
