"""A file of rules that cannot be used refuses the start, with all of its mistakes."""

import os
from pathlib import Path

import pytest

from config.settings import Settings
from mailsluice.preflight import complain, rule_problems
from worker import start
from worker.rules.keeper import RuleKeeper, check_start


def settings(file: Path | None) -> Settings:
    data = {"dir": file.parent / "data"} if file else {}
    return Settings.model_validate({"rules": {"file": file}, "data": data})


def test_without_a_file_and_with_a_right_one_there_is_nothing_to_say(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text('[[rule]]\nname = "one"\naction = { type = "DROP" }\n')
    assert rule_problems(settings(None)) == []
    assert rule_problems(settings(file)) == []


def test_every_mistake_has_its_line(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text('[[rule]]\nname = "one"\naction = { type = "DORP" }\n[[rule]]\nnmae = "two"\n')
    problems = rule_problems(settings(file))
    assert any("DORP" in line for line in problems)
    assert any("nmae" in line for line in problems)
    with pytest.raises(Exception, match="DORP"):
        complain(problems)


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    assert "absent.toml" in "\n".join(rule_problems(settings(tmp_path / "absent.toml")))


def test_a_worker_does_not_start_with_wrong_rules_and_says_all_that_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rules.toml"
    file.write_text('[[rule]]\nname = "one"\naction = { type = "DORP" }\n[[rule]]\nnmae = "two"\n')
    assert start.run(settings(file)) == 1
    said = capsys.readouterr().err
    assert "DORP" in said
    assert "nmae" in said


def test_a_copy_lets_a_worker_start_but_not_mailsluice_up(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text('[[rule]]\nname = "one"\naction = { type = "DROP" }\n')
    os.utime(file, (1_000_000_000, 1_000_000_000))
    RuleKeeper(settings(file)).load()
    file.write_text('[[rule]]\nname = "one"\naction = { type = "DORP" }\n')
    check_start(settings(file))
    assert any("DORP" in line for line in rule_problems(settings(file)))
