"""docs/rules.md says what the code does: its examples, its tables."""

import re
from pathlib import Path

import pytest

from tests.unit.worker.rules.case import a_message, fates, judged, some_rules
from worker.rules.action_tables import READERS
from worker.rules.conditions import OPERATORS
from worker.rules.ways import MARKS

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "rules.md").read_text("utf-8")
EXAMPLES = re.findall(r"(?s)```toml\n(.*?)```", PAGE)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_are_right(example, tmp_path):
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "disclaimer.py").touch()
    assert some_rules(tmp_path, example).rules


def test_every_word_of_a_rules_file_is_told():
    operators = {operator for some in OPERATORS.values() for operator in some}
    words = {*READERS, *OPERATORS, *operators}
    assert sorted(word for word in words if f"`{word}`" not in PAGE) == []
    marks = [f"`{name}: {value}`" for some in MARKS.values() for name, value in some]
    assert [mark for mark in marks if mark not in PAGE] == []


@pytest.mark.parametrize(
    ("sender", "recipient", "fate"),
    [
        ("app@example.com", "bob@eu.partner.example", "BOUNCE closed"),
        ("sales@example.com", "bob@eu.partner.example", "DEFAULT sales may"),
        ("app@example.com", "eve@other.example", "DEFAULT"),
    ],
)
def test_the_worked_example_comes_out_as_it_is_told(sender, recipient, fate, tmp_path):
    rules = some_rules(tmp_path, EXAMPLES[1])
    verdict, message = judged(rules, a_message(recipient), f"From: {sender}\r\n\r\n".encode())
    assert fates(verdict, message) == {recipient: fate}
    has_header = [part.headers for part in verdict.parts] == [(("X-Team", "shop"),)]
    assert has_header is (not fate.startswith("BOUNCE"))
