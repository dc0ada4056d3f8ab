"""The peer: a private Postfix beside the system's own, in a temporary folder, on loopback ports of its own.

Its configuration, queue, data and log are in that folder, and the system's files are only read. `hold`: mail is
accepted and kept (the hold queue: nothing is delivered, the cheapest way for Postfix). `relay`: mail goes on to a
sink, which is Postfix's own smtp-sink for rates and ours for latencies. Everything else is Postfix's default but
for what a benchmark would hit by accident: process and connection limits are raised, the flow delay is off.
It needs root. It ends with the block; should the bench be killed, by itself after half an hour.
"""

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.figures import POSTFIX
from bench.processes import cpu_seconds_by_name, wait_until_quiet
from tests.servers import free_port

LONGEST_LIFE_SECONDS = 1800
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/lib/postfix/sbin"
_PROGRAMS = ("postfix", "postconf", "postsuper", "smtp-sink")
_MESSAGES = re.compile(rb"mesg=(\d+)")

SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def missing() -> str:
    """Why there can be no Postfix here; empty when there can."""
    absent = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
    if absent:
        return f"{', '.join(absent)} not installed (apt install postfix)"
    return "" if os.getuid() == 0 else "Postfix starts as root only"


def settings_of(folder: Path, places: dict[str, str], relay_port: int | None) -> dict[str, str]:
    """main.cf; `relay_port` None holds all mail."""
    return {
        "compatibility_level": "3.6",
        **places,
        "config_directory": str(folder / "conf"),
        "queue_directory": str(folder / "queue"),
        "data_directory": str(folder / "data"),
        "maillog_file": str(folder / "log"),
        "maillog_file_prefixes": str(folder),
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "myhostname": "postfix.bench.example.com",
        "mydestination": "",
        "mynetworks": "127.0.0.0/8",
        "local_recipient_maps": "",
        "alias_maps": "",
        "alias_database": "",
        "disable_dns_lookups": "yes",
        "smtpd_peername_lookup": "no",
        "smtpd_relay_restrictions": "permit_mynetworks, reject",
        "default_process_limit": "200",
        "smtpd_client_connection_count_limit": "0",
        "in_flow_delay": "0",
        "message_size_limit": "31457280",
        **(
            {"relayhost": f"[127.0.0.1]:{relay_port}"}
            if relay_port
            else {"smtpd_client_restrictions": "check_client_access static:HOLD"}
        ),
    }


class Postfix:
    """A running private Postfix. `relay_port` None holds what it accepts."""

    name = POSTFIX

    def __init__(self, relay_port: int | None = None) -> None:
        self._relay_port = relay_port
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="ms-postfix-"))

    def __enter__(self) -> Self:
        try:
            self._write_configuration()
            self._run("postfix", "check")
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        master = getattr(self, "_master", None)
        if master is not None:
            os.killpg(master.pid, signal.SIGTERM)
            try:
                master.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(master.pid, signal.SIGKILL)
                master.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far, by program."""
        return cpu_seconds_by_name(self._master.pid)

    def clear(self) -> None:
        """Removes all mail."""
        self._run("postsuper", "-d", "ALL")
        wait_until_quiet(self.cpu)

    def _write_configuration(self) -> None:
        owner = pwd.getpwnam(self._system("mail_owner"))
        self.folder.chmod(0o755)  # its daemons run as another user
        for name in ("conf", "queue", "data"):
            (self.folder / name).mkdir(mode=0o755)
        os.chown(self.folder / "data", owner.pw_uid, owner.pw_gid)
        names = ("daemon_directory", "command_directory", "shlib_directory", "meta_directory")
        places = {name: self._system(name) for name in names}
        self._daemons = Path(places["daemon_directory"])
        lines = [f"{name} = {value}\n" for name, value in settings_of(self.folder, places, self._relay_port).items()]
        (self.folder / "conf" / "main.cf").write_text("".join(lines))
        (self.folder / "conf" / "master.cf").write_text(SERVICES.format(port=self.port))

    def _start(self) -> None:
        # What `postfix start-fg` runs, with an end of its own (-e) should nobody be left to stop it.
        self._master = subprocess.Popen(
            [self._daemons / "master", "-c", self.folder / "conf", "-s", "-e", str(LONGEST_LIFE_SECONDS)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        limit = time.monotonic() + 20
        while not (self.folder / "log").exists() or "daemon started" not in (self.folder / "log").read_text():
            assert time.monotonic() < limit, "Postfix did not start"
            time.sleep(0.05)

    def _run(self, program: str, *arguments: str) -> None:
        path = shutil.which(program, path=_PATH)
        assert path, f"{program} is not installed"
        subprocess.run([path, "-c", str(self.folder / "conf"), *arguments], check=True, capture_output=True)

    @staticmethod
    def _system(setting: str) -> str:
        """A setting of the system's own Postfix: where its programs are and who owns them."""
        path = shutil.which("postconf", path=_PATH)
        assert path, "postconf is not installed"
        return subprocess.run([path, "-h", setting], check=True, capture_output=True, text=True).stdout.strip()


class SmtpSink:
    """Postfix's smtp-sink: takes every message; counts from its running counter."""

    def __init__(self) -> None:
        self.port = free_port()
        self._count = 0
        self._forgotten = 0
        self._last_at = 0.0

    def __enter__(self) -> Self:
        path = shutil.which("smtp-sink", path=_PATH)
        assert path, "smtp-sink is not installed"
        self._process = subprocess.Popen(
            [path, "-u", "nobody", "-c", f"127.0.0.1:{self.port}", "1000"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def reset(self) -> None:
        """Counts from nought again."""
        self._forgotten = self._count

    def arrived(self) -> tuple[int, float]:
        """How many came, and when the last."""
        return self._count - self._forgotten, self._last_at

    def _read(self) -> None:
        assert self._process.stdout
        rest = b""
        while piece := os.read(self._process.stdout.fileno(), 65536):
            whole, _, rest = (rest + piece).rpartition(b"\r")
            if found := _MESSAGES.findall(whole):
                self._count, self._last_at = int(found[-1]), time.monotonic()
