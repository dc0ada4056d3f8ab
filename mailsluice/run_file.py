"""`run.json` in the data dir: what runs now, for people, scripts and tests.

`{"pid", "started_at", "addresses": {name: address}, "children": {name: {"state", "pid", "restarts"}}}`. Replaced as a
whole at every change, removed after an orderly stop; after a crash it tells what ran. A disk that is full makes it
old, and stops nothing.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from mailsluice.child import ChildState

RUN_FILE = "run.json"


class RunFile:
    """Writes the file of one supervisor."""

    def __init__(self, data_dir: Path, addresses: Mapping[str, str | int]) -> None:
        self._path = data_dir / RUN_FILE
        self._addresses = dict(addresses)
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")

    def write(self, children: Mapping[str, ChildState]) -> None:
        """Replaces the file."""
        content = {
            "pid": os.getpid(),
            "started_at": self._started_at,
            "addresses": self._addresses,
            "children": {name: asdict(state) for name, state in children.items()},
        }
        draft = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):
            draft.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
            draft.replace(self._path)

    def remove(self) -> None:
        """After an orderly stop."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
