import asyncio
import hashlib
import importlib
import pkgutil
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions

import spool
from config.errors import TryLater
from spool.scripts import Script, StoreFull, StoreUnavailable, translated

FOLDER = Path(spool.__file__).parent / "lua"
PARTS = {"prelude", "lanes", "places", "quota", "facts", "flow", "suppression", "reputation", "inbox"}
MODULES = [importlib.import_module(f"spool.{one.name}") for one in pkgutil.iter_modules(spool.__path__)]
ALL = {value.name: value for one in MODULES for value in vars(one).values() if isinstance(value, Script)}
READING = {
    "feedback_find", "find", "for_events", "queued", "scan", "summaries", "suppression_among", "suppression_list"
}  # fmt: skip
# What these bring is offered again.
MAY_BE_REFUSED = {"accept", "feedback_keep"}


class Server:
    """Knows no script until it was sent whole; answers with what it was asked, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.known: set[str] = set()
        self.error = error
        self.calls: list[str] = []

    async def evalsha(self, digest: str, number_of_keys: int, key: str, *arguments: Any) -> Any:
        self.calls.append("evalsha")
        if self.error:
            raise self.error
        if digest not in self.known:
            raise exceptions.NoScriptError("NOSCRIPT No matching script.")
        return number_of_keys, key, arguments

    async def eval(self, source: str, number_of_keys: int, key: str, *arguments: Any) -> Any:
        self.calls.append("eval")
        self.known.add(hashlib.sha1(source.encode()).hexdigest())
        return number_of_keys, key, arguments


def test_every_lua_file_is_a_script():
    assert {path.stem for path in FOLDER.glob("*.lua")} == {*ALL, *PARTS}


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_script_says_what_it_takes_and_what_it_returns(name: str):
    own = (FOLDER / f"{name}.lua").read_text("utf-8")
    assert own.startswith("-- ")
    assert "ARGV" in own.partition("local")[0]
    assert "Returns" in own.partition("local")[0]
    assert ALL[name].source.endswith(own)


@pytest.mark.parametrize("name", sorted(set(ALL) - READING - MAY_BE_REFUSED))
def test_a_script_that_must_run_on_a_full_server_begins_with_a_command_that_shrinks(name: str):
    own = (FOLDER / f"{name}.lua").read_text("utf-8")
    code = [line for line in own.splitlines() if line and not line.startswith("--")]
    assert code[0] == "may_grow()"


async def test_a_script_is_sent_whole_once_and_again_after_a_flush():
    server = Server()
    script = ALL["claim"]
    for _ in range(3):
        assert await script(server, ["w", 1]) == (1, "{ms}:due", ("w", 1))
    assert server.calls == ["evalsha", "eval", "evalsha", "evalsha"]
    server.known.clear()
    await script(server, [])
    assert server.calls[4:] == ["evalsha", "eval"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), StoreFull),
        (exceptions.ConnectionError("Connection closed by server."), StoreUnavailable),
        (exceptions.TimeoutError("Timeout reading from socket"), StoreUnavailable),
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), StoreUnavailable),
        (exceptions.AuthenticationError("invalid password"), StoreUnavailable),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), StoreUnavailable),
        (ConnectionResetError("reset"), StoreUnavailable),
        (TimeoutError(), StoreUnavailable),
        (exceptions.DataError("Invalid input"), None),
        (exceptions.ResponseError("WRONGTYPE Operation against a key"), None),
        (ValueError("a bug"), None),
    ],
)
async def test_errors_are_translated_and_bugs_pass(error: Exception, kind: type[TryLater] | None):
    meaning = translated(error)
    assert (type(meaning) if meaning else None) is kind
    with pytest.raises(kind or type(error)) as caught:
        await ALL["claim"](Server(error), [])
    if kind:
        assert caught.value.__cause__ is error
        assert str(error) not in str(caught.value) or not str(error)


async def test_a_cancelled_call_stays_cancelled():
    with pytest.raises(asyncio.CancelledError):
        await ALL["claim"](Server(asyncio.CancelledError()), [])
