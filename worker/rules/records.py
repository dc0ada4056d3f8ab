"""A rule set as values. Made by rule_file.py, read by choice.py; nothing here touches a file or a message.

The names of the actions that decide are WorkMail's, those of the conditions and of all else Mail Manager's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from spool.verdicts import DecidedAction, Direction
from worker.rules.patterns import Pattern, PatternIndex

AttributeName = Literal[
    "SUBJECT", "HEADER", "MESSAGE_SIZE", "SOURCE_IP", "SMTP_USER", "ATTACHMENT_NAME", "HAS_ATTACHMENTS"
]
Operator = Literal[
    "EQUALS", "NOT_EQUALS", "STARTS_WITH", "ENDS_WITH", "CONTAINS", "MATCHES",
    "LESS_THAN", "LESS_THAN_OR_EQUAL", "GREATER_THAN", "GREATER_THAN_OR_EQUAL",
    "CIDR_MATCHES", "NOT_CIDR_MATCHES", "IS_TRUE", "IS_FALSE",
]  # fmt: skip


DIRECTIONS: tuple[Direction, ...] = ("INBOUND", "OUTBOUND")


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison; true when any of the values fits (NOT_…: when none does)."""

    attribute: AttributeName
    operator: Operator
    values: tuple[str | int, ...] = ()
    #: For HEADER: its name as written.
    header: str = ""
    #: Texts among the values, as they are compared.
    folded: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        folded = tuple(value.casefold() for value in self.values if isinstance(value, str))
        object.__setattr__(self, "folded", folded)


@dataclass(frozen=True, slots=True)
class Function:
    """What RUN_LAMBDA calls and what it may use."""

    target: str
    mode: Literal["sync", "async"] = "sync"
    #: 0 = no second try.
    timeout_minutes: float = 0.0
    fallback: DecidedAction = "DEFAULT"
    fallback_text: str = ""
    #: Of one try. AWS: 15 s for a sync rule.
    timeout_seconds: float = 15.0
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: Interpreter of its own venv, for python: and file: targets; "" = the one that mailsluice runs with.
    python: str = ""
    concurrency: int = 2
    memory_megabytes: int = 512


@dataclass(frozen=True, slots=True)
class Decide:
    """DROP, BOUNCE, MOVE_TO_JUNK, DEFAULT, BYPASS_SPAM_CHECK."""

    action: DecidedAction
    text: str = ""


@dataclass(frozen=True, slots=True)
class RunLambda:
    """RUN_LAMBDA."""

    function: Function


@dataclass(frozen=True, slots=True)
class AddHeader:
    """ADD_HEADER: X-* only."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class ReplaceRecipient:
    """REPLACE_RECIPIENT: the mail of every recipient that matched goes to these instead."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Archive:
    """ARCHIVE: names an archive."""

    archive: str


@dataclass(frozen=True, slots=True)
class UseLane:
    """LANE."""

    lane: str


@dataclass(frozen=True, slots=True)
class UseRoute:
    """ROUTE."""

    route: str


@dataclass(frozen=True, slots=True)
class UseConfigurationSet:
    """CONFIGURATION_SET."""

    name: str


@dataclass(frozen=True, slots=True)
class AddTags:
    """TAGS of the SES call."""

    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Tee:
    """TEE: a copy to a further recipient, whom no header names."""

    address: str


@dataclass(frozen=True, slots=True)
class StopRules:
    """STOP: no later rule is looked at for the recipients that matched."""


Change = AddHeader | ReplaceRecipient | Archive | UseLane | UseRoute | UseConfigurationSet | AddTags | Tee | StopRules
Disposal = Decide | RunLambda


@dataclass(frozen=True, slots=True)
class Rule:
    """One [[rule]]. At most one disposal; `number` is its place in the file, from 0."""

    number: int
    name: str
    #: Empty = both.
    directions: tuple[Direction, ...]
    senders: tuple[Pattern, ...] = ()
    recipients: tuple[Pattern, ...] = ()
    #: All of them must be true.
    conditions: tuple[Condition, ...] = ()
    unless_senders: tuple[Pattern, ...] = ()
    unless_recipients: tuple[Pattern, ...] = ()
    #: None of them may be true.
    unless: tuple[Condition, ...] = ()
    disposal: Disposal | None = None
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class RuleSet:
    """All rules of a file, in its order. `version`: 12 hex digits of its bytes' hash; "" = there is no file.

    The indexes are made when the first message asks for them. In the numbers they deal in, bit n is rule n.
    """

    version: str = ""
    rules: tuple[Rule, ...] = ()
    #: Path of the file, for people.
    source: str = ""

    @cached_property
    def senders(self) -> PatternIndex:
        """Whose mail each rule is for."""
        return PatternIndex((rule.senders for rule in self.rules), fits_without=True)

    @cached_property
    def recipients(self) -> PatternIndex:
        """To whom it must go."""
        return PatternIndex((rule.recipients for rule in self.rules), fits_without=True)

    @cached_property
    def unless_senders(self) -> PatternIndex:
        """Whose mail it is not for."""
        return PatternIndex((rule.unless_senders for rule in self.rules), fits_without=False)

    @cached_property
    def unless_recipients(self) -> PatternIndex:
        """To whom it must not go."""
        return PatternIndex((rule.unless_recipients for rule in self.rules), fits_without=False)

    @cached_property
    def by_direction(self) -> Mapping[Direction, int]:
        """The rules of each direction."""
        found = dict.fromkeys(DIRECTIONS, 0)
        for number, rule in enumerate(self.rules):
            for direction in rule.directions or DIRECTIONS:
                found[direction] |= 1 << number
        return found
