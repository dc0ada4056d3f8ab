"""The keeper of the rules with a reader that only counts lines: when it reads, and what stays when it cannot."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
import structlog

from config.errors import Refused
from config.settings import Settings
from worker.hangup import on_hangup
from worker.rules.keeper import RuleKeeper, in_short
from worker.rules.records import RuleSet
from worker.rules.rule_file import RulesRefused

#: Below the longest distance between two looks, so that whoever was not heard is noticed.
LIMIT_SECONDS = 50.0
#: Nothing changes by itself any more.
LONG_AGO = 1_000_000_000


class Reader:
    """Takes the text of a file for the version of its rules; `wrong` is refused."""

    def __init__(self):
        self.reads = 0
        self.error: Exception | None = None

    def __call__(self, raw: bytes, file: Path, *, needs_files: bool = True) -> RuleSet:
        self.reads += 1
        if self.error:
            raise self.error
        text = raw.decode()
        if text.startswith("wrong"):
            raise RulesRefused((text, "and more"))
        return RuleSet(text, (), str(file))


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "rules.toml"
    write(file, "one")
    return file


def write(file: Path, text: str, at: int = LONG_AGO) -> None:
    """In place, as if it had been written at that second."""
    file.write_text(text)
    os.utime(file, (at, at))


def keeper(file: Path | None, reader: Reader, **settings) -> RuleKeeper:
    rules = {"file": file, "reload_seconds": 0.1, **settings}
    data = {"dir": file.parent / "data"} if file else {}
    return RuleKeeper(Settings.model_validate({"rules": rules, "data": data}), parse=reader)


def loaded(file: Path, reader: Reader, **settings) -> RuleKeeper:
    found = keeper(file, reader, **settings)
    found.load()
    return found


async def looks(rules: RuleKeeper) -> None:
    """One look finds a change, the next one that it is over."""
    await rules.look()
    await rules.look()


async def until(condition) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def test_without_a_file_there_are_no_rules_and_nothing_to_do(reader):
    rules = keeper(None, reader)
    rules.load()
    await rules.run()
    assert (rules.current, rules.trouble, rules.has_file, reader.reads) == (RuleSet(), "", False, 0)


def test_the_first_set_must_be_right(file, reader):
    write(file, "wrong")
    with pytest.raises(Refused, match="and more"):
        loaded(file, reader)


async def test_a_file_that_stays_the_same_is_not_read_again(file, reader):
    rules = loaded(file, reader)
    await looks(rules)
    await looks(rules)
    assert (rules.current.version, reader.reads) == ("one", 1)


async def test_a_changed_file_is_taken_and_told(file, reader):
    rules = loaded(file, reader)
    write(file, "two", LONG_AGO + 1)
    with structlog.testing.capture_logs() as lines:
        rules._log = structlog.get_logger()
        await looks(rules)
    assert rules.current.version == "two"
    assert [(line["event"], line["version"]) for line in lines] == [("rules.loaded", "two")]


async def test_a_file_that_is_still_being_written_is_not_taken(file, reader):
    rules = loaded(file, reader)
    for number, text in enumerate(("", "t", "tw", "two"), LONG_AGO + 1):
        write(file, text, number)
        await rules.look()
        assert rules.current.version == "one"
    await rules.look()
    assert (rules.current.version, reader.reads) == ("two", 2)


async def test_a_file_that_is_away_for_a_moment_is_no_trouble(file, reader):
    rules = loaded(file, reader)
    file.unlink()
    await rules.look()
    write(file, "two", LONG_AGO + 1)
    await looks(rules)
    assert (rules.current.version, rules.trouble) == ("two", "")


async def test_who_asks_gets_the_file_as_it_is_now(file, reader):
    rules = loaded(file, reader)
    write(file, "two", LONG_AGO + 1)
    await rules.look(is_asked=True)
    assert rules.current.version == "two"


async def test_a_file_put_in_the_place_of_the_old_one_is_seen_though_size_and_time_are_the_same(file, reader):
    rules = loaded(file, reader)
    other = file.with_name("other")
    write(other, "two")
    other.rename(file)
    await looks(rules)
    assert rules.current.version == "two"


async def test_a_link_that_points_elsewhere_is_seen(file, reader, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(file)
    rules = loaded(link, reader)
    write(tmp_path / "new", "two")
    (tmp_path / "link.new").symlink_to(tmp_path / "new")
    (tmp_path / "link.new").rename(link)
    await looks(rules)
    assert rules.current.version == "two"


async def test_a_change_within_one_tick_of_the_files_clock_is_not_missed(file, reader, tmp_path):
    now = int(time.time())
    write(file, "one", now)
    settings = Settings.model_validate({"rules": {"file": file}, "data": {"dir": tmp_path / "data"}})
    rules = RuleKeeper(settings, parse=reader, clock=lambda: now + 0.5)
    rules.load()
    write(file, "two", now)  # same size, same time, same inode
    await looks(rules)
    assert rules.current.version == "two"


async def test_a_wrong_file_leaves_the_old_set_until_it_is_right(file, reader):
    rules = loaded(file, reader)
    write(file, "wrong", LONG_AGO + 1)
    with structlog.testing.capture_logs() as lines:
        rules._log = structlog.get_logger()
        await looks(rules)
        await rules.look(is_asked=True)
    assert (rules.current.version, rules.trouble) == ("one", "wrong; and more")
    assert [line["event"] for line in lines] == ["rules.refused"]  # once for one mistake
    assert (lines[0]["version_at_work"], lines[0]["mistakes"]) == ("one", 2)
    write(file, "three", LONG_AGO + 2)
    await looks(rules)
    assert (rules.current.version, rules.trouble) == ("three", "")


async def test_the_old_text_again_ends_the_trouble(file, reader):
    rules = loaded(file, reader)
    write(file, "wrong", LONG_AGO + 1)
    await looks(rules)
    write(file, "one", LONG_AGO + 2)
    await looks(rules)
    assert (rules.current.version, rules.trouble) == ("one", "")


async def test_a_file_that_vanishes_leaves_its_rules_and_is_trouble_until_it_is_back(file, reader):
    rules = loaded(file, reader)
    file.unlink()
    await looks(rules)
    assert rules.current.version == "one"
    assert "there is no such file" in rules.trouble
    write(file, "one")
    await looks(rules)
    assert rules.trouble == ""


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), RecursionError("deep"), KeyError("x")])
async def test_whatever_the_reader_raises_the_old_set_stays(file, reader, error):
    rules = loaded(file, reader)
    reader.error = error
    await rules.look(is_asked=True)
    assert rules.current.version == "one"
    assert str(file) in rules.trouble


async def test_a_wrong_file_is_read_again_after_a_while_because_what_it_names_may_have_come(file, reader, tmp_path):
    clock = [2.0e9]
    settings = Settings.model_validate({"rules": {"file": file}, "data": {"dir": tmp_path}})
    rules = RuleKeeper(settings, parse=reader, clock=lambda: clock[0])
    rules.load()
    reader.error = RulesRefused(("functions/disclaimer.py is not there",))
    await rules.look(is_asked=True)
    reader.error = None
    await looks(rules)
    assert rules.trouble
    clock[0] += 11
    await looks(rules)
    assert rules.trouble == ""


async def test_the_job_sees_a_change_by_itself(file, reader):
    rules = loaded(file, reader)
    job = asyncio.create_task(rules.run())
    write(file, "two", LONG_AGO + 1)
    await until(lambda: rules.current.version == "two")
    job.cancel()


async def test_asked_from_another_thread_the_job_reads_at_once(file, reader):
    rules = loaded(file, reader, reload_seconds=60)
    job = asyncio.create_task(rules.run())
    await until(lambda: rules._loop is not None)
    await asyncio.to_thread(rules.reload)
    await until(lambda: reader.reads == 2)
    job.cancel()


async def test_who_asks_before_the_job_runs_is_heard(file, reader):
    rules = loaded(file, reader, reload_seconds=60)
    write(file, "two", LONG_AGO + 1)
    rules.reload()
    job = asyncio.create_task(rules.run())
    await until(lambda: rules.current.version == "two")
    job.cancel()


def test_asking_when_the_loop_is_closed_does_no_harm(file, reader):
    rules = loaded(file, reader)

    async def run_for_a_moment() -> None:
        job = asyncio.create_task(rules.run())
        await until(lambda: rules._loop is not None)
        job.cancel()

    asyncio.run(run_for_a_moment())
    rules.reload()


def test_what_is_shown_of_many_mistakes_is_bounded():
    words = in_short(tuple(f"mistake {number}" for number in range(500)))
    assert words == "mistake 0; mistake 1; mistake 2; mistake 3; mistake 4; and 495 more"
    assert len(in_short(("x" * 10_000,))) < 1100


def test_sighup_asks_for_the_rules_and_ends_nothing():
    heard = []
    before = signal.getsignal(signal.SIGHUP)
    try:
        on_hangup(lambda: heard.append("reload"))
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert heard == ["reload", "reload"]
