"""SIGHUP to a supervisor: passed on, or the end when the terminal is gone."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

from config.settings import Settings
from mailsluice.children import UpOptions, children_of
from tests.running import wait_until
from tests.unit.mailsluice.test_supervisor import LIMIT_SECONDS, LISTEN, POLITE, READY, SLEEP, TELL, Stage, stage, until

__all__ = ["stage"]  # the fixture

LISTENS = (
    TELL
    + "import signal; name = sys.argv[2]; signal.signal(signal.SIGHUP, lambda *_: tell(f'{name} reads\\n')); "
    + "signal.signal(signal.SIGTERM, lambda *_: (tell(f'{name} stops\\n'), sys.exit(0))); "
    + READY
    + LISTEN
)


async def test_children_that_read_files_again_hear_it_and_the_others_do_not(stage: Stage) -> None:
    listening = [stage.child(name, LISTENS, hears_hangup=True) for name in ("worker-1", "worker-2")]
    await stage.start(*listening, stage.child("api", POLITE)).ready()
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: sum(word.endswith("reads") for word in stage.words) == 2)
    assert {state.restarts for state in stage.states.values()} == {0}
    assert {state.state for state in stage.states.values()} == {"ready"}
    await stage.stopped()


async def test_a_child_that_is_not_ready_is_not_told(stage: Stage) -> None:
    late = stage.child("late", SLEEP, hears_hangup=True)
    stage.start(stage.child("worker", LISTENS, hears_hangup=True), late)
    await until(lambda: stage.states and stage.states["worker"].state == "ready")
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: "worker reads" in stage.words)
    assert stage.states["late"].pid is not None
    await stage.stopped()
    assert all(state.restarts == 0 for state in stage.states.values())


def test_workers_hear_it_and_gateways_with_a_certificate_and_nobody_who_would_end() -> None:
    def hearing(**smtp: str) -> list[str]:
        settings = Settings.model_validate({"smtp": smtp})
        return [child.name for child in children_of(settings, UpOptions(workers=2), {}, None) if child.hears_hangup]

    assert hearing() == ["worker-1", "worker-2"]
    assert hearing(tls_certificate_file="c.pem", tls_key_file="k.pem") == ["gateway", "worker-1", "worker-2"]


SUPERVISE = """
import asyncio, os, sys
slave, diary, code = sys.argv[1:]
terminal = os.open(slave, os.O_RDWR)  # of a session's leader it becomes the terminal
for stream in (0, 1, 2):
    os.dup2(terminal, stream)
from mailsluice.child import Child
from mailsluice.supervisor import Supervisor
child = Child("worker", (sys.executable, "-I", "-S", "-c", code, diary, "worker"), dict(os.environ), hears_hangup=True)
async def main():
    await Supervisor([child], lambda *_: None).run(lambda: None)
asyncio.run(main())
"""


def test_with_its_terminal_there_it_goes_on_and_without_it_ends(tmp_path: Path) -> None:
    program, diary = tmp_path / "supervise.py", tmp_path / "diary"
    program.write_text(SUPERVISE)
    diary.touch()
    master, slave = pty.openpty()
    command = (
        sys.executable,
        str(program),
        os.ttyname(slave),
        str(diary),
        LISTENS.replace(READY, f"{READY}tell('up\\n'); "),
    )
    environ = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    supervisor = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, env=environ)
    os.close(slave)
    try:
        wait_until(lambda: "up" in diary.read_text(), "the child runs")

        def hears() -> bool:  # it hears only once the supervisor has noticed that it is ready
            supervisor.send_signal(signal.SIGHUP)
            return "worker reads" in diary.read_text()

        wait_until(hears, "the child reads again")
        assert supervisor.poll() is None
        os.close(master)
        master = -1
        assert supervisor.wait(LIMIT_SECONDS) == 0
        assert diary.read_text().splitlines()[-1] == "worker stops"
    finally:
        supervisor.kill()
        supervisor.wait()
        if master >= 0:
            os.close(master)
