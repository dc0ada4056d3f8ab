"""Workers that crash, or are added, while the file of rules cannot be used: mail goes on by the rules from before."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.line import HOUSE, Line, wait_until
from tests.ruled import write_rules
from tests.running import RunningUp

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

GOOD = '[[rule]]\nname = "gone"\nrecipients = ["gone.example"]\naction = { type = "DROP" }\n'
BROKEN = '[[rule]]\nname = "gone"\naction = { type = "DORP" }\n[[rule]]\nnmae = "two"\n'
MAIL = "Subject: a\r\n\r\na\r\n"


def write(file: Path, text: str) -> None:
    """As if it had not been touched for long; at once, since somebody may be reading."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    os.utime(fresh, (1_000_000_000, 1_000_000_000))
    fresh.rename(file)


def test_a_worker_of_up_that_is_killed_while_the_file_is_broken_comes_back_with_the_old_rules() -> None:
    up = RunningUp(rules_reload_seconds=0.1)
    file = up.folder / "rules.toml"
    write(file, GOOD)
    up.environ["SLUICE_RULES_FILE"] = str(file)
    with up:
        copy = up.data_dir / "rules-last-good.toml"
        assert copy.exists()
        assert copy.stat().st_mode & 0o777 == 0o600
        write_rules(file, BROKEN)  # at once: half a file is another one
        up.wait_until(lambda: up.log_lines("rules.refused"), "the worker found the mistakes")
        up.wait_until_back("worker", up.kill("worker"))
        dropped = up.send("app@example.com", ["x@gone.example"], MAIL)
        up.send("app@example.com", ["you@example.com"], MAIL)
        up.wait_until(lambda: len(up.ledger()) == 1, "the mail is sent")
        up.wait_until(lambda: '"dropped"' in up.run("show", dropped, "--json").stdout, "the rule holds")
        assert [entry["destinations"] for entry in up.ledger()] == [["you@example.com"]]
        told = up.log_lines("rules.refused")
        assert [line["level"] for line in told] == ["error", "error"]  # the reload's and the new worker's
        assert all("DORP" in line["error"] and "nmae" in line["error"] for line in told)

        def is_told() -> bool:
            status, body = up.fetch("api", "/healthz")
            return status == 200 and any("DORP" in note for note in json.loads(body)["notes"])

        up.wait_until(is_told, "healthz names the mistake")  # a heartbeat that is late is not shown
        up.wait_until(lambda: b"mailsluice_rules_trouble 1.0" in up.fetch("api", "/metrics")[1], "so do the metrics")
        assert up.run("rules", "check").returncode == 1
        write(file, GOOD + "# mended\n")
        up.wait_until(lambda: b"mailsluice_rules_trouble 0.0" in up.fetch("api", "/metrics")[1], "the trouble is over")
        assert up.stop() == 0
        file.write_text(BROKEN)
        again = up.start(until_ready=False)
        assert again.wait_until_ended() == 2
        assert "DORP" in up.stderr


@pytest.mark.parametrize("command", [("mailsluice", "worker"), ("celery", "-A", "worker.app", "worker", "-c", "4")])
def test_a_worker_that_is_added_while_the_file_is_gone_takes_the_old_rules(command: tuple[str, ...]) -> None:
    with Line() as line:
        file = line.folder / "rules.toml"
        write(file, GOOD)
        line.environment["SLUICE_RULES_FILE"] = str(file)
        line.worker().stop()
        file.unlink()
        log = line.folder / "added.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                (sys.executable, "-m", *command), env=line.environment, cwd=HOUSE, stdout=out, stderr=out
            )
        try:
            ids = line.submit(2)
            line.wait_for(ids)
            whole, _, _ = log.read_text().rpartition("\n")
            events = [json.loads(one) for one in whole.splitlines() if one.startswith("{")]
            assert [one["event"] for one in events if one["event"].startswith("rules.")] == [
                "rules.refused",
                "rules.loaded",
            ]
            line.account(ids).assert_clean()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()


def test_a_worker_with_a_data_dir_of_its_own_has_no_rules_to_go_on_with() -> None:
    with Line() as line:
        file = line.folder / "rules.toml"
        write(file, GOOD)
        line.environment["SLUICE_RULES_FILE"] = str(file)
        line.worker()
        write(file, BROKEN)
        other = line.start("worker", wait=False, name="other", SLUICE_DATA_DIR=str(line.folder / "other"))
        wait_until(lambda: not other.is_running(), "the other worker refuses")
        assert other.process.returncode == 1
        assert "DORP" in other.log()
        assert "nmae" in other.log()
