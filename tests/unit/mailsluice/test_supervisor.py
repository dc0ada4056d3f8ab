"""The supervisor with tiny real children; what they do is a line of Python each, what they tell is a file."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from config.errors import Refused
from mailsluice.child import Child, ChildState
from mailsluice.supervisor import ChildFailed, Supervisor
from tests.running import is_alive, wait_until

LIMIT_SECONDS = 60.0
READY = "import os; os.write(int(os.environ['MAILSLUICE_READY_FD']), b'ready\\n'); "
TELL = "import os, sys; tell = lambda word: os.write(os.open(sys.argv[1], os.O_APPEND | os.O_WRONLY), word.encode()); "
SLEEP = "import signal; signal.pause()"
#: For who handles signals: one that comes right before a pause() would be seen only after the next.
LISTEN = "\nimport time\nwhile True: time.sleep(0.1)"
#: Tells when it starts and when it is asked to stop.
POLITE = (
    TELL
    + "import signal; name = sys.argv[2]; leave = lambda *_: (tell(f'{name} stops\\n'), sys.exit(0)); "
    + "signal.signal(signal.SIGTERM, leave); tell(f'{name} starts\\n'); "
    + READY
    + LISTEN
)
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY + "\nwhile True: signal.pause()"


class Stage:
    """A supervisor that runs as a task, and what it told."""

    def __init__(self, tmp_path: Path) -> None:
        self.diary = tmp_path / "diary"
        self.diary.touch()
        self.states: Mapping[str, ChildState] = {}
        self.history: list[Mapping[str, ChildState]] = []
        self.pauses: list[float] = []
        self.now = 0.0
        self.output: list[tuple[str, bytes]] = []
        self.is_ready = asyncio.Event()
        self.run: asyncio.Task[None] | None = None
        self.supervisor: Supervisor | None = None

    def child(self, name: str, code: str, **options: Any) -> Child:
        command = (sys.executable, "-I", "-S", "-c", code, str(self.diary), name)
        return Child(name, command, dict(os.environ), **options)

    def start(self, *children: Child) -> "Stage":
        self.supervisor = Supervisor(
            children,
            lambda name, lines: self.output.append((name, lines)),
            on_change=self._on_change,
            sleep=self._sleep,
            clock=lambda: self.now,
        )
        self.run = asyncio.create_task(self.supervisor.run(self.is_ready.set))
        return self

    async def ready(self) -> "Stage":
        ready = asyncio.create_task(self.is_ready.wait())
        assert self.run is not None
        await asyncio.wait((ready, self.run), timeout=LIMIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        assert self.is_ready.is_set(), self.run
        return self

    async def ended(self) -> None:
        assert self.run is not None
        await asyncio.wait_for(self.run, LIMIT_SECONDS)

    async def stopped(self) -> None:
        assert self.supervisor is not None
        self.supervisor.ask_to_stop()
        await self.ended()

    def pid(self, name: str) -> int:
        pid = self.states[name].pid
        assert pid
        return pid

    @property
    def words(self) -> list[str]:
        return self.diary.read_text().splitlines()

    def _on_change(self, states: Mapping[str, ChildState]) -> None:
        self.states = states
        self.history.append(states)

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_child_starts_when_what_it_needs_is_ready(stage: Stage) -> None:
    store = stage.child("store", POLITE)
    worker = stage.child("worker", POLITE, needs=("store",))
    await stage.start(worker, store).ready()
    assert stage.words == ["store starts", "worker starts"]
    await stage.stopped()


async def test_independent_children_start_side_by_side(stage: Stage) -> None:
    # Each gets ready only after it saw the other's start.
    waits = TELL + "tell(sys.argv[2] + '\\n')\nwhile len(open(sys.argv[1]).read().split()) < 2: pass\n" + READY + SLEEP
    await stage.start(stage.child("one", waits), stage.child("two", waits)).ready()
    await stage.stopped()


async def test_nothing_is_announced_before_everything_is_ready(stage: Stage) -> None:
    stage.start(stage.child("quick", READY + SLEEP), stage.child("slow", SLEEP))
    await until(lambda: stage.states and stage.states["quick"].state == "ready")
    assert not stage.is_ready.is_set()
    assert stage.states["slow"].state == "starting"
    await stage.stopped()
    assert not stage.is_ready.is_set()


async def test_a_probe_speaks_for_a_child_that_cannot(stage: Stage) -> None:
    asked = 0

    async def third_time() -> bool:
        nonlocal asked
        asked += 1
        return asked == 3

    await stage.start(stage.child("mute", SLEEP, probe=third_time)).ready()
    assert asked == 3
    await stage.stopped()


async def test_a_child_that_ends_at_its_first_start_stops_everything_and_says_why(stage: Stage) -> None:
    broken = "import sys; print('no such option: --colour', file=sys.stderr); sys.exit(3)"
    stage.start(stage.child("good", POLITE), stage.child("bad", broken, needs=("good",)))
    with pytest.raises(ChildFailed) as failure:
        await stage.ended()
    assert failure.value.reason == "bad did not start: exit code 3. Its last lines:\n  | no such option: --colour"
    assert stage.words == ["good starts", "good stops"]
    assert not stage.is_ready.is_set()
    assert stage.pauses == []


async def test_a_child_that_never_gets_ready_is_given_up(stage: Stage) -> None:
    stage.start(stage.child("slow", SLEEP, ready_seconds=0.2))
    with pytest.raises(ChildFailed, match=r"slow did not start: it was not ready after 0.2 s\."):
        await stage.ended()


async def test_a_program_that_does_not_exist_is_told_by_its_name(stage: Stage) -> None:
    stage.start(Child("ghost", ("/nowhere/ghost",), dict(os.environ)))
    with pytest.raises(ChildFailed, match="/nowhere/ghost: No such file"):
        await stage.ended()


async def test_the_log_file_of_a_child_explains_its_failure_too(stage: Stage, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("disk full\n")
    stage.start(stage.child("store", "raise SystemExit(1)", log_file=log))
    with pytest.raises(ChildFailed, match="disk full"):
        await stage.ended()


async def test_what_this_machine_suspects_explains_a_first_start_too(stage: Stage) -> None:
    stage.start(stage.child("store", "raise SystemExit(1)", suspect=lambda: "The disk is full."))
    with pytest.raises(ChildFailed, match=r"^store did not start: exit code 1\. The disk is full\.$"):
        await stage.ended()


async def test_an_end_is_logged_with_the_log_of_the_child_and_what_is_suspected(stage: Stage, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("".join(f"line {number}\n" for number in range(5000)) + "Short write. Exiting\n")
    suspicions = ["The disk is full.", ""]
    store = stage.child("store", READY + SLEEP, log_file=log, suspect=lambda: suspicions.pop(0))
    plain = stage.child("plain", READY + SLEEP)
    with capture_logs() as lines:
        await stage.start(store, plain).ready()
        os.kill(stage.pid("plain"), signal.SIGKILL)
        for restarts in (1, 2):
            os.kill(stage.pid("store"), signal.SIGKILL)
            await until(lambda n=restarts: stage.states["store"] == ChildState("ready", stage.states["store"].pid, n))
            log.unlink(missing_ok=True)
        await until(lambda: stage.states["plain"].restarts == 1 and stage.states["plain"].state == "ready")
        told = [line for line in lines if line["event"] == "up.child_exited"]
        await stage.stopped()
    first, second = (line for line in told if line["child"] == "store")
    assert (first["problem"], first["log_file"]) == ("The disk is full.", str(log))
    assert first["last_lines"] == ["line 4997", "line 4998", "line 4999", "Short write. Exiting"]
    assert "problem" not in second
    assert second["last_lines"] == []
    [other] = (line for line in told if line["child"] == "plain")
    assert not {"problem", "log_file", "last_lines"} & set(other)


async def test_a_check_that_fails_ends_everything_with_its_own_words(stage: Stage) -> None:
    async def check() -> None:
        raise Refused("The spool belongs to somebody else.")

    store = stage.child("store", POLITE, check=check)
    stage.start(store, stage.child("worker", POLITE, needs=("store",)))
    with pytest.raises(Refused, match=r"^The spool belongs to somebody else\.$"):
        await stage.ended()
    assert stage.words == ["store starts", "store stops"]  # and the worker never started


async def test_a_check_is_made_once_and_not_after_a_crash(stage: Stage) -> None:
    checks = 0

    async def check() -> None:
        nonlocal checks
        checks += 1

    await stage.start(stage.child("store", POLITE, check=check)).ready()
    old_pid = stage.pid("store")
    os.kill(old_pid, signal.SIGKILL)
    await until(lambda: stage.states["store"].state == "ready" and stage.states["store"].pid not in {None, old_pid})
    await stage.stopped()
    assert checks == 1


async def test_a_killed_child_comes_back(stage: Stage) -> None:
    await stage.start(stage.child("worker", READY + SLEEP)).ready()
    old = stage.pid("worker")
    os.kill(old, signal.SIGKILL)
    await until(lambda: stage.states["worker"] == ChildState("ready", stage.states["worker"].pid, restarts=1))
    assert stage.pid("worker") != old
    await stage.stopped()


async def test_pauses_grow_while_it_fails_and_begin_anew_after_a_healthy_while(stage: Stage) -> None:
    await stage.start(stage.child("worker", READY + SLEEP)).ready()
    for restarts, healthy_seconds in enumerate((0.0, 1.0, 2.0, 60.0, 0.0), start=1):
        stage.now += healthy_seconds
        os.kill(stage.pid("worker"), signal.SIGKILL)
        await until(lambda n=restarts: stage.states["worker"].state == "ready" and stage.states["worker"].restarts == n)
    assert stage.pauses == [0.1, 0.2, 0.4, 0.1, 0.2]
    await stage.stopped()


async def test_a_child_that_cannot_start_again_is_tried_until_it_can(stage: Stage, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    code = f"import os; os.path.exists({str(gate)!r}) or os._exit(1); {READY}{SLEEP}"
    await stage.start(stage.child("worker", code)).ready()
    gate.unlink()
    os.kill(stage.pid("worker"), signal.SIGKILL)
    await until(lambda: len(stage.pauses) >= 3)
    gate.touch()
    await until(lambda: stage.states["worker"].state == "ready")
    assert stage.pauses == sorted(stage.pauses)
    await stage.stopped()


async def test_waves_are_stopped_one_after_the_other(stage: Stage) -> None:
    names = ["door", "worker", "store"]
    await stage.start(*(stage.child(name, POLITE, stop_wave=wave) for wave, name in enumerate(names))).ready()
    await stage.stopped()
    assert stage.words[3:] == ["door stops", "worker stops", "store stops"]


async def test_a_store_that_crashes_while_others_drain_comes_back(stage: Stage) -> None:
    slow = stage.child("worker", STUBBORN, stop_wave=0, stop_seconds=LIMIT_SECONDS)
    await stage.start(slow, stage.child("store", READY + SLEEP, stop_wave=1)).ready()
    worker = stage.pid("worker")
    assert stage.supervisor is not None
    stage.supervisor.ask_to_stop()
    os.kill(stage.pid("store"), signal.SIGKILL)
    await until(lambda: stage.states["store"].restarts == 1 and stage.states["store"].state == "ready")
    os.kill(worker, signal.SIGKILL)
    await stage.ended()


async def test_a_child_that_ignores_the_signal_is_killed_when_its_time_is_over(stage: Stage) -> None:
    await stage.start(stage.child("deaf", STUBBORN, stop_seconds=0.2)).ready()
    pid = stage.pid("deaf")
    await stage.stopped()
    assert not is_alive(pid)


async def test_a_second_signal_ends_everything_at_once(stage: Stage) -> None:
    deaf = [stage.child(f"deaf-{n}", STUBBORN, stop_wave=n, stop_seconds=10 * LIMIT_SECONDS) for n in range(2)]
    await stage.start(*deaf).ready()
    pids = [stage.pid("deaf-0"), stage.pid("deaf-1")]
    os.kill(os.getpid(), signal.SIGINT)
    await until(lambda: stage.supervisor is not None and stage.supervisor.is_stopping)
    os.kill(os.getpid(), signal.SIGTERM)
    await stage.ended()
    assert not any(map(is_alive, pids))


async def test_what_a_child_left_running_ends_with_it(stage: Stage) -> None:
    code = (
        TELL
        + "import subprocess; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        + "tell(f'{p.pid}\\n'); "
        + READY
        + SLEEP
    )
    await stage.start(stage.child("parent", code)).ready()
    left = int(stage.words[0])
    os.kill(stage.pid("parent"), signal.SIGKILL)
    await until(lambda: not is_alive(left))
    await stage.stopped()


async def test_output_is_passed_on_in_whole_lines(stage: Stage) -> None:
    say = "import sys; say = lambda text: print(text, end='', flush=True); "
    code = say + "say('half'); say(' line\\n'); say('no end'); "
    await stage.start(stage.child("talker", code + READY + SLEEP)).ready()
    await stage.stopped()
    assert b"".join(lines for _, lines in stage.output) == b"half line\nno end\n"


async def test_much_output_does_not_block_the_child(stage: Stage) -> None:
    code = "print('x' * 99)\n" * 3 + "for _ in range(50_000): print('x' * 99)\nprint(end='', flush=True)\n"
    await stage.start(stage.child("talker", code + READY + SLEEP)).ready()
    await stage.stopped()
    assert sum(len(lines) for _, lines in stage.output) == 50_003 * 100


def test_killing_the_supervisor_kills_the_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"
    program = tmp_path / "supervise.py"
    program.write_text(
        f"""
import asyncio, os, sys
from mailsluice.child import Child
from mailsluice.supervisor import Supervisor
children = [Child(n, (sys.executable, "-I", "-S", "-c", {READY + STUBBORN!r}), dict(os.environ)) for n in "ab"]
async def main():
    def keep(states):
        if all(s.state == "ready" for s in states.values()):
            open({str(pid_file)!r}, "w").write(" ".join(str(s.pid) for s in states.values()))
    await Supervisor(children, lambda *_: None, on_change=keep).run(lambda: None)
asyncio.run(main())
"""
    )
    supervisor = subprocess.Popen((sys.executable, str(program)), stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: pid_file.exists() and len(pid_file.read_text().split()) == 2, "two children run")
        pids = [int(pid) for pid in pid_file.read_text().split()]
        assert all(map(is_alive, pids))
    finally:
        supervisor.kill()
        supervisor.wait()
    wait_until(lambda: not any(map(is_alive, pids)), "the children are gone")


async def test_a_log_that_cannot_be_written_stops_nothing(stage: Stage) -> None:
    class FullDisk:
        def msg(self, *_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        debug = info = warning = msg

    before = structlog.get_config()
    structlog.configure(logger_factory=FullDisk)
    try:
        await stage.start(stage.child("worker", READY + SLEEP)).ready()
        os.kill(stage.pid("worker"), signal.SIGKILL)
        await until(lambda: stage.states["worker"] == ChildState("ready", stage.states["worker"].pid, restarts=1))
        await stage.stopped()
    finally:
        structlog.configure(**before)
