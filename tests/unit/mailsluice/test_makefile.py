"""What `make up` says before it is silent for a while. Nothing is run: make only prints what it would do."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make on this machine")


def would_run(folder: Path) -> str:
    command = ("make", "--dry-run", "up")
    # `make test ARGS=…` runs this: what that make hands down must not change this one.
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "ARGS"))}
    made = subprocess.run(command, cwd=folder, env=outside, capture_output=True, text=True, timeout=60, check=True)
    return made.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(HOUSE / name, tmp_path)
    return tmp_path


def test_an_installation_is_announced_before_pip_is_silent(folder: Path) -> None:
    said, _, rest = would_run(folder).partition("pip install")
    assert 'echo "Installing the locked packages into .venv, about a minute' in said
    assert "mailsluice up" in rest


def test_nothing_is_announced_when_nothing_is_installed(folder: Path) -> None:
    (folder / ".venv").mkdir()
    (folder / ".venv/.runtime").touch()
    assert would_run(folder).split() == [".venv/bin/mailsluice", "up"]
