"""What a Python handler is given, and what becomes of all that it may do: an answer or a reason."""

import ast
import asyncio
import re
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.unit.worker.functions.local_stand import REQUEST_ID, Here, hurry, is_alive, wait_until
from worker.functions import runner
from worker.functions.failures import InvocationFailed

#: Answers with its process, unless the event is Python to be run.
OBEDIENT = """
    import asyncio, gc, json, os, random, signal, subprocess, sys, threading, time

    class Unspeakable(Exception):
        def __str__(self):
            raise RuntimeError("cannot even say it")

    def leave_a_child(seconds, **options):
        return subprocess.Popen(["sleep", str(seconds)], **options).pid

    def handler(event, context):
        if not event:
            return os.getpid()
        scope = dict(globals(), context=context)
        exec(event, scope)
        return scope.get("answer")
"""


@pytest.fixture
async def here(tmp_path):
    async with Here(tmp_path) as here:
        yield here


async def test_the_context_is_that_of_lambda(here):
    names = ["aws_request_id", "function_name", "function_version", "memory_limit_in_mb", "invoked_function_arn"]
    names += ["log_group_name", "identity"]
    event = f"answer = [getattr(context, name) for name in {names}] + [context.get_remaining_time_in_millis()]"
    *values, left_ms = await here.call(here.function("app.py", OBEDIENT), event, rule="a rule", seconds=600)
    arn = "arn:aws:lambda:us-east-1:000000000000:function:a rule"
    assert values == [REQUEST_ID, "a rule", "$LATEST", 512, arn, "/aws/lambda/a rule", None]
    assert 300_000 < left_ms <= 600_000


@pytest.mark.parametrize(
    ("event", "answer"),
    [
        ("answer = None", b"null"),
        ("answer = 'x' * (256 * 1024 - 2)", b'"' + b"x" * (256 * 1024 - 2) + b'"'),
        ("threading.Thread(target=time.sleep, args=(600,)).start()", b"null"),
        ("for number in range(1, 32):\n try: signal.signal(number, signal.SIG_IGN)\n except OSError: pass", b"null"),
        ("sys.stdout = sys.stderr = None; answer = 1", b"1"),
        ("sys.stdin.read(); answer = 1", b"1"),
        ("os.close(1); os.close(2); answer = 1", b"1"),
        ("sys.path.clear(); sys.modules.clear(); answer = 1", b"1"),
        ("os.chdir('/'); answer = 1", b"1"),
        ("gc.disable(); json.dumps = None; answer = 1", b"1"),
        ("sys.setrecursionlimit(60); answer = 1", b"1"),
    ],
)
async def test_what_a_handler_may_do(here, event, answer):
    function = here.function("app.py", OBEDIENT)
    assert await here.answer(function, event) == answer
    assert isinstance(await here.call(function), int)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ("raise ValueError('no\\nsuch thing')", r"ValueError: no such thing"),
        ("raise ValueError", "ValueError"),
        ("raise Unspeakable", r"Unspeakable: \(its text cannot be shown\)"),
        ("raise ValueError('\\ud800 x')", r"ValueError: x"),
        ("raise KeyboardInterrupt('x')", r"KeyboardInterrupt: x"),
        ("raise BaseExceptionGroup('many', [ValueError(1)])", r"ExceptionGroup: many \(1 sub-exception\)"),
        ("def again(): again()\nagain()", r"RecursionError: .*"),
        ("answer = object()", r"TypeError: Object of type object is not JSON serializable"),
        ("answer = []; answer.append(answer)", r"ValueError: Circular reference detected"),
        ("answer = 'x' * (256 * 1024 - 1)", r"the answer is larger than 256 KB"),
    ],
)
async def test_a_failure_of_the_handler_is_told_and_its_process_stays(here, event, reason):
    function = here.function("app.py", OBEDIENT)
    pid = await here.call(function)
    with pytest.raises(InvocationFailed) as failed:
        await here.call(function, event)
    assert re.fullmatch(reason, failed.value.reason), failed.value.reason
    assert await here.call(function) == pid


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ("sys.exit()", r"its process ended with exit code 0 instead of an answer"),
        ("sys.exit(3)", r"its process ended with exit code 3 instead of an answer"),
        ("sys.exit('why')", r"its process ended with exit code 1 instead of an answer"),
        ("threading.Thread(target=time.sleep, args=(600,)).start(); sys.exit(4)", r"its process .* exit code 4 .*"),
        ("os._exit(5)", r"its process ended with exit code 5 instead of an answer"),
        ("os.kill(os.getpid(), signal.SIGKILL)", r"its process was ended by SIGKILL instead of an answer"),
        ("import ctypes; ctypes.string_at(0)", r"its process was ended by SIGSEGV instead of an answer"),
        ("os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)", r"its process ended instead of an answer"),
        ("os.closerange(0, 1000)", r"its process ended with exit code 70 instead of an answer"),
        ("os.close(3); open('/dev/null', 'wb')", r"its process ended with exit code 70 instead of an answer"),
        ("os.write(3, b'\\0\\0\\0\\x02{]')", r"its process does not keep to the protocol"),
        ("os.write(3, b'\\xff' * 4)", r"the answer is larger than 256 KB"),
        ("os.write(3, b'GET ' * 999_999_999)", r"it used more than 512 MB"),
        ("os.killpg(0, signal.SIGKILL)", r"its process was ended by SIGKILL instead of an answer"),
        ("answer = bytearray(10 ** 11)", r"it used more than 512 MB"),
    ],
)
async def test_what_ends_the_process_is_told_and_the_next_call_works(here, event, reason):
    function = here.function("app.py", OBEDIENT)
    pid = await here.call(function)
    told = await here.reason_of(function, event, expected=reason)
    assert re.fullmatch(reason, told), told
    assert await here.call(function) != pid
    await asyncio.to_thread(wait_until, lambda: not is_alive(pid), "the process has ended")


async def test_a_long_reason_is_cut(here):
    with pytest.raises(InvocationFailed) as failed:
        await here.call(here.function("app.py", OBEDIENT), "raise ValueError('ä' * 100_000)")
    assert len(failed.value.reason) == 500


async def test_no_descriptor_of_the_worker_reaches_the_handler(here):
    event = "answer = sorted(int(name) for name in os.listdir('/proc/self/fd'))"
    assert (await here.call(here.function("app.py", OBEDIENT), event))[:-1] == [0, 1, 2, 3]


def test_the_runner_is_understood_by_old_pythons():
    ast.parse(Path(runner.__file__).read_text("utf-8"), feature_version=(3, 8))


async def test_a_coroutine_is_no_answer(here):
    with pytest.raises(InvocationFailed, match="TypeError: Object of type coroutine is not JSON serializable"):
        await here.call(here.function("app.py", "async def handler(e, c): return 1"))


async def test_time_is_limited_and_what_the_handler_started_ends_with_it(here):
    event = """
        child = leave_a_child(600)
        other = leave_a_child(600, start_new_session=True)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open('pids', 'w') as file: file.write(f'{os.getpid()} {child} {other} .')
        time.sleep(600)
    """.replace("\n        ", "\n")
    call = asyncio.create_task(here.call(here.function("app.py", OBEDIENT), event, seconds=600))
    written = here.folder / "pids"
    await asyncio.to_thread(wait_until, lambda: written.exists() and written.read_text().endswith("."), "it is at work")
    hurry(600)
    with pytest.raises(InvocationFailed, match=r"no answer within 600 s: the handler was still at work"):
        await call
    pids = [int(word) for word in written.read_text().split()[:-1]]
    assert len(pids) == 3
    await asyncio.to_thread(wait_until, lambda: not any(map(is_alive, pids)), "all of it has ended")


async def test_a_slow_import_is_named_as_the_reason(here):
    slow = here.function("slow.py", "import time\nopen('begun', 'w').close()\ntime.sleep(600)")
    call = asyncio.create_task(here.call(slow, seconds=600))
    await asyncio.to_thread(wait_until, (here.folder / "begun").exists, "it is being loaded")
    hurry(600)
    with pytest.raises(InvocationFailed, match=r"no answer within 600 s: .*/slow\.py was still being loaded"):
        await call


async def test_what_a_handler_leaves_behind_keeps_no_answer_and_ends_with_the_process(tmp_path):
    async with Here(tmp_path) as here:
        function = here.function("app.py", OBEDIENT)
        event = "answer = [leave_a_child(600), leave_a_child(600, start_new_session=True), os.getpid()]"
        pids = await here.call(function, event)
        assert await here.call(function) == pids[2]
        assert all(map(is_alive, pids))
    assert not any(map(is_alive, pids))


async def test_a_fork_that_comes_back_gives_no_second_answer(here):
    function = here.function("app.py", OBEDIENT)
    pid = await here.call(function, "answer = [os.fork() and 1, os.getpid()][1]")
    assert [await here.call(function) for _ in range(3)] == [pid] * 3


async def test_memory_is_limited_for_all_processes_of_the_handler_together(here):
    function = here.function("app.py", OBEDIENT, memory_megabytes=128)
    await here.call(function)
    take = "bytearray(os.urandom(1024)) * 65_536; time.sleep(600)"
    event = f"""
        import sys
        for _ in range(3):
            subprocess.Popen([sys.executable, '-c', 'import os, time; taken = {take}'])
        time.sleep(600)
    """.replace("\n        ", "\n")
    assert await here.reason_of(function, event, expected="memory") == "it used more than 128 MB"


async def test_memory_is_limited_for_one_process(here):
    function = here.function("app.py", OBEDIENT, memory_megabytes=64)
    event = "taken = b'x' * 150_000_000; time.sleep(600)"
    assert await here.reason_of(function, event, expected="memory") == "it used more than 64 MB"


async def test_memory_that_forks_share_counts_once(here):
    function = here.function("app.py", OBEDIENT, memory_megabytes=200)
    event = """
        taken = b'x' * 100_000_000
        for _ in range(4):
            if os.fork() == 0:
                time.sleep(1)
                os._exit(0)
        for _ in range(4):
            os.wait()
        answer = 'done'
    """.replace("\n        ", "\n")
    assert await here.call(function, event) == "done"


class TestOutput:
    async def test_lines_are_logged_in_order_and_before_the_answer(self, here):
        function = here.function("app.py", OBEDIENT)
        event = "print('one'); print('two', file=sys.stderr); os.system('echo three'); print('four', end='')"
        assert await here.printed(function, event) == ["one", "two", "three", "four"]
        assert await here.printed(function, "print('again')") == ["again"]

    async def test_each_call_has_its_own_room(self, here):
        function = here.function("app.py", OBEDIENT)
        for _ in range(2):
            lines = await here.printed(function, "for n in range(1000): print(n)")
            assert lines == [*map(str, range(100)), "… more lines left out"]

    async def test_a_hundred_lines_are_not_too_many(self, here):
        lines = await here.printed(here.function("app.py", OBEDIENT), "for n in range(100): print(n)")
        assert lines == [*map(str, range(100))]

    async def test_long_lines_are_cut(self, here):
        lines = await here.printed(here.function("app.py", OBEDIENT), "print('x' * 60_000); print('y' * 60_000)")
        assert lines == ["x" * 60_000, "y" * 5_536, "… more lines left out"]

    async def test_a_hundred_megabytes_neither_block_nor_stay(self, here):
        function = here.function("app.py", OBEDIENT)
        lines = await here.printed(function, "for _ in range(100): print('x' * 1_000_000)")
        assert lines == ["x" * 65_536, "… more lines left out"]

    async def test_a_traceback_goes_to_the_log_without_our_own_part(self, here):
        with capture_logs() as logged, pytest.raises(InvocationFailed):
            await here.call(here.function("app.py", "def handler(e, c):\n    return 1 // 0"))
        lines = [entry["line"] for entry in logged if entry["event"] == "function.output"]
        assert lines[0] == "Traceback (most recent call last):"
        assert lines[-1].startswith("ZeroDivisionError")
        assert not any("runner.py" in line for line in lines)
        assert {entry["request_id"] for entry in logged} == {REQUEST_ID}

    async def test_bytes_that_are_no_text_do_no_harm(self, here):
        lines = await here.printed(here.function("app.py", OBEDIENT), "os.write(1, b'\\xff\\0\\n'); print('\\ud800')")
        assert lines == ["\ufffd\0", "\\ud800"]
