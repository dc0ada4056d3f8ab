import json
import os
from pathlib import Path

from mailsluice.child import ChildState
from mailsluice.run_file import RunFile


def test_it_tells_what_runs_and_is_removed(tmp_path: Path) -> None:
    file = RunFile(tmp_path, {"smtp": "127.0.0.1:2525"})
    file.write({"worker": ChildState("ready", pid=7, restarts=1)})
    content = json.loads((tmp_path / "run.json").read_text())
    assert content["pid"] == os.getpid()
    assert content["addresses"] == {"smtp": "127.0.0.1:2525"}
    assert content["children"] == {"worker": {"state": "ready", "pid": 7, "restarts": 1}}
    file.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_nothing_stops_nothing(tmp_path: Path) -> None:
    file = RunFile(tmp_path / "gone", {})
    file.write({})
    file.remove()
