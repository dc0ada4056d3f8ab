"""A spool that belongs to another installation is refused: by every process alone, and by `mailsluice up` at once."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.line import HOUSE, Line, Program
from tests.running import RunningUp
from tests.servers import free_port

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

PRODUCTION, STAGING = ({"SLUICE_SPOOL_ENVIRONMENT": name} for name in ("production", "staging"))


def installation(**settings: str) -> Line:
    """A line whose doors have ports of their own."""
    ports = {f"SLUICE_{name}_PORT": str(free_port()) for name in ("SMTP", "API")}
    line = Line(**ports, **settings)
    line.environment["SLUICE_FEEDBACK_SIMULATOR_URL"] = line.simulator_url
    return line


@pytest.fixture(scope="module")
def named() -> Iterator[Line]:
    """A line whose spool has got its name from the first to come; no process of it runs."""
    with installation(**PRODUCTION) as line:
        assert line.start("feedback").stop() == 0
        yield line


def said_by(program: Program) -> str:
    """The reason that a process gave when it left by itself."""
    program.process.wait(60)
    reasons = [line["reason"] for line in program.events() if "reason" in line]
    assert len(reasons) == 1, program.log()
    return str(reasons[0])


@pytest.mark.parametrize("command", ["gateway", "api", "worker", "feedback"])
def test_every_process_refuses_a_spool_of_another_installation(named, command):
    stranger = named.start(command, wait=False, **STAGING)
    reason = said_by(stranger)
    assert stranger.process.returncode == 1
    assert reason.startswith("The spool belongs to the environment production, but [spool] environment")
    assert "says staging" in reason
    assert "Traceback" not in stranger.log()


@pytest.mark.parametrize("command", ["gateway", "api", "worker", "feedback"])
def test_its_own_processes_start(named, command):
    named.redis.call("DEL", "{ms}:environment")
    for _ in range(2):  # the first names it anew
        assert named.start(command).stop() == 0
    assert b"production" in named.redis.call("GET", "{ms}:environment")


@pytest.mark.parametrize(
    "order", [["pause"], ["resume"], ["hold", "--reason", "x", "--yes"], ["cancel", "nosuch"], ["drain", "worker-1"]]
)
def test_an_operators_command_does_nothing_on_a_spool_of_another_installation(named, order: list[str]):
    said = subprocess.run(
        [sys.executable, "-P", "-m", "mailsluice", *order],
        env={**named.environment, **STAGING},
        cwd=HOUSE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "The spool belongs to the environment production" in said.stderr, said.stdout
    assert (said.returncode, said.stdout) == (2, "")
    assert not named.run(lambda spool: spool.read_pauses())


def started_and_refused(**options: object) -> str:
    """What `mailsluice up` says when it must not start; nothing of ours ran."""
    up = RunningUp(**options)  # type: ignore[arg-type]
    try:
        up.start(until_ready=False)
        assert up.wait_until_ended() == 2, up.stderr
        assert up.stdout == ""
        assert not {"gateway.started", "api.started", "worker.started"} & {line["event"] for line in up.log_lines()}
        return up.stderr
    finally:
        up.close()


def the_sentence(stderr: str) -> str:
    [line] = [line for line in stderr.splitlines() if not line.startswith("{")]
    return line


def test_up_ends_with_one_sentence_when_its_own_store_is_another_installations():
    with RunningUp(spool_environment="production") as up:
        assert up.stop() == 0
        said = started_and_refused(data_dir=up.data_dir, spool_environment="staging")
        assert the_sentence(said).startswith("The spool belongs to the environment production")
        up.start()  # and the right one still can
        assert up.stop() == 0


def test_up_starts_nothing_on_an_external_store_of_another_installation():
    with installation(**PRODUCTION) as line:
        line.start("gateway").stop()
        said = started_and_refused(redis_url=line.redis.url)
        assert said.startswith("The spool belongs to the environment production, but [spool] environment")
        assert "is empty" in said


def mailsluice(line: Line, *arguments: str) -> str:
    command = (sys.executable, "-m", "mailsluice", *arguments)
    return subprocess.run(command, cwd=HOUSE, env=line.environment, capture_output=True, text=True, check=True).stdout


def test_the_operator_gives_a_spool_its_name():
    with installation() as line:
        assert "belongs to nobody yet" in mailsluice(line, "environment")
        line.start("gateway").stop()
        unnamed = line.start("gateway", wait=False, **PRODUCTION)
        assert "mailsluice environment --rename production" in said_by(unnamed)
        assert "the environment production (it was no environment)" in mailsluice(
            line, "environment", "--rename", "production"
        )
        line.start("gateway", **PRODUCTION).stop()


def test_a_gateway_that_started_without_the_store_leaves_when_it_turns_out_to_be_anothers():
    with installation(**PRODUCTION) as line:
        line.start("gateway").stop()
        line.redis.kill()
        strangers = [line.start(one, **STAGING) for one in ("gateway", "api")]
        line.redis.start()
        for stranger in strangers:
            assert stranger.process.wait(60) == 1
            assert "belongs to the environment production" in json.dumps(stranger.events())
