"""What is checked before anything is started, so that a mistake is one clear line and not a restart loop.

The data dir exists, belongs to one supervisor only and is for this user only; every port can be opened; the file of
rules, the configuration sets and the certificate are right; a server that is not ours can keep mail; the spool is not
another installation's. Each check returns sentences that say what to do; the caller shows them all at once.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import re
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from config.errors import Refused
from config.redis_clients import redis_client
from config.settings import Settings
from config.settings_source import variable_of
from sending_events.configuration_sets import set_file
from smtp_gateway.certificates import certificates_of
from spool.environment import claim_if_it_answers
from spool.safety import SafetyReport, SafetyWatch
from worker.relay.credentials import AwsSession, CredentialSource, NoCredentials
from worker.rules.keeper import check_file

LOCK_FILE = "lock"
#: After a kill -9 the kernel needs a moment to end the children of the old supervisor.
LOCK_WAIT_SECONDS = 3.0
PORTS_TRIED = 100
#: A host's metadata service answers in milliseconds, one that is not there in its own time.
CREDENTIALS_WAIT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Door:
    """A port of a section of the settings."""

    section: str
    host: str
    port: int
    key: str = "port"


def lock_data_dir(folder: Path, holder: str) -> int:
    """Makes the folder and returns a descriptor that holds its lock until it and all its copies are closed.

    `holder` is what the next one is told, for instance `mailsluice up`. Raises Refused.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Refused(
            f"The data dir {folder} cannot be used ({error.strerror}): "
            "choose another with --data-dir or SLUICE_DATA_DIR."
        ) from error
    limit = time.monotonic() + LOCK_WAIT_SECONDS
    while not _locked(descriptor):
        told = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
        if _lives(told) or time.monotonic() > limit:
            os.close(descriptor)
            raise Refused(
                f"The data dir {folder} is in use by {told or 'another process'}: "
                "stop it, or choose another data dir with --data-dir."
            )
        time.sleep(0.05)
    with contextlib.suppress(OSError):  # a full disk: the lock holds without its holder's name
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{holder}, process {os.getpid()}\n".encode(), 0)
    return descriptor


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lives(told: str) -> bool:
    found = re.search(r"process (\d+)$", told)
    return found is not None and Path(f"/proc/{found[1]}").exists()


def port_problems(doors: Sequence[Door]) -> list[str]:
    """One sentence for every port that cannot be opened."""
    opened: dict[int, Door] = {}
    held: list[socket.socket] = []
    problems = []
    taken = {door.port for door in doors}
    try:
        for door in doors:
            if (other := opened.get(door.port)) is not None and _same_place(other.host, door.host):
                problems.append(
                    f"port {door.port} of [{door.section}] is the port of [{other.section}] too{_choose(door, taken)}"
                )
                continue
            try:
                held.append(_bound(door.host, door.port))
                opened[door.port] = door
            except OSError as error:
                problems.append(_port_problem(door, error, taken))
    finally:
        for one in held:
            one.close()
    return problems


def _port_problem(door: Door, error: OSError, taken: set[int]) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {door.port} of [{door.section}] is in use{_choose(door, taken)}"
        case errno.EACCES:
            return f"port {door.port} of [{door.section}] may not be opened by this user{_choose(door, taken)}"
        case _:
            variable = variable_of(door.section, "host")
            return f"{door.host} of [{door.section}] cannot be listened on ({error.strerror}): set {variable}=127.0.0.1"


def _choose(door: Door, taken: set[int]) -> str:
    """Advice that can be followed for all doors at once: what it names counts as taken from then on."""
    port = _free_port_after(door, taken)
    if port is not None:
        taken.add(port)
    return f"; choose another: {variable_of(door.section, door.key)}={port or '…'}"


def _free_port_after(door: Door, taken: set[int]) -> int | None:
    first = max(door.port, 1024) + 1
    for port in range(first, min(first + PORTS_TRIED, 65536)):
        if port in taken:
            continue
        try:
            _bound(door.host, port).close()
        except OSError:
            continue
        return port
    return None


def _bound(host: str, port: int) -> socket.socket:
    """A bound socket, without SO_REUSEPORT: with it a second gateway could open the port of the first."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    one = socket.socket(family, kind, protocol)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one


def _same_place(one: str, other: str) -> bool:
    return one == other or bool({one, other} & {"0.0.0.0", "::", ""})


def rule_problems(settings: Settings) -> list[str]:
    """Everything that is wrong with the file of rules."""
    try:
        check_file(settings)
    except Refused as refused:
        return refused.reason.splitlines()
    return []


def set_problems(settings: Settings) -> list[str]:
    """Everything that is wrong with the configuration sets of the settings file."""
    try:
        set_file.check_file(settings)
    except Refused as refused:
        return refused.reason.splitlines()
    return []


def certificate_problems(settings: Settings) -> list[str]:
    """What is wrong with the files of the gateway's certificate and its key."""
    try:
        certificates_of(settings.smtp)
    except Refused as refused:
        return refused.reason.splitlines()
    return []


async def server_report(settings: Settings) -> SafetyReport:
    """Whether the configured external server can hold mail now, its URL before every sentence."""
    where = f"[redis] url {without_secrets(settings.redis_url)}"
    try:
        redis = redis_client(settings.redis_url, connections=1)
    except ValueError as error:
        raise Refused(f"{where}: {error}") from error
    try:
        report = await SafetyWatch(redis, settings).check()
    finally:
        await redis.aclose()
    problems = tuple(f"{where}: {problem}" for problem in report.problems)
    return SafetyReport(is_safe=report.is_safe, is_full=report.is_full, problems=problems)


async def claim_spool(settings: Settings) -> None:
    """Nothing when the spool is ours or does not answer now. Raises WrongEnvironment."""
    async with redis_client(settings.redis_url, connections=1) as redis:
        await claim_if_it_answers(redis, settings.spool.environment)


async def broker_problems(settings: Settings) -> list[str]:
    """Whether the other server for Celery's queues answers, when there is one."""
    if not settings.broker.url or settings.broker.url == settings.redis_url:
        return []
    try:
        broker = redis_client(settings.broker.url, connections=1)
        async with broker:
            await broker.ping()
    except Exception as error:  # noqa: BLE001 - any failure of any kind means: not usable, and is told
        where = without_secrets(settings.broker.url)
        return [
            f"[broker] url {where} does not answer ({type(error).__name__}): start it, or correct SLUICE_BROKER_URL"
        ]
    return []


async def credentials_problem(
    new_session: Callable[[], AwsSession], *, wait_seconds: float = CREDENTIALS_WAIT_SECONDS
) -> str:
    """Why the workers of the real SES have no credentials now, as they will say themselves; "" when they have."""
    try:
        async with asyncio.timeout(wait_seconds):
            await CredentialSource(new_session).current()
    except NoCredentials as error:
        return str(error)
    except TimeoutError:
        return f"no AWS credentials within {wait_seconds:g} s; check the role, profile or metadata service"
    return ""


def without_secrets(url: str) -> str:
    """The URL with *** for a password."""
    shown = re.sub(r"//([^/?:]*):[^/?]*@", r"//\1:***@", url)
    return re.sub(r"(?i)([?&]password=)[^&]*", r"\1***", shown)


def complain(problems: Iterable[str]) -> None:
    """Raises Refused with all of them, one a line, when there are any."""
    if lines := list(problems):
        raise Refused("\n".join(lines))
