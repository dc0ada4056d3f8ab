"""Which process a call gets: warm ones, limits on their number, changes, the end."""

import asyncio
import gc
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import venv
from itertools import pairwise
from pathlib import Path

import pytest

from config.settings import ApiSettings, FunctionsSettings, Settings
from tests.unit.worker.functions.local_stand import INVOCATION_ID, Here, is_alive, wait_until
from worker.functions.failures import InvocationFailed
from worker.functions.launch import Launch, launch_of
from worker.loop import Crossing, LoopThread
from worker.rules.records import Function

HOUSE = Path(__file__).resolve().parents[4]
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
PID = "import os\ndef handler(event, context): return os.getpid()\n"
#: Answers when the file that the event names is there; at once without a name.
WAIT = """
    import os, time
    def handler(event, context):
        while event and not os.path.exists(event): time.sleep(0.01)
        return os.getpid()
"""
SLEEP = "import os, time\ndef handler(event, context):\n    time.sleep(event)\n    return os.getpid()\n"


@pytest.fixture
async def here(tmp_path):
    async with Here(tmp_path) as here:
        yield here


async def test_an_answer_comes_back_as_the_handler_gave_it(here):
    echo = here.function("echo.py", "def handler(event, context): return [event]")
    assert await here.call(echo, {"ä": [1, None, "\ud800"]}) == [{"ä": [1, None, "\ud800"]}]


async def test_a_handler_is_imported_once_for_many_calls(here):
    counting = here.function("counting.py", "calls = []\ndef handler(e, c): calls.append(e); return len(calls)")
    assert [await here.call(counting) for _ in range(3)] == [1, 2, 3]


async def test_calls_at_once_use_as_many_processes_as_the_rule_allows(here):
    sleeping = here.function("sleeping.py", SLEEP, concurrency=2)
    pids = await asyncio.gather(*(here.call(sleeping, 0.05) for _ in range(6)))
    assert len(set(pids)) == 2


async def test_a_single_caller_needs_a_single_process(here):
    function = here.function("pid.py", PID, concurrency=8)
    assert len({await here.call(function) for _ in range(5)}) == 1


async def test_two_rules_share_no_process(here):
    function = here.function("pid.py", PID)
    assert await here.call(function, rule="a") != await here.call(function, rule="b")


async def test_a_changed_file_gets_a_new_process_and_the_old_one_ends(here):
    function = here.function("pid.py", PID)
    old = await here.call(function)
    here.write("pid.py", PID + "# changed\n")
    assert await here.call(function) != old
    await asyncio.to_thread(wait_until, lambda: not is_alive(old), "the old process has ended")


async def test_a_changed_module_gets_a_new_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with Here(tmp_path) as here:
        here.write("ours_alone.py", "def handler(e, c): return 1")
        function = Function(target="python:ours_alone.handler")
        assert await here.call(function) == 1
        here.write("ours_alone.py", "def handler(e, c): return 'two'")
        assert await here.call(function) == "two"


async def test_a_changed_environment_gets_a_new_process_and_the_old_one_ends(tmp_path):
    text = "import os\ndef handler(e, c): return [os.getpid(), os.environ.get('MODE')]"
    async with Here(tmp_path, idle_seconds=0.2) as here:
        old, mode = await here.call(here.function("mode.py", text, environment={"MODE": "a"}))
        new, changed = await here.call(here.function("mode.py", environment={"MODE": "b"}))
        assert (mode, changed) == ("a", "b")
        assert old != new
        await asyncio.to_thread(wait_until, lambda: not is_alive(old), "the old process has ended")


async def test_two_definitions_of_a_rule_keep_their_processes(here):
    here.function("pid.py", PID)
    both = [here.function("pid.py", environment=environment) for environment in ({"MODE": "a"}, {})]
    pids = [await here.call(both[number % 2]) for number in range(6)]
    assert len(set(pids)) == 2


async def test_nothing_is_kept_of_a_rule_whose_processes_ended(tmp_path):
    async with Here(tmp_path, idle_seconds=0.05) as here:
        function = here.function("pid.py", PID, environment={"TOKEN": "only here"})
        pid = await here.call(function, rule="gone")
        assert held("only here")
        await asyncio.to_thread(wait_until, lambda: not is_alive(pid), "the idle process has ended")
        del function
        await asyncio.to_thread(wait_until, lambda: not held("only here"), "its environment is forgotten")


def held(value: str) -> bool:
    """Whether anything that a process was started with still has this value."""
    gc.collect()
    return any(value in one.environ.values() for one in gc.get_objects() if type(one) is Launch)


async def test_many_starts_at_once_let_the_others_have_their_turn_between(tmp_path):
    async with Here(tmp_path, max_processes=12) as here:
        function = here.function("pid.py", PID, concurrency=12)
        calls = [asyncio.create_task(here.call(function, rule=f"rule {number}")) for number in range(12)]
        started = [children_of(os.getpid())]
        while not all(call.done() for call in calls):
            await asyncio.sleep(0)
            started.append(children_of(os.getpid()))
        assert len(set(started[-1])) >= 12
        assert max(len(after - before) for before, after in pairwise(started)) == 1


def children_of(pid: int) -> frozenset[int]:
    """Children that this thread started."""
    return frozenset(map(int, Path(f"/proc/{pid}/task/{threading.get_native_id()}/children").read_text().split()))


def open_descriptors() -> int:
    gc.collect()  # what other tests left
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_what_cannot_be_started_leaves_no_descriptor_open(here):
    here.function("pid.py", PID)
    await here.call(here.function("pid.py"))
    before = open_descriptors()
    for environment in ({"A": "a\0b"}, {"A=B": "x"}, {"A": "\ud800"}) * 3:
        with pytest.raises(InvocationFailed, match="could not be started: its environment cannot be given"):
            await here.call(here.function("pid.py", environment=environment), rule=str(environment))
    assert open_descriptors() <= before


async def test_a_change_lets_a_call_under_way_finish(here):
    slow = here.function("slow.py", WAIT, environment={"MODE": "a"})
    old = await here.call(slow)
    under_way = asyncio.create_task(here.call(slow, "go"))
    await asyncio.sleep(0)
    new = await here.call(here.function("slow.py", environment={"MODE": "b"}))
    (here.folder / "go").touch()
    assert await under_way == old != new


async def test_an_idle_process_is_ended(tmp_path):
    async with Here(tmp_path, idle_seconds=0.2) as here:
        pid = await here.call(here.function("pid.py", PID))
        await asyncio.to_thread(wait_until, lambda: not is_alive(pid), "the idle process has ended")


async def test_all_rules_together_have_so_many_processes_and_none_is_kept_out(tmp_path):
    async with Here(tmp_path, max_processes=2) as here:
        here.function("sleeping.py", SLEEP)
        functions = [here.function("sleeping.py", concurrency=4) for _ in range(4)]
        calls = [(functions[n % 4], f"rule {n % 4}") for n in range(16)]
        pids = await asyncio.gather(*(here.call(function, 0.01, rule=rule) for function, rule in calls))
        assert len(set(pids)) >= 4
        assert sum(map(is_alive, set(pids))) <= 2


async def test_the_time_in_the_line_counts(here):
    waiting = here.function("waiting.py", WAIT, concurrency=1)
    await here.call(waiting)
    first = asyncio.create_task(here.call(waiting, "go"))
    await asyncio.sleep(0)
    with pytest.raises(InvocationFailed, match=r"no answer within 0\.2 s: none of its 1 processes was free"):
        await here.call(waiting, seconds=0.2)
    (here.folder / "go").touch()
    pid = await first
    assert await here.call(waiting) == pid


async def test_nobody_who_gave_up_waiting_takes_a_place_with_him(here):
    sleeping = here.function("sleeping.py", SLEEP, concurrency=1)
    await here.call(sleeping, 0)
    calls = [asyncio.create_task(here.call(sleeping, 0.05)) for _ in range(5)]
    await asyncio.sleep(0)
    for call in calls[1:4]:
        call.cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(one, int) for one in results] == [True, False, False, False, True]
    assert await here.call(sleeping, 0) == results[0]


async def test_a_call_that_is_cancelled_ends_its_process(here):
    sleeping = here.function("sleeping.py", SLEEP)
    pid = await here.call(sleeping, 0)
    call = asyncio.create_task(here.call(sleeping, 60))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.to_thread(wait_until, lambda: not is_alive(pid), "the process has ended")
    assert await here.call(sleeping, 0) != pid


async def test_closing_lets_a_call_finish_that_ends_within_its_moment(here):
    short = here.function("short.py", WAIT)
    pid = await here.call(short)
    under_way = asyncio.create_task(here.call(short, "go"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(here.functions._warm.close(60.0))
    await asyncio.sleep(0)
    (here.folder / "go").touch()
    assert await under_way == pid
    await closing
    assert not is_alive(pid)


async def test_closing_ends_a_long_call_and_lets_nobody_wait(tmp_path):
    here = Here(tmp_path)
    sleeping = here.function("sleeping.py", SLEEP, concurrency=1)
    pids = [await here.call(sleeping, 0)]
    long = asyncio.create_task(here.call(sleeping, 600))
    waiting = asyncio.create_task(here.call(sleeping, 0))
    await asyncio.sleep(0)
    await here.functions.close()
    for call in (long, waiting):
        with pytest.raises(InvocationFailed):
            await call
    with pytest.raises(InvocationFailed, match="the worker stops"):
        await here.call(sleeping, 0)
    assert not any(map(is_alive, pids))


def test_the_loop_of_the_worker_will_do(tmp_path):
    thread = LoopThread()
    thread.start()
    here = Here(tmp_path)
    function = here.function("pid.py", PID)

    async def carry() -> list[int]:
        pids = [await here.call(function) for _ in range(2)]
        await here.functions.close()
        return pids

    pids = Crossing(thread, carry).ended.result(60)
    assert thread.stop(60)
    assert len(set(pids)) == 1
    assert not is_alive(pids[0])


async def test_a_module_that_cannot_be_imported_is_named_with_its_error_and_tried_again(here):
    broken = here.function("broken.py", "import nothing_of_this_name")
    with pytest.raises(InvocationFailed, match=r"broken\.py could not be loaded: ModuleNotFoundError: No module named"):
        await here.call(broken)
    here.write("broken.py", "def handler(e, c): return 'mended'")
    assert await here.call(broken) == "mended"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def handler(", "SyntaxError"),
        ("def other(e, c): pass", "it has no function named handler"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import os; os._exit(3)", "exit code 3"),
    ],
)
async def test_a_module_without_a_handler_is_refused_in_words(here, text, reason):
    told = await here.reason_of(here.function("broken.py", text), expected=reason)
    assert reason in told


async def test_a_file_that_is_not_there_is_refused_in_words(here):
    with pytest.raises(InvocationFailed, match="there is no file"):
        await here.call(here.function("missing.py"))


async def test_an_interpreter_that_is_not_there_is_refused_in_words(here):
    with pytest.raises(InvocationFailed, match="/no/such/python is not installed"):
        await here.call(here.function("pid.py", PID, python="/no/such/python"))


async def test_a_function_of_elsewhere_is_refused(here):
    with pytest.raises(InvocationFailed, match="no function of this machine"):
        await here.call(Function(target="http://localhost/"))


async def test_a_rule_may_have_an_interpreter_of_its_own_environment(here, tmp_path):
    venv.create(tmp_path / "venv", symlinks=True)
    python = str(tmp_path / "venv/bin/python")
    function = here.function("prefix.py", "import sys\ndef handler(e, c): return sys.prefix", python=python)
    assert await here.call(function) == str(tmp_path / "venv")


async def test_a_module_next_to_the_file_is_found_and_nothing_of_ours(here):
    here.write("neighbour.py", "answer = 42")
    text = """
        import sys, os, neighbour
        def handler(event, context):
            try:
                import targets
            except ImportError:
                return [neighbour.answer, os.getcwd(), sys.path[0]]
    """
    assert await here.call(here.function("app.py", text)) == [42, str(here.folder), str(here.folder)]


async def test_a_file_named_like_a_module_of_python_is_loaded_itself(here):
    assert await here.call(here.function("json.py", "def handler(e, c): return 'ours'")) == "ours"


class TestEnvironment:
    async def test_only_what_is_named_reaches_the_handler(self, here):
        here.environ |= {
            "SLUICE_API_ADMIN_TOKEN": "our secret",
            "AWS_SECRET_ACCESS_KEY": "our key",
            "AWS_ENDPOINT_URL_S3": "http://s3",
            "AWS_ENDPOINT_URL_WORKMAILMESSAGEFLOW": "http://elsewhere",
            "AWS_DEFAULT_REGION": "eu-west-1",
        }
        text = "import os\nseen = dict(os.environ)\ndef handler(e, c): return seen"
        function = here.function("environ.py", text, environment={"GREETING": "hello"}, memory_megabytes=64)
        seen = await here.call(function, rule="the rule")
        seen.pop("LC_CTYPE", None)  # Python's own doing
        assert seen.pop("AWS_LAMBDA_LOG_STREAM_NAME").startswith("[$LATEST]")
        assert seen == {
            "PATH": here.environ["PATH"],
            "HOME": "/nowhere",
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL_S3": "http://s3",
            "AWS_ENDPOINT_URL_WORKMAILMESSAGEFLOW": "http://127.0.0.1:2580",
            "AWS_LAMBDA_FUNCTION_NAME": "the rule",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "64",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/the rule",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info[0]}.{sys.version_info[1]}",
            "LAMBDA_TASK_ROOT": str(here.folder),
            "_HANDLER": "environ.handler",
            "GREETING": "hello",
        }

    @pytest.mark.parametrize(
        ("host", "url", "expected"),
        [
            ("0.0.0.0", "", "http://127.0.0.1:99"),
            ("::", "", "http://127.0.0.1:99"),
            ("::1", "", "http://[::1]:99"),
            ("10.0.0.1", "", "http://10.0.0.1:99"),
            ("10.0.0.1", "https://flow", "https://flow"),
        ],
    )
    def test_the_handler_finds_the_message_flow_api(self, tmp_path, host, url, expected):
        settings = Settings(api=ApiSettings(host=host, port=99), functions=FunctionsSettings(message_flow_url=url))
        (tmp_path / "a.py").touch()
        launch = launch_of(Function(target=f"file:{tmp_path}/a.py:handler"), "rule", settings, {})
        assert launch.environ["AWS_ENDPOINT_URL_WORKMAILMESSAGEFLOW"] == expected

    async def test_what_the_rule_sets_wins_over_all(self, here):
        names = ("PATH", "AWS_REGION", "AWS_LAMBDA_FUNCTION_NAME", "AWS_ENDPOINT_URL_WORKMAILMESSAGEFLOW", "_HANDLER")
        ours = {name: f"set {name}" for name in names}
        text = "import os\nseen = dict(os.environ)\ndef handler(e, c): return seen"
        seen = await here.call(here.function("environ.py", text, environment=ours))
        assert {name: seen[name] for name in names} == ours

    async def test_no_value_of_the_environment_is_in_a_reason(self, here):
        text = """
            import os
            def handler(event, context):
                raise ValueError('token ' + os.environ['TOKEN'] + ' is wrong\\nsee ' + __file__)
        """
        with pytest.raises(InvocationFailed) as failed:
            await here.call(here.function("leak.py", text, environment={"TOKEN": "s3cr3t!", "MODE": "a"}))
        assert failed.value.reason == f"ValueError: token *** is wrong see {here.folder}/leak.py"

    @pytest.mark.parametrize("message", ["'y' * 470 + token", "token * 130", "repr(token)", "'y' * 4080 + token"])
    @pytest.mark.parametrize("name", ["leak.py", pytest.param("leak.cjs", marks=needs_node)])
    async def test_no_part_of_a_value_is_in_a_reason(self, here, name, message):
        secret = "S3CR3T\\'T0K3N\"" + "0123456789" * 3
        in_node = message.replace("'y' * ", "'y'.repeat(").replace(" + token", ") + token")
        in_node = in_node.replace("token * 130", "token.repeat(130)").replace("repr(token)", "JSON.stringify(token)")
        if name == "leak.py":
            text = f"import os\ndef handler(e, c):\n    token = os.environ['TOKEN']\n    raise ValueError({message})"
        else:
            text = f"exports.handler = async () => {{ const token = process.env.TOKEN; throw new Error({in_node}) }}"
        with pytest.raises(InvocationFailed) as failed:
            await here.call(here.function(name, text, environment={"TOKEN": secret}))
        assert "S3C" not in failed.value.reason
        assert "345" not in failed.value.reason

    async def test_a_passed_secret_is_in_no_reason(self, tmp_path):
        async with Here(tmp_path, pass_environment=("PATH", "AWS_SECRET_ACCESS_KEY")) as here:
            here.environ["AWS_SECRET_ACCESS_KEY"] = "s3cr3t!"
            text = "import os\ndef handler(e, c): raise ValueError(os.environ['AWS_SECRET_ACCESS_KEY'])"
            with pytest.raises(InvocationFailed, match=r"^ValueError: \*\*\*$"):
                await here.call(here.function("leak.py", text))


WORKER = """
    import asyncio, sys
    from config.settings import Settings
    from worker.functions.local import LocalFunctions
    from worker.rules.records import Function

    async def main():
        function = Function(target="file:" + sys.argv[1] + ":handler")
        functions = LocalFunctions(Settings())
        await functions.invoke(function, rule="rule", payload=b"null", invocation_id=sys.argv[2], seconds=60)

    asyncio.run(main())
"""


@pytest.mark.parametrize("language", ["python", pytest.param("node", marks=needs_node)])
async def test_nothing_is_left_when_the_worker_is_killed(here, tmp_path, language):
    if language == "python":
        handler = """
            import os, subprocess, sys, time
            def handler(event, context):
                child = subprocess.Popen(["sleep", "600"], start_new_session=True)
                with open(os.path.dirname(__file__) + "/pids", "w") as file:
                    file.write(f"{os.getpid()} {os.getppid()} {child.pid} .")
                while True: pass
        """
        path = here.write("busy.py", handler)
    else:
        handler = """
            const { spawn } = require('child_process')
            exports.handler = () => {
              const child = spawn('sleep', ['600'], { detached: true })
              require('fs').writeFileSync(__dirname + '/pids', `${process.pid} ${process.ppid} ${child.pid} .`)
              for (;;) {}
            }
        """
        path = here.write("busy.cjs", handler)
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(WORKER), str(path), INVOCATION_ID), cwd=HOUSE, stderr=subprocess.DEVNULL
    )
    try:
        told = tmp_path / "pids"
        await asyncio.to_thread(wait_until, lambda: told.exists() and told.read_text().endswith("."), "it is called")
        pids = [int(word) for word in told.read_text().split()[:3]]
        assert all(map(is_alive, pids))
    finally:
        worker.kill()
        await worker.wait()
    await asyncio.to_thread(wait_until, lambda: not any(map(is_alive, pids)), "all processes have ended")


async def test_a_process_that_ended_while_idle_is_given_to_nobody(here):
    text = """
        import os, threading, time
        def end():
            while not os.path.exists("answered"): time.sleep(0.01)
            os._exit(1)
        def handler(event, context):
            threading.Thread(target=end).start()
            return os.getpid()
    """
    function = here.function("brief.py", text)
    pid = await here.call(function)
    (here.folder / "answered").touch()
    wait_until(lambda: not is_alive(pid), "it has ended")  # the loop cannot have heard of it
    (here.folder / "answered").unlink()  # or the next one would end before its answer
    assert await here.call(function) != pid
