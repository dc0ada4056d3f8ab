"""`mailsluice up` and every other command that keeps children: checks first, then the supervisor.

Guarantees that nothing was started when a check fails, and that all that can be checked is told at once.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence

from config.errors import Refused
from config.logs import get_log, set_up_logging
from config.readiness import tell_ready
from config.settings import Settings
from mailsluice import embedded_redis
from mailsluice.child import Child
from mailsluice.children import UpOptions, children_of, embedded_store, gateways
from mailsluice.output import PassOn, as_json, is_console, with_names, write_to_stderr
from mailsluice.preflight import (
    Door,
    broker_problems,
    certificate_problems,
    claim_spool,
    complain,
    credentials_problem,
    lock_data_dir,
    port_problems,
    rule_problems,
    server_report,
    set_problems,
)
from mailsluice.run_file import RunFile
from mailsluice.supervisor import Supervisor
from mailsluice.upstream import address
from mailsluice.welcome import welcome


def run_up(settings: Settings, options: UpOptions) -> None:
    """Returns after a signal, when everything is stopped. Raises Refused (a check) or ChildFailed (a first start)."""
    started_at = time.monotonic()
    set_up_logging(settings.log, "up")
    others = [*certificate_problems(settings), *rule_problems(settings), *set_problems(settings)]
    lock = _lock_and_check(settings, doors_of(settings, options), others)
    if not options.has_simulator:
        asyncio.run(_warn_without_credentials(settings))
    environ = _environ_of(settings)
    store = None
    if settings.redis.url:
        asyncio.run(_check_servers(settings))
    else:
        store = embedded_store(settings, embedded_redis.prepare(settings), {**environ, "LC_ALL": "C"}, lock)
    children = children_of(settings, options, environ, store)
    run_file = RunFile(settings.data.dir.absolute(), addresses_of(settings, options))

    def announce() -> None:
        after_seconds = time.monotonic() - started_at
        _print(welcome(settings, has_simulator=options.has_simulator, after_seconds=after_seconds))

    asyncio.run(_supervise(settings, children, announce, run_file))


def run_gateways(settings: Settings) -> None:
    """Several gateway processes on one port, as `up` would run them."""
    set_up_logging(settings.log, "gateway")
    complain([*port_problems(smtp_doors(settings)), *certificate_problems(settings)])
    asyncio.run(claim_spool(settings))
    asyncio.run(_supervise(settings, gateways(settings, _environ_of(settings)), tell_ready, None))


def become_redis(settings: Settings) -> None:
    """Replaces this process by the embedded server alone."""
    lock = _lock_and_check(settings, [], [], "mailsluice redis")
    command = embedded_redis.prepare(settings)
    os.set_inheritable(lock, True)  # the lock is held as long as the server runs
    _print(f"The embedded server listens on unix://{settings.embedded_socket}\n")
    os.execv(command[0], command)  # noqa: S606 - our own command, no shell is wanted


async def _supervise(
    settings: Settings, children: Sequence[Child], announce: Callable[[], None], run_file: RunFile | None
) -> None:
    on_change = run_file.write if run_file else lambda _: None
    try:
        await Supervisor(children, _pass_on_of(settings, children), on_change=on_change).run(announce)
    finally:
        if run_file:
            run_file.remove()


def _pass_on_of(settings: Settings, children: Sequence[Child]) -> PassOn:
    if is_console(settings.log):
        return with_names(write_to_stderr, max(len(child.name) for child in children))
    return as_json(write_to_stderr)


def _lock_and_check(
    settings: Settings, doors: Sequence[Door], others: Sequence[str], holder: str = "mailsluice up"
) -> int:
    problems = []
    try:
        lock = lock_data_dir(settings.data.dir.absolute(), holder)
    except Refused as error:
        problems.append(error.reason)
    complain([*problems, *port_problems(doors), *others])
    return lock


async def _check_servers(settings: Settings) -> None:
    report = await server_report(settings)
    complain([*(() if report.is_safe else report.problems), *await broker_problems(settings)])
    await claim_spool(settings)
    if report.is_full:
        get_log().warning("spool.full", problems=report.problems)
    elif report.problems:
        get_log().warning("spool.safe", problems=report.problems)


async def _warn_without_credentials(settings: Settings) -> None:
    """No reason to refuse: mail is accepted and waits, and a key or role may come later."""
    from config.aws_clients import aws_session  # noqa: PLC0415 - a third of a second that the simulator need not pay

    if problem := await credentials_problem(lambda: aws_session(settings.relay.region)):
        get_log().warning("up.no_credentials", problem=problem)


def smtp_doors(settings: Settings) -> list[Door]:
    """The ports of the gateway."""
    doors = [Door("smtp", settings.smtp.host, settings.smtp.port)]
    if settings.smtp.tls_port:
        doors.append(Door("smtp", settings.smtp.host, settings.smtp.tls_port, "tls_port"))
    return doors


def doors_of(settings: Settings, options: UpOptions) -> list[Door]:
    """Every port that will be opened."""
    doors = [*smtp_doors(settings), Door("api", settings.api.host, settings.api.port)]
    if options.has_simulator:
        doors.append(Door("simulator", settings.simulator.host, settings.simulator.port))
    if settings.flower.port:
        doors.append(Door("flower", settings.flower.host, settings.flower.port))
    return doors


def addresses_of(settings: Settings, options: UpOptions) -> dict[str, str]:
    """Where each can be reached from this machine."""
    return {
        f"{door.section}_tls" if door.key == "tls_port" else door.section: address(door.host, door.port)
        for door in doors_of(settings, options)
    }


def _environ_of(settings: Settings) -> dict[str, str]:
    return {
        **os.environ,
        "SLUICE_DATA_DIR": str(settings.data.dir.absolute()),
        # A child's stderr is a pipe to us; its lines are read where ours are read.
        "SLUICE_LOG_FORMAT": "console" if is_console(settings.log) else "json",
    }


def _print(text: str) -> None:
    """A reader that went away stops nothing."""
    with contextlib.suppress(OSError):
        sys.stdout.write(text)
        sys.stdout.flush()
