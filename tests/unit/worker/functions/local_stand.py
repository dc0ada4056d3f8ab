"""Functions of this machine with real processes: a folder for handlers, calls, and what is left of their processes."""

import asyncio
import contextlib
import json
import os
import re
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
from structlog.testing import capture_logs

from config.settings import FunctionsSettings, Settings
from worker.functions.failures import InvocationFailed
from worker.functions.local import LocalFunctions
from worker.rules.records import Function

INVOCATION_ID = "0123456789abcdef0123456789abcdef"
REQUEST_ID = "01234567-89ab-cdef-0123-456789abcdef"
#: What is said of a process when its guard was too slow to tell how it ended.
NOT_TOLD = "its process ended instead of an answer"


class Here:
    """Handlers in a folder, and the functions that call them."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.environ = {"PATH": os.environ["PATH"], "HOME": "/nowhere"}
        self.settings = Settings(functions=FunctionsSettings(**settings))
        self._functions: LocalFunctions | None = None

    @property
    def functions(self) -> LocalFunctions:
        if self._functions is None:
            self._functions = LocalFunctions(self.settings, environ=self.environ)
        return self._functions

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.functions.close()

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        return path

    def function(self, name: str, text: str | None = None, **options: Any) -> Function:
        path = self.folder / name if text is None else self.write(name, text)
        return Function(target=f"file:{path}:handler", **options)

    async def call(self, function: Function, event: Any = None, *, rule: str = "rule", seconds: float = 60.0) -> Any:
        return json.loads(await self.answer(function, event, rule=rule, seconds=seconds))

    async def answer(self, function: Function, event: Any, *, rule: str = "rule", seconds: float = 60.0) -> bytes:
        return await self.functions.invoke(
            function, rule=rule, payload=json.dumps(event).encode(), invocation_id=INVOCATION_ID, seconds=seconds
        )

    async def reason_of(self, function: Function, event: Any = None, *, expected: str) -> str:
        """Why a call fails. How its process ended is waited for two seconds only: on a slow machine once more."""
        for _ in range(5):
            with pytest.raises(InvocationFailed) as failed:
                await self.call(function, event)
            if failed.value.reason != NOT_TOLD or re.search(expected, NOT_TOLD):
                break
        return failed.value.reason

    async def printed(self, function: Function, event: Any = None) -> list[str]:
        """Lines that a call left in the log."""
        with capture_logs() as logged:
            await self.answer(function, event)
        return [entry["line"] for entry in logged if entry["event"] == "function.output"]


def is_alive(pid: int) -> bool:
    """Whether a thread of the process exists that is no zombie: its files are open until the last one has ended."""
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if task.joinpath("stat").read_text("ascii", "replace").rpartition(")")[2].split()[0] not in {"Z", "X"}:
                    return True
    return False


def wait_until(condition: Callable[[], Any], what: str, *, seconds: float = 60.0) -> None:
    """Polls; fails with `what`."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)


def hurry(seconds: float) -> None:
    """The clock of the running loop goes on by so much at once: a limit ends when the test says so, not before."""
    loop = asyncio.get_running_loop()
    time_before = loop.time
    loop.time = lambda: time_before() + seconds  # type: ignore[method-assign]
