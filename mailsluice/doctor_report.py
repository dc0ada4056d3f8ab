"""What `mailsluice doctor` found, as lines for people and as JSON. Pure."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from aws_api.admin.wording import escaped

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    #: What was looked at, in a word or two.
    about: str
    #: How it is.
    text: str
    #: What to do; "" when nothing is to be done.
    remedy: str = ""


def ok(about: str, text: str) -> Finding:
    """As it should be."""
    return Finding("ok", about, text)


def warn(about: str, text: str, remedy: str = "") -> Finding:
    """It works, or may, and somebody should look at it."""
    return Finding("warn", about, text, remedy)


def fail(about: str, text: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding("fail", about, text, remedy)


def line_of(finding: Finding) -> str:
    """For people: level, what, how it is; below it what to do. Texts of others cannot forge lines."""
    head = f"{finding.level:4}  {finding.about:18} {escaped(finding.text)}"
    return f"{head}\n      {'':18} → {escaped(finding.remedy)}" if finding.remedy else head


def summary_of(findings: Sequence[Finding]) -> str:
    """The last line but for the proof."""
    failed, warned = (sum(one.level == level for one in findings) for level in ("fail", "warn"))
    if not (failed or warned):
        return "Everything is as it should be."
    parts = [f"{count} {word}" for count, word in ((failed, "failed"), (warned, "to look at")) if count]
    return f"{', '.join(parts)}; the rest is as it should be."


def exit_code_of(findings: Iterable[Finding]) -> int:
    """0 unless something failed."""
    return int(any(one.level == "fail" for one in findings))


def as_json(findings: Sequence[Finding], settings_lines: Sequence[str], proven_seconds: float | None) -> str:
    """The whole report for programs."""
    report = {
        "is_well": not exit_code_of(findings),
        "findings": [asdict(one) for one in findings],
        "settings_to_write": list(settings_lines),
        "proven_seconds": proven_seconds,
    }
    return json.dumps(report, indent=2)
