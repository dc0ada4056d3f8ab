"""Reads the rules file: all of it or nothing. One reading finds every mistake, with rule, key and what is allowed.

The version of a set is a hash of the file's bytes, so the same file is the same version everywhere. Reading is the only
time that a file is touched; functions are looked for (a `file:` that is not there is a mistake) but never started.
"""

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from config.errors import Refused
from config.settings import Settings
from spool.verdicts import Direction
from worker.rules.action_tables import Surroundings, read_action
from worker.rules.condition_tables import read_condition
from worker.rules.patterns import Pattern, parse_pattern
from worker.rules.records import DIRECTIONS, Condition, Decide, Disposal, Rule, RuleSet, RunLambda
from worker.rules.toml_table import Table, shown

MAX_FILE_BYTES = 1024 * 1024
MAX_RULES = 1000
MAX_SENDERS = 250
MAX_RECIPIENTS = 1000
MAX_CONDITIONS = 50
MAX_ACTIONS = 50
# tomllib's time for a dotted key is quadratic in its parts.
_MAX_KEY_PARTS = 200
_LONG_KEY = re.compile(rb"(?<![\w\"'-])(?:[\w\"'-]++[ \t]*+\.[ \t]*+){%d}" % _MAX_KEY_PARTS)
_NAME = re.compile(r"(?=\S)[^\x00-\x1f\x7f]{1,64}(?<=\S)")


@dataclass(frozen=True, slots=True)
class Known:
    """What rules may refer to by name."""

    lanes: frozenset[str]
    routes: frozenset[str]

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As the settings have it; without named routes there is one, `default`."""
        return cls(frozenset(settings.lanes.shares), frozenset(settings.routes or ("default",)))


class RulesRefused(Refused):
    """The file cannot be used; `mistakes` has each on its own line."""

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        super().__init__("Rules that cannot be used:\n  " + "\n  ".join(mistakes))
        self.mistakes = mistakes


def read_rules(path: Path, known: Known) -> RuleSet:
    """The rule set of a file. Raises RulesRefused with everything that is wrong with it."""
    return parse_rules(read_bytes(path), path, known)


def parse_rules(raw: bytes, path: Path, known: Known, *, needs_files: bool = True) -> RuleSet:
    """The rule set that these bytes of the file `path` are. Raises RulesRefused with everything that is wrong.

    Without `needs_files` the files of functions may be missing: such a function fails whenever it is asked.
    """
    values = _parsed(raw, path)
    mistakes: list[str] = []
    file = Table(values, f"{path.name}:", mistakes)
    rules = []
    names: dict[str, int] = {}
    for number, table in enumerate(_rule_tables(file, values, path.name, mistakes)):
        rule = _rule(table, number, known, path.absolute().parent, needs_files=needs_files)
        if rule.name and (first := names.setdefault(rule.name.casefold(), number)) != number:
            table.mistake("name", f'"{rule.name}" is the name of rule {first + 1} already')
        rules.append(rule)
    if mistakes:
        raise RulesRefused(tuple(mistakes))
    return RuleSet(version_of(raw), tuple(rules), str(path))


def version_of(raw: bytes) -> str:
    """12 hex digits of the hash of a file's bytes."""
    return hashlib.blake2b(raw, digest_size=6).hexdigest()


def read_bytes(path: Path) -> bytes:
    """The bytes of the file. Raises RulesRefused when there are none to be had, or too many."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise RulesRefused((f"{path}: there is no such file",)) from error
    except OSError as error:
        raise RulesRefused((f"{path}: cannot be read: {error.strerror}",)) from error
    if len(raw) > MAX_FILE_BYTES:
        raise RulesRefused((f"{path}: is larger than {MAX_FILE_BYTES:,} bytes",))
    return raw


def _parsed(raw: bytes, path: Path) -> dict[str, Any]:
    if _LONG_KEY.search(raw):
        raise RulesRefused((f"{path.name}: a key has more than {_MAX_KEY_PARTS} parts",))
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise RulesRefused((f"{path.name}: line {line} is not UTF-8",)) from error
    except tomllib.TOMLDecodeError as error:
        raise RulesRefused((f"{path.name}: is no TOML: {error}",)) from error
    except RecursionError as error:
        raise RulesRefused((f"{path.name}: is nested too deeply",)) from error


def _rule_tables(file: Table, values: dict[str, Any], name: str, mistakes: list[str]) -> list[Table]:
    """The [[rule]] tables with their places."""
    file.has("rule")
    file.end()
    found = values.get("rule", [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        mistakes.append(f"{name}: rule: must be tables; allowed: [[rule]]")
        return []
    if len(found) > MAX_RULES:
        mistakes.append(f"{name}: has {len(found):,} rules; allowed: {MAX_RULES:,}")
    tables = []
    for number, one in enumerate(found[:MAX_RULES], 1):
        called = f"{shown(one['name'])} " if isinstance(one.get("name"), str) else ""
        tables.append(Table(one, f"{name}: rule {called}({number})", mistakes))
    return tables


def _rule(table: Table, number: int, known: Known, folder: Path, *, needs_files: bool) -> Rule:
    name = table.required("name", longest=64)
    if name and not (_NAME.fullmatch(name) and name.isprintable()):
        table.mistake("name", "allowed: 1 to 64 printable characters, no blank at the ends")
    directions = table.each("direction", _direction, most=2)
    directions = tuple(one for one in DIRECTIONS if one in directions)
    around = Surroundings(known.lanes, known.routes, folder, directions, needs_files=needs_files)
    rule = Rule(
        number=number,
        name=name,
        directions=directions,
        senders=_patterns(table, "senders", MAX_SENDERS),
        recipients=_patterns(table, "recipients", MAX_RECIPIENTS),
        conditions=_conditions(table, "conditions"),
        unless_senders=_patterns(table, "unless_senders", MAX_SENDERS),
        unless_recipients=_patterns(table, "unless_recipients", MAX_RECIPIENTS),
        unless=_conditions(table, "unless"),
        **_actions(table, around),
    )
    table.end()
    return rule


def _direction(value: Any) -> Direction:
    found = next((one for one in DIRECTIONS if isinstance(value, str) and one == value.upper()), None)
    if found is None:
        raise ValueError("allowed: INBOUND, OUTBOUND, or both in a list")
    return found


def _patterns(table: Table, key: str, most: int) -> tuple[Pattern, ...]:
    if table.is_empty_list(key):
        # Nobody would be a surprise for whoever means "all", and all for whoever means "nobody".
        if not key.startswith("unless"):
            table.mistake(key, "is empty; leave it out for all")
        return ()
    return table.each(key, _pattern, most=most)


def _pattern(value: Any) -> Pattern:
    if not isinstance(value, str):
        raise ValueError("allowed: user@domain, domain, *.domain, *")  # noqa: TRY004 - told with the other mistakes
    return parse_pattern(value)


def _conditions(table: Table, key: str) -> tuple[Condition, ...]:
    read = (read_condition(one) for one in table.tables(key, most=MAX_CONDITIONS))
    return tuple(condition for condition in read if condition is not None)


def _actions(table: Table, around: Surroundings) -> dict[str, Any]:
    """`disposal` and `changes`, from `action` or `actions`. Asked for last: a key that is mistyped is one mistake."""
    has_one, has_several = table.has("action"), table.has("actions")
    if has_one == has_several and (has_one or not table.will_suggest("action", "actions")):
        table.mistake("action", "must be given, or actions, and not both")
    tables = table.tables("action", most=1) + table.tables("actions", most=MAX_ACTIONS)
    read = [action for one in tables if (action := read_action(one, around)) is not None]
    disposals: list[Disposal] = [one for one in read if isinstance(one, Decide | RunLambda)]
    if len(disposals) > 1:
        table.mistake("actions", "has more than one that says whether the mail goes; allowed: one of those")
    changes = tuple(one for one in read if not isinstance(one, Decide | RunLambda))
    return {"disposal": disposals[0] if disposals else None, "changes": changes}
