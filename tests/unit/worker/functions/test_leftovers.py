"""What is left of one call never answers another: whatever a handler writes on the channel, on both event loops."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from tests.unit.worker.functions.local_stand import Here, is_alive, wait_until
from worker.functions.failures import InvocationFailed
from worker.rules.records import Function

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
NOT_AS_AGREED = "its process does not keep to the protocol"
#: What a handler needs to write a reply of its own.
FORGER = """
    import gc, json, os, sys, threading, time
    def frame(text): return len(text).to_bytes(4, 'big') + text
    def reply(text, **head): return frame(json.dumps({'outcome': 'answer', **head}).encode()) + frame(text)
    def call_under_way():
        frame = sys._getframe()
        while 'head' not in frame.f_locals: frame = frame.f_back
        return frame.f_locals['head']['call']
"""


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def ask(request, tmp_path) -> Callable[..., list[Any]]:
    """Answers of a function to events, one after the other; a failure is its reason."""

    def ask(name: str, text: str, events: list[Any], between: Callable[[], Awaitable[None]] | None = None) -> list[Any]:
        async def asking() -> list[Any]:
            async with Here(tmp_path) as here:
                function = here.function(name, text)
                answers = []
                for event in events:
                    answers.append(await answer(here, function, event))
                    if between is not None:
                        await between()
                return answers

        return request.param(asking())

    return ask


async def answer(here: Here, function: Function, event: Any) -> Any:
    try:
        return await here.call(function, event)
    except InvocationFailed as failed:
        return failed.reason


def test_a_forged_reply_is_no_answer_and_moves_none_to_the_next_call(ask):
    text = FORGER + (
        "    def handler(event, context):\n"
        "        if event == 1: os.write(3, reply(b'\"forged\"'))\n"
        "        return event\n"
    )
    assert ask("forging.py", text, [1, 2, 3]) == [NOT_AS_AGREED, 2, 3]


def test_a_reply_to_another_request_is_no_answer(ask):
    text = FORGER + (
        "    last = None\n"
        "    def handler(event, context):\n"
        "        global last\n"
        "        if last: os.write(3, reply(b'\"forged\"', call=last))\n"
        "        last = call_under_way()\n"
        "        return event\n"
    )
    assert ask("forging.py", text, [1, 2, 3]) == [1, NOT_AS_AGREED, 3]


def test_a_handler_that_forges_its_own_answer_gives_the_next_message_none(ask):
    text = FORGER + (
        "    def handler(event, context):\n"
        "        if event == 1: os.write(3, reply(b'\"forged\"', call=call_under_way()))\n"
        "        return event\n"
    )
    first, *others = ask("forging.py", text, [1, 2, 3])
    assert first in {"forged", NOT_AS_AGREED}  # its own answer: it was as quick as its second one, or was not
    assert others in ([2, 3], [NOT_AS_AGREED, 3])


def test_what_is_written_between_two_calls_answers_nobody(ask, tmp_path):
    text = FORGER + (
        "    def late():\n"
        "        while not os.path.exists('answered'): time.sleep(0.01)\n"
        "        os.write(3, reply(b'\"late\"'))\n"
        "        open('written', 'w').close()\n"
        "    def handler(event, context):\n"
        "        if event == 1: threading.Thread(target=late).start()\n"
        "        return [event, os.getpid()]\n"
    )

    async def until_written() -> None:
        (tmp_path / "answered").touch()
        await asyncio.to_thread(wait_until, (tmp_path / "written").exists, "it is written")

    (first, old), (second, new) = ask("late.py", text, [1, 2], until_written)
    assert (first, second) == (1, 2)
    assert old != new


def test_what_is_written_on_import_answers_no_call(ask):
    text = FORGER + "    os.write(3, reply(b'1'))\n    def handler(event, context): return event\n"
    assert ask("early.py", text, [1]) == [NOT_AS_AGREED]


@needs_node
def test_a_forged_reply_of_node_is_no_answer_and_moves_none_to_the_next_call(ask):
    text = """
        const fs = require('fs')
        const frame = (text) => {
          const size = Buffer.alloc(4)
          size.writeUInt32BE(Buffer.byteLength(text))
          return Buffer.concat([size, Buffer.from(text)])
        }
        exports.handler = async (event) => {
          if (event === 1) fs.writeSync(3, Buffer.concat([frame('{"outcome":"answer"}'), frame('"forged"')]))
          return event
        }
    """
    assert ask("forging.cjs", text, [1, 2, 3]) == [NOT_AS_AGREED, 2, 3]


@pytest.mark.parametrize(
    "head",
    [
        b'{"outcome": "error"}',
        b'{"outcome": "ready"}',
        b'{"outcome": "error", "type": 7}',
        b'{"outcome": "x"}',
        b'{"outcome": ["answer"]}',
        b'"x"',
        b"[" * 20_000,
        b"9" * 10_000,
        b"\xff",
    ],
)
def test_a_head_that_no_runner_writes_is_a_failed_call(ask, head):
    text = FORGER + f"    def handler(event, context): os.write(3, frame({head!r})); os._exit(0)\n"
    assert ask("odd.py", text, [1]) == [NOT_AS_AGREED]


def test_a_module_file_that_cannot_be_one_is_a_failed_call_or_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd_file_of_ours.py").write_text("__file__ = '/x\\0y'\ndef handler(event, context): return event\n")

    async def calls() -> list[Any]:
        async with Here(tmp_path) as here:
            return [await answer(here, Function(target="python:odd_file_of_ours.handler"), n) for n in range(3)]

    assert asyncio.run(calls()) == [0, 1, 2]


def test_a_fork_on_import_that_comes_back_is_no_second_runner(ask):
    text = "import os\nos.fork()\ndef handler(event, context): return [event, os.getpid()]\n"
    answers = ask("forking.py", text, [1, 2, 3])
    assert [event for event, _ in answers] == [1, 2, 3]
    assert len({pid for _, pid in answers}) == 1


def test_a_process_that_broke_the_rules_is_ended(tmp_path):
    async def calls() -> tuple[int, Any]:
        async with Here(tmp_path) as here:
            text = FORGER + "    def handler(e, c): e and os.write(3, reply(b'1')); return os.getpid()\n"
            function = here.function("forging.py", text)
            pid = await here.call(function)
            reason = await answer(here, function, 1)
            await asyncio.to_thread(wait_until, lambda: not is_alive(pid), "it has ended")
            return pid, reason

    assert asyncio.run(calls())[1] == NOT_AS_AGREED
