"""The copy of the last good rules: what is kept and when, which one is used, and how a start with a wrong file ends."""

import os
import stat
from pathlib import Path

import pytest
import structlog

from config.settings import Settings
from worker.rules.keeper import RuleKeeper, check_file, check_start
from worker.rules.last_good import CopyRefused, LastGood
from worker.rules.records import RunLambda
from worker.rules.rule_file import RulesRefused

LONG_AGO = 1_000_000_000
DROP = '[[rule]]\nname = "{}"\naction = {{ type = "DROP" }}\n'
WRONG = '[[rule]]\nname = "one"\naction = { type = "DORP" }\n[[rule]]\nnmae = "two"\n'
ASK = '[[rule]]\nname = "ask"\naction = { type = "RUN_LAMBDA", function = "file:functions/app.py:handler" }\n'
needs_modes = pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "etc" / "rules.toml"
    file.parent.mkdir()
    write(file, DROP.format("one"))
    return file


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def copy(data_dir):
    return data_dir / "rules-last-good.toml"


def write(file: Path, text: str) -> None:
    """As if nobody had touched it for long."""
    file.write_text(text)
    os.utime(file, (LONG_AGO, LONG_AGO))


def settings(file: Path, data_dir: Path, **sections) -> Settings:
    return Settings.model_validate({"rules": {"file": file}, "data": {"dir": data_dir}, **sections})


def started(file: Path, data_dir: Path, **sections) -> RuleKeeper:
    keeper = RuleKeeper(settings(file, data_dir, **sections))
    keeper.load()
    return keeper


def refused(file: Path, data_dir: Path, **sections) -> tuple[str, ...]:
    with pytest.raises(RulesRefused) as start:
        started(file, data_dir, **sections)
    with pytest.raises(RulesRefused) as check:
        check_start(settings(file, data_dir, **sections))
    assert check.value.mistakes == start.value.mistakes
    return start.value.mistakes


async def test_what_is_taken_is_kept_with_mode_0600(file, data_dir, copy):
    started(file, data_dir)
    first_line, _, rest = copy.read_text().partition("\n")
    assert first_line.startswith("# ")
    assert str(file) in first_line
    assert rest == DROP.format("one")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert list(data_dir.iterdir()) == [copy]


async def test_a_changed_set_replaces_the_copy_and_a_wrong_one_does_not(file, data_dir, copy):
    keeper = started(file, data_dir)
    write(file, DROP.format("two"))
    await keeper.look(is_asked=True)
    assert 'name = "two"' in copy.read_text()
    write(file, WRONG)
    await keeper.look(is_asked=True)
    assert 'name = "two"' in copy.read_text()


async def test_a_file_that_has_just_changed_is_not_kept_until_it_rests(file, data_dir, copy):
    os.utime(file)  # somebody may be in the middle of writing
    clock = [file.stat().st_mtime + 0.5]
    keeper = RuleKeeper(settings(file, data_dir), clock=lambda: clock[0])
    keeper.load()
    await keeper.look()
    assert (len(keeper.current.rules), copy.exists()) == (1, False)
    clock[0] += 2
    await keeper.look()
    assert copy.exists()


def test_the_same_set_is_not_written_again(file, data_dir, copy):
    started(file, data_dir)
    before = copy.stat().st_ino
    started(file, data_dir)
    assert copy.stat().st_ino == before


@pytest.mark.parametrize("trouble", ["wrong", "gone", "a folder"])
def test_a_start_with_a_file_that_cannot_be_used_takes_the_copy(file, data_dir, copy, trouble):
    good = started(file, data_dir).current
    file.unlink()
    if trouble == "wrong":
        write(file, WRONG)
    elif trouble == "a folder":
        file.mkdir()
    with structlog.testing.capture_logs() as lines:
        keeper = RuleKeeper(settings(file, data_dir))
        keeper._log = structlog.get_logger()
        keeper.load()
    check_start(settings(file, data_dir))
    assert keeper.current == good
    assert keeper.trouble
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("rules.refused", "error"),
        ("rules.loaded", "info"),
    ]
    assert (lines[0]["version_at_work"], lines[1]["file"]) == (good.version, str(copy))


def test_all_mistakes_are_in_the_log_and_some_in_the_trouble(file, data_dir):
    started(file, data_dir)
    write(file, "".join(f'[[rule]]\nname = "{number}"\naction = {{ type = "DORP" }}\n' for number in range(30)))
    with structlog.testing.capture_logs() as lines:
        keeper = RuleKeeper(settings(file, data_dir))
        keeper._log = structlog.get_logger()
        keeper.load()
    assert lines[0]["mistakes"] == 30
    assert lines[0]["error"].count("DORP") == 30
    assert keeper.trouble.endswith("and 25 more")


async def test_when_the_file_is_right_again_the_trouble_is_over(file, data_dir, copy):
    started(file, data_dir)
    write(file, WRONG)
    keeper = started(file, data_dir)
    with structlog.testing.capture_logs() as lines:
        keeper._log = structlog.get_logger()
        await keeper.look(is_asked=True)
        assert (lines, bool(keeper.trouble)) == ([], True)  # told already
        write(file, DROP.format("three"))
        await keeper.look(is_asked=True)
    assert (keeper.current.rules[0].name, keeper.trouble) == ("three", "")
    assert [line["event"] for line in lines] == ["rules.loaded"]
    assert 'name = "three"' in copy.read_text()


def test_the_very_first_start_refuses_a_wrong_file_with_nothing_else_said(file, data_dir, copy):
    write(file, WRONG)
    with pytest.raises(RulesRefused) as checked:
        check_file(settings(file, data_dir))
    assert refused(file, data_dir) == checked.value.mistakes
    assert not copy.exists()


def test_every_data_dir_has_its_own_copy(file, data_dir, tmp_path):
    started(file, data_dir)
    write(file, WRONG)
    started(file, data_dir)
    refused(file, tmp_path / "another")


def test_the_copy_of_another_file_is_not_used_and_is_named(file, data_dir, tmp_path):
    other = tmp_path / "other.toml"
    write(other, DROP.format("other"))
    started(other, data_dir)
    write(file, WRONG)
    assert any(f"is a copy of {other}" in mistake for mistake in refused(file, data_dir))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda copy: copy.write_text(copy.read_text()[:-5]), "is damaged"),
        (lambda copy: copy.write_text(copy.read_text().replace('"DROP"', '"BOUNCE"')), "is damaged"),
        (lambda copy: copy.write_bytes(b""), "is no copy of rules"),
        (lambda copy: copy.write_bytes(b"\xff\xfe[]\n"), "is no copy of rules"),
        (lambda copy: copy.write_text("# 7\n"), "is no copy of rules"),
        (lambda copy: copy.chmod(0o620), "others can read or write it"),
        (lambda copy: (copy.rename(copy.with_name("aside")), copy.symlink_to("aside")), "cannot be read"),
        (lambda copy: (copy.unlink(), copy.mkdir(mode=0o700)), "is no file"),
        (lambda copy: (copy.unlink(), os.mkfifo(copy, 0o600)), "is no file"),
        pytest.param(lambda copy: copy.chmod(0), "cannot be read: Permission denied", marks=needs_modes),
    ],
)
def test_a_copy_that_cannot_be_trusted_is_not_used(file, data_dir, copy, spoil, said):
    started(file, data_dir)
    spoil(copy)
    write(file, WRONG)
    mistakes = refused(file, data_dir)
    assert any("DORP" in mistake for mistake in mistakes)
    assert said in mistakes[-1]


def test_a_copy_that_cannot_be_trusted_is_replaced_by_the_next_set(file, data_dir, copy):
    started(file, data_dir)
    copy.write_text("# 7\n")
    started(file, data_dir)
    assert LastGood(data_dir, file).read() == DROP.format("one").encode()


def test_a_copy_that_these_settings_cannot_use_any_more_refuses_the_start(file, data_dir):
    write(file, '[[rule]]\nname = "one"\naction = { type = "LANE", lane = "slow" }\n')
    lanes = {"lanes": {"shares": {"express": 50, "slow": 50}, "default": "express"}}
    started(file, data_dir, **lanes)
    write(file, WRONG)
    started(file, data_dir, **lanes)
    mistakes = refused(file, data_dir)
    assert any("DORP" in mistake for mistake in mistakes)
    assert "rules-last-good.toml, the last good copy:" in mistakes[-1]
    assert '"slow" is unknown' in mistakes[-1]


@pytest.mark.parametrize("is_there", [True, False])
def test_functions_are_found_where_they_were_and_one_that_is_gone_stops_no_other_mail(file, data_dir, is_there):
    function = file.parent / "functions" / "app.py"
    function.parent.mkdir()
    function.write_text("")
    write(file, ASK)
    before = started(file, data_dir).current
    if not is_there:
        function.unlink()
    write(file, WRONG)
    disposal = started(file, data_dir).current.rules[0].disposal
    assert isinstance(disposal, RunLambda)
    assert disposal.function.target == f"file:{function}:handler"
    assert disposal == before.rules[0].disposal


def test_a_right_file_whose_function_is_gone_is_wrong_and_its_copy_is_used(file, data_dir):
    function = file.parent / "functions" / "app.py"
    function.parent.mkdir()
    function.write_text("")
    write(file, ASK)
    good = started(file, data_dir).current
    function.unlink()
    keeper = started(file, data_dir)
    assert keeper.current == good
    assert "there is no file 'functions/app.py'" in keeper.trouble


def test_a_relative_path_and_the_same_absolute_one_are_one_file(file, data_dir, monkeypatch):
    monkeypatch.chdir(file.parent)
    started(Path("rules.toml"), data_dir)
    write(file, WRONG)
    started(file, data_dir)


async def test_a_copy_that_cannot_be_written_is_told_once_and_tried_again(file, data_dir, copy):
    data_dir.write_text("no folder")
    clock = [2.0e9]
    with structlog.testing.capture_logs() as lines:
        keeper = RuleKeeper(settings(file, data_dir), clock=lambda: clock[0])
        keeper._log = structlog.get_logger()
        keeper.load()
        clock[0] += 11
        await keeper.look()
    assert (len(keeper.current.rules), keeper.trouble) == (1, "")
    assert [line["event"] for line in lines] == ["rules.loaded", "rules.not_kept"]
    data_dir.unlink()
    await keeper.look()
    assert not copy.exists()
    clock[0] += 11
    await keeper.look()
    assert copy.exists()


@needs_modes
def test_a_folder_that_may_not_be_written_stops_nothing_and_leaves_nothing(file, data_dir):
    data_dir.mkdir()
    data_dir.chmod(0o500)
    try:
        assert started(file, data_dir).current.rules
        assert list(data_dir.iterdir()) == []
    finally:
        data_dir.chmod(0o700)


def test_whether_the_copy_is_of_this_file_is_asked_before_its_rules_are_read(file, data_dir, tmp_path):
    started(file, data_dir)
    with pytest.raises(CopyRefused, match="is a copy of"):
        LastGood(data_dir, tmp_path / "rules.toml").read()
