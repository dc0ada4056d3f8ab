"""Real workers and their file of rules: changed, broken, replaced, gone, asked for by SIGHUP; never a restart."""

import json
import os
import pty
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spool import keys
from tests.api_process import api_process
from tests.line import HOUSE, Line, Program, wait_until
from tests.running import RunningUp

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

GOOD = '[[rule]]\nname = "drop"\nrecipients = ["gone.example"]\naction = {{ type = "DROP" }}\n# {}\n'
BROKEN = '[[rule]]\nname = "drop"\naction = { type = "DORP" }\n[[rule]]\nnmae = "two"\n'


@pytest.fixture
def line() -> Iterator[Line]:
    with Line(SLUICE_RULES_RELOAD_SECONDS="0.1") as line:
        rules_of(line).write_text(GOOD.format(1))
        line.environment["SLUICE_RULES_FILE"] = str(rules_of(line))
        yield line


def rules_of(line: Line) -> Path:
    return line.folder / "rules.toml"


def replace(file: Path, text: str) -> None:
    """As editors do it: a new file in the place of the old one."""
    other = file.with_name("other")
    other.write_text(text)
    other.rename(file)


def beats(line: Line) -> list[dict[str, Any]]:
    """The heartbeats of the workers."""

    async def read(spool: Any) -> list[dict[str, Any]]:
        return [json.loads(raw) for raw in (await spool.redis.hgetall(keys.WORKERS)).values()]

    found: list[dict[str, Any]] = line.run(read)
    return found


def loaded(worker: Program) -> list[str]:
    """The versions that it took, in order."""
    return [event["version"] for event in worker.events() if event["event"] == "rules.loaded"]


def fetched(url: str) -> str:
    """The body of an answer 200; nothing of another, which is told while a worker or the server is silent."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            text: str = answer.read().decode()
            return text
    except urllib.error.HTTPError as error:
        error.close()
        return ""


def test_a_changed_file_holds_for_every_worker_without_a_restart(line: Line) -> None:
    workers = [line.worker(), line.worker()]
    wait_until(lambda: len({beat.get("rules_version") for beat in beats(line)} - {None}) == 1, "both have rules")
    (before,) = {beat["rules_version"] for beat in beats(line)}
    started_at = {beat["started_at_ms"] for beat in beats(line)}
    replace(rules_of(line), GOOD.format(2))
    wait_until(lambda: all(beat["rules_version"] != before for beat in beats(line)), "both have the new rules")
    assert {beat["started_at_ms"] for beat in beats(line)} == started_at
    assert all(len(loaded(worker)) == 2 for worker in workers)


def test_a_broken_file_leaves_the_old_rules_at_work_and_is_told_until_it_is_right(line: Line) -> None:
    worker = line.worker()
    (before,) = loaded(worker)
    replace(rules_of(line), BROKEN)
    wait_until(lambda: all("rules_trouble" in beat for beat in beats(line)), "the trouble is known")
    assert {beat["rules_version"] for beat in beats(line)} == {before}
    with api_process(line.redis.url, line.folder) as (url, _):
        said = json.loads(wait_until(lambda: fetched(f"{url}/healthz"), "all is well but the rules"))
        assert said["status"] == "ok"
        assert any("DORP" in note and "nmae" in note for note in said["notes"])
        assert list(said["rules"]["versions"]) == [before]
        wait_until(lambda: "mailsluice_rules_trouble 1.0" in fetched(f"{url}/metrics"), "a figure tells it")
    ids = line.submit(2)
    line.wait_for(ids)
    replace(rules_of(line), GOOD.format(3))
    wait_until(lambda: not any("rules_trouble" in beat for beat in beats(line)), "the trouble is over")
    assert len(loaded(worker)) == 2
    line.account(ids).assert_clean()


def test_a_file_that_vanishes_leaves_its_rules(line: Line) -> None:
    worker = line.worker()
    (before,) = loaded(worker)
    rules_of(line).unlink()
    wait_until(lambda: all("rules_trouble" in beat for beat in beats(line)), "the trouble is known")
    assert {beat["rules_version"] for beat in beats(line)} == {before}
    replace(rules_of(line), GOOD.format(1))
    wait_until(lambda: not any("rules_trouble" in beat for beat in beats(line)), "the trouble is over")
    assert worker.is_running()


@pytest.mark.parametrize("command", [("mailsluice", "worker"), ("celery", "-A", "worker.app", "worker", "-c", "4")])
def test_sighup_reads_the_rules_again_and_restarts_nothing(line: Line, command: tuple[str, ...]) -> None:
    line.environment["SLUICE_RULES_RELOAD_SECONDS"] = "60"
    log = line.folder / "a-worker.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            (sys.executable, "-m", *command), env=line.environment, cwd=HOUSE, stdout=out, stderr=out
        )
    worker = Program.__new__(Program)
    worker.log_path, worker.process = log, process
    line.programs.append(worker)
    wait_until(lambda: loaded(worker) and beats(line), "the worker works")
    replace(rules_of(line), GOOD.format(2))
    worker.send(signal.SIGHUP)
    wait_until(lambda: len(loaded(worker)) == 2, "the rules were read again")
    names = [event["event"] for event in worker.events()]
    assert names.count("worker.started") == 1
    assert "worker.stopping" not in names
    ids = line.submit(2)
    line.wait_for(ids)
    assert worker.stop() == 0


def test_a_worker_whose_terminal_closes_finishes_and_leaves(line: Line) -> None:
    master, slave = pty.openpty()
    code = (
        "import os, sys\nterminal = os.open(sys.argv[1], os.O_RDWR)\n"
        "for stream in (0, 1, 2): os.dup2(terminal, stream)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'mailsluice', 'worker'])"
    )
    process = subprocess.Popen(
        (sys.executable, "-c", code, os.ttyname(slave)), env=line.environment, cwd=HOUSE, start_new_session=True
    )
    os.close(slave)
    try:
        wait_until(lambda: beats(line), "the worker works")
        ids = line.submit(2)
        line.wait_for(ids)
        os.close(master)
        master = -1
        assert process.wait(60) == 0
        assert beats(line) == []  # it left in good order
    finally:
        process.kill()
        process.wait()
        if master >= 0:
            os.close(master)


def test_up_passes_sighup_on_and_goes_on() -> None:
    up = RunningUp(rules_reload_seconds=60)
    file = up.folder / "rules.toml"
    file.write_text(GOOD.format(1))
    up.environ["SLUICE_RULES_FILE"] = str(file)
    with up:
        before = up.pids()
        replace(file, GOOD.format(2))
        up.ask_to_stop(signal.SIGHUP)
        up.wait_until(lambda: len(up.log_lines("rules.loaded")) == 2, "the worker read its rules again")
        up.wait_until(lambda: up.log_lines("up.reread"), "it says that it passed it on")
        assert up.pids() == before
        up.send("app@example.com", ["you@example.com"], "Subject: a\r\n\r\na\r\n")
        up.wait_until(up.ledger, "the mail is sent")
        assert up.stop() == 0


def test_up_does_not_start_with_broken_rules_and_says_all_that_is_wrong() -> None:
    up = RunningUp()
    file = up.folder / "rules.toml"
    file.write_text(BROKEN)
    up.environ["SLUICE_RULES_FILE"] = str(file)
    try:
        up.start(until_ready=False)
        assert up.wait_until_ended() == 2
        assert "DORP" in up.stderr
        assert "nmae" in up.stderr
        assert "Traceback" not in up.stderr
        assert up.pids() == {}
    finally:
        up.close()


def test_a_plain_celery_worker_refuses_broken_rules(line: Line) -> None:
    rules_of(line).write_text(BROKEN)
    command = (sys.executable, "-m", "celery", "-A", "worker.app", "worker")
    ended = subprocess.run(
        command, env=line.environment, cwd=HOUSE, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "worker.refused" in ended.stderr
    assert "DORP" in ended.stderr
