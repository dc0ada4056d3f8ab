"""`mailsluice suppression` on a spool."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from config.errors import Refused
from config.settings import Settings
from mailsluice import suppressing
from mailsluice.suppressing import Chosen
from tests.servers import RedisServer
from tests.spooled import settings_of

AT = "2026-01-31T12:00:00.000+00:00"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def settings(server: RedisServer, tmp_path: Path) -> Settings:
    server.call("FLUSHALL", "SYNC")
    return settings_of(server.url, tmp_path)


def test_addresses_are_added_shown_listed_and_removed(settings, capsys):
    assert suppressing.list_entries(settings, Chosen(), 10, as_json=False) == 0
    assert capsys.readouterr().out == "No address is suppressed.\n"
    assert suppressing.add_entries(settings, ["Bob@example.net", "ann@example.net"], "COMPLAINT", 3600) == 0
    assert capsys.readouterr().out == "2 entered.\n"
    assert suppressing.show_entry(settings, "bob@example.net", as_json=False) == 0
    shown = capsys.readouterr().out
    assert "address   bob@example.net\nreason    COMPLAINT, told by an operator\n" in shown
    assert "until     it is removed" not in shown
    assert suppressing.list_entries(settings, Chosen(reason="COMPLAINT"), 1, as_json=True) == 0
    told = capsys.readouterr()
    assert orjson.loads(told.out)["source"] == "operator"
    assert told.err == "There are more than 1: --limit shows them.\n"
    assert suppressing.remove_entries(settings, ["bob@example.net", "eve@example.net"]) == 0
    told = capsys.readouterr()
    assert told.out == "bob@example.net is mailed again.\n"
    assert told.err == "eve@example.net was not on the suppression list.\n"
    assert suppressing.remove_entries(settings, ["bob@example.net"]) == 1
    assert suppressing.show_entry(settings, "bob@example.net", as_json=False) == 1


def test_a_file_is_imported_and_exported_as_it_was(settings, tmp_path, capsys):
    file, out = tmp_path / "in.csv", tmp_path / "out.csv"
    file.write_text(f"\ufeff# from elsewhere\nbob@example.net,COMPLAINT,{AT}\n\nann@example.net\n", encoding="utf-8")
    assert suppressing.import_entries(settings, str(file), "BOUNCE", None) == 0
    assert capsys.readouterr().out == "2 entered.\n"
    assert suppressing.import_entries(settings, str(file), "BOUNCE", None) == 0
    assert capsys.readouterr().out == "0 entered, 2 replaced.\n"
    assert suppressing.export_entries(settings, str(out), is_for_ses=False) == 0
    first, second = out.read_text().splitlines()
    assert first == f"bob@example.net,COMPLAINT,{AT},,operator"
    assert second.startswith("ann@example.net,BOUNCE,")
    capsys.readouterr()
    assert suppressing.export_entries(settings, "-", is_for_ses=True) == 0
    assert capsys.readouterr().out == "bob@example.net,COMPLAINT\nann@example.net,BOUNCE\n"


def test_an_export_brings_everything_back(settings, tmp_path, capsys):
    file, again = tmp_path / "list.csv", tmp_path / "again.csv"
    lines = [f"ann@example.net,BOUNCE,{AT},2099-01-01T00:00:00+00:00,ses", f"bob@example.net,COMPLAINT,{AT},,feedback"]
    over = f"eve@example.net,BOUNCE,{AT},2001-01-01T00:00:00+00:00,api"
    file.write_text("\n".join([*lines, over]))
    assert suppressing.import_entries(settings, str(file), "BOUNCE", None) == 0
    assert capsys.readouterr().out == "2 entered.\n"
    assert suppressing.export_entries(settings, str(again), is_for_ses=False) == 0
    cells = [line.split(",") for line in again.read_text().splitlines()]
    assert [(*one[:3], one[3][:10], one[4]) for one in cells] == [
        ("ann@example.net", "BOUNCE", AT, cells[0][3][:10], "ses"),
        ("bob@example.net", "COMPLAINT", AT, "", "feedback"),
    ]
    until = datetime.fromisoformat(cells[0][3])
    assert abs(until - datetime(2099, 1, 1, tzinfo=UTC)) < timedelta(minutes=5)


def test_a_wrong_line_keeps_the_whole_file_out(settings, tmp_path, capsys):
    file = tmp_path / "in.csv"
    file.write_text(
        "bob@example.net\nnobody\nann@example.net,SPAM\neve@example.net,BOUNCE,yesterday\n"
        "eve@example.net,,,,elsewhere\n"
    )
    with pytest.raises(Refused) as refused:
        suppressing.import_entries(settings, str(file), "BOUNCE", None)
    assert refused.value.reason == (
        "nothing was entered:\nline 2: not an address: nobody\nline 3: the reason must be BOUNCE or COMPLAINT\n"
        "line 4: an instant must be as 2026-01-31T12:00:00Z\n"
        "line 5: the source must be feedback, ses, operator or api"
    )
    suppressing.list_entries(settings, Chosen(), 10, as_json=False)
    assert capsys.readouterr().out == "No address is suppressed.\n"
    with pytest.raises(Refused, match="cannot be read"):
        suppressing.import_entries(settings, str(tmp_path / "none.csv"), "BOUNCE", None)


def test_what_is_no_address_is_refused_before_anything_is_done(settings):
    with pytest.raises(Refused, match="not an address: nobody"):
        suppressing.add_entries(settings, ["bob@example.net", "nobody"], "BOUNCE", None)


def test_the_command_line_knows_them(server, tmp_path):
    server.call("FLUSHALL", "SYNC")

    def mailsluice(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-P", "-m", "mailsluice", "suppression", *arguments)
        environment = {"SLUICE_REDIS_URL": server.url, "PATH": "/usr/bin:/bin", "NO_COLOR": "1"}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    added = mailsluice("add", "bob@example.net", "--for", "1d", "--reason", "complaint")
    assert (added.returncode, added.stdout) == (0, "1 entered.\n"), added.stderr
    listed = mailsluice("list", "--newer-than", "1h")
    assert listed.stdout.startswith("bob@example.net  COMPLAINT  operator  ")
    assert "until" in listed.stdout
