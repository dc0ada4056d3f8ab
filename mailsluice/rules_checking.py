"""`mailsluice rules check`: whether a rules file can be used, and what it holds."""

from collections.abc import Mapping
from pathlib import Path

import typer

from aws_api.admin.wording import escaped, many
from config.errors import Refused
from config.settings import Settings
from worker.rules.records import Archive, Change, RuleSet, RunLambda, UseConfigurationSet
from worker.rules.rule_file import Known, RulesRefused, read_rules

EXIT_MISTAKES = 1
_SHOWN_RULES = 5


def run(settings: Settings, file: Path | None) -> int:
    """Prints every mistake, or what the file holds. Returns the exit code."""
    try:
        rules = read_rules(rules_file(settings, file), Known.of(settings))
    except RulesRefused as refused:
        for mistake in refused.mistakes:
            typer.echo(escaped(mistake), err=True)
        typer.echo(many(len(refused.mistakes), "mistake"), err=True)
        return EXIT_MISTAKES
    typer.echo(told(rules, settings))
    return 0


def rules_file(settings: Settings, file: Path | None) -> Path:
    """The file that is meant."""
    path = file or settings.rules.file
    if path is None:
        raise Refused("there are no rules: name a file, or set [rules] file (SLUICE_RULES_FILE)")
    return path


def told(rules: RuleSet, settings: Settings) -> str:
    """What a right file holds, for people."""
    numbers = {direction: mask.bit_count() for direction, mask in rules.by_direction.items()}
    functions = sum(isinstance(rule.disposal, RunLambda) for rule in rules.rules)
    lines = [
        f"{escaped(rules.source)} is right: version {rules.version}, {many(len(rules.rules), 'rule')}",
        f"  INBOUND   {many(numbers['INBOUND'], 'rule')}",
        f"  OUTBOUND  {many(numbers['OUTBOUND'], 'rule')}",
    ]
    if functions:
        lines.append(f"  {many(functions, 'rule')} with a function")
    if not settings.smtp.local_domains and any(rule.directions == ("INBOUND",) for rule in rules.rules):
        lines.append("  note: [smtp] local_domains is empty, so no mail is INBOUND")
    if archiving := [rule.name for rule in rules.rules if any(isinstance(one, Archive) for one in rule.changes)]:
        lines.append(f"  note: ARCHIVE ({_names(archiving)}) only names an archive; nothing is archived yet")
    mapped = settings.relay.configuration_sets
    naming = [rule.name for rule in rules.rules if any(_is_mapped(one, mapped) for one in rule.changes)]
    if naming and settings.unknown_policy == "confirm":
        lines.append(
            f"  note: CONFIGURATION_SET ({_names(naming)}): [relay] configuration_sets has sets of SES for these; "
            "their events have to come to [feedback] too, or each call without an answer is sent again"
        )
    return "\n".join(lines)


def _is_mapped(change: Change, mapped: Mapping[str, str]) -> bool:
    return isinstance(change, UseConfigurationSet) and change.name in mapped


def _names(rules: list[str]) -> str:
    shown = ", ".join(f'"{escaped(name)}"' for name in rules[:_SHOWN_RULES])
    left_out = len(rules) - _SHOWN_RULES
    return f"{shown} and {many(left_out, 'other rule')}" if left_out > 0 else shown
