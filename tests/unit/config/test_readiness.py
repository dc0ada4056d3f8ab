import os

import pytest

from config.readiness import READY_LINE, READY_VARIABLE, tell_ready


def test_ready_is_told_once_and_the_pipe_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setenv(READY_VARIABLE, str(writing))
    tell_ready()
    tell_ready()
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == READY_LINE
    assert READY_VARIABLE not in os.environ


@pytest.mark.parametrize("named", [None, "", "x", "-1", "987654"])
def test_without_a_supervisor_nobody_is_told(named: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if named is None:
        monkeypatch.delenv(READY_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(READY_VARIABLE, named)
    tell_ready()


def test_a_supervisor_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setenv(READY_VARIABLE, str(writing))
    tell_ready()
