"""The table of the processes that `mailsluice up` runs: pure, from settings to children.

Everything but the store starts side by side, as soon as the store answers. Settings reach the children by the
environment alone, so that each can be started by hand in the same way: `mailsluice gateway`, `mailsluice worker`, ….
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

from config.settings import Settings
from mailsluice.child import Child
from mailsluice.embedded_redis import log_file
from mailsluice.preflight import claim_spool
from mailsluice.probes import answers_http, answers_ping
from mailsluice.upstream import api_environ, feedback_environ, reachable, simulator_environ
from spool.disk_room import disk_problem

#: What goes first when everything stops: no new mail, then what works on mail, then what only looks, then the store.
DOORS, WORKERS, VIEWS, UPSTREAM, STORE = range(5)
#: A store may need minutes to load what waits, and it ends when the last write is on the disk.
STORE_READY_SECONDS, STORE_STOP_SECONDS = 600.0, 60.0
#: What a child gets beyond its own time to drain.
SPARE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What the command line says beside the settings."""

    has_simulator: bool = True
    #: None = as [worker] processes says
    workers: int | None = None


def children_of(
    settings: Settings, options: UpOptions, environ: Mapping[str, str], store: Child | None
) -> tuple[Child, ...]:
    """The table; `environ` is what every child gets, `store` the embedded server when there is one."""
    needs = (store.name,) if store else ()
    if options.has_simulator:
        environ = {**environ, **feedback_environ(settings)}
    api = api_environ(settings, environ) if options.has_simulator else environ
    parts = [
        *([store] if store else []),
        *gateways(settings, environ, needs),
        Child("api", own_command("api"), api, stop_wave=DOORS, needs=needs),
        *([_simulator(settings, environ)] if options.has_simulator else []),
        *_workers(settings, options, environ, needs),
        *_feedback(settings, options, environ, needs),
        *([_flower(settings, environ, needs)] if settings.flower.port else []),
    ]
    return tuple(parts)


def embedded_store(settings: Settings, command: tuple[str, ...], environ: Mapping[str, str], lock: int) -> Child:
    """The embedded server. It inherits the data dir's lock: the dir is free only when no server writes there."""
    return Child(
        "redis",
        command,
        environ,
        stop_wave=STORE,
        probe=answers_ping(settings.embedded_socket),
        check=lambda: claim_spool(settings),
        ready_seconds=STORE_READY_SECONDS,
        stop_seconds=STORE_STOP_SECONDS,
        kept_descriptors=(lock,),
        log_file=log_file(settings),
        suspect=lambda: disk_problem(settings),
    )


def gateways(settings: Settings, environ: Mapping[str, str], needs: tuple[str, ...] = ()) -> list[Child]:
    """The gateway processes on one port; `mailsluice gateway` with several of them runs the same ones."""
    gateway = Child(
        "gateway",
        own_command("gateway"),
        {**environ, "SLUICE_SMTP_PROCESSES": "1"},
        stop_wave=DOORS,
        needs=needs,
        stop_seconds=settings.smtp.shutdown_grace_seconds + SPARE_SECONDS,
        hears_hangup=settings.smtp.tls_certificate_file is not None,
    )
    return _numbered(gateway, settings.smtp.processes)


def _workers(settings: Settings, options: UpOptions, environ: Mapping[str, str], needs: tuple[str, ...]) -> list[Child]:
    worker = Child(
        "worker",
        own_command("worker"),
        simulator_environ(settings, environ) if options.has_simulator else environ,
        stop_wave=WORKERS,
        needs=needs,
        stop_seconds=settings.worker.shutdown_grace_seconds + SPARE_SECONDS,
        hears_hangup=True,
    )
    return _numbered(worker, options.workers or settings.worker.processes)


def _feedback(
    settings: Settings, options: UpOptions, environ: Mapping[str, str], needs: tuple[str, ...]
) -> list[Child]:
    """One reader of SES's events, where there are any."""
    if not (options.has_simulator or settings.feedback.is_configured):
        return []
    seen = simulator_environ(settings, environ) if options.has_simulator else environ
    return [Child("feedback", own_command("feedback"), seen, stop_wave=WORKERS, needs=needs)]


def _simulator(settings: Settings, environ: Mapping[str, str]) -> Child:
    """It imports nothing of ours and so cannot tell that it is ready: it is asked."""
    probe = answers_http(reachable(settings.simulator.host), settings.simulator.port, "/healthz")
    return Child("simulator", own_command("simulator"), environ, stop_wave=UPSTREAM, probe=probe)


def _flower(settings: Settings, environ: Mapping[str, str], needs: tuple[str, ...]) -> Child:
    probe = answers_http(reachable(settings.flower.host), settings.flower.port, "/healthcheck")
    return Child("flower", own_command("flower"), environ, stop_wave=VIEWS, needs=needs, probe=probe)


def own_command(name: str) -> tuple[str, ...]:
    """A command of ours, run by this Python. -P: a folder `config` where the operator stands is not ours."""
    return (sys.executable, "-P", "-m", "mailsluice", name)


def _numbered(child: Child, count: int) -> list[Child]:
    if count == 1:
        return [child]
    return [replace(child, name=f"{child.name}-{number}") for number in range(1, count + 1)]
