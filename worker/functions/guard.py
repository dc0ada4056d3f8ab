"""Guards the process of one function: `python -I -S guard.py CONTROL CHANNEL MEMORY_BYTES DATA_BYTES COMMAND …`.

1. It becomes the parent of whatever the function starts and leaves behind, however deep and in whatever session.
2. It starts COMMAND in a session of its own, with CHANNEL as descriptor 3, and tells its pid on CONTROL.
3. It waits until COMMAND ends, the worker closes CONTROL (by wish, or because it died, kill -9 too), or all
   processes together use more than MEMORY_BYTES. A byte on CONTROL means: a call begins, look often.
4. It kills everything it is the parent of until nothing is left, tells on CONTROL how it came (`exit 3`, `signal 9`,
   `memory`) and ends. No process of a function outlives its guard, but one that kills the guard first: COMMAND
   itself ends with the guard even then (PR_SET_PDEATHSIG), and the worker ends its group.

DATA_BYTES (0 = none) limits what one process may ask for at once, so that nobody is quicker than step 3. Runs
without site-packages and imports nothing of ours: it is on the way of every start.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
EXIT_NOT_FOUND = 127
CHANNEL = 3
WATCH_SECONDS = 0.1
#: Between two looks at processes that have used no CPU for `RESTING_LOOKS` looks.
RESTING_SECONDS = 2.0
RESTING_LOOKS = 10
END_SECONDS = 5.0
#: The kernel, when out of memory, takes a function before it takes the worker.
OOM_SCORE = b"500"
PAGE_BYTES = resource.getpagesize()


class Family:
    """The processes below this one. A process that was once known to be a stranger is not looked at again."""

    def __init__(self) -> None:
        self._me = os.getpid()
        self._strangers: set[int] = set()

    def members(self) -> dict[int, list[bytes]]:
        """Each one's /proc/PID/stat from the third field on."""
        present = {int(name) for name in os.listdir("/proc") if name.isdigit()} - {self._me}  # noqa: PTH208 - quick
        self._strangers &= present
        unknown = {pid: fields for pid in present - self._strangers if (fields := stat_of(pid))}
        family = {}
        for pid, fields in unknown.items():
            ancestor = pid
            while ancestor in unknown:
                ancestor = int(unknown[ancestor][1])
            if ancestor == self._me:
                family[pid] = fields
            elif ancestor in self._strangers or ancestor <= 1:  # else it went meanwhile: the next look decides
                self._strangers.add(pid)
        return family


class Watch:
    """How much memory the family uses, and whether it does anything."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._family = Family()
        self._cpu_ticks = -1
        self._quiet_looks = 0

    def wake(self) -> None:
        self._quiet_looks = 0

    @property
    def pause_seconds(self) -> float:
        return WATCH_SECONDS if self._quiet_looks < RESTING_LOOKS else RESTING_SECONDS

    def is_over(self) -> bool:
        """One look. Pages that processes share are counted once, which costs more, when the first sum is too large."""
        members = self._family.members()
        cpu_ticks = sum(int(fields[11]) + int(fields[12]) for fields in members.values())
        self._quiet_looks = self._quiet_looks + 1 if cpu_ticks == self._cpu_ticks else 0
        self._cpu_ticks = cpu_ticks
        if sum(int(fields[21]) for fields in members.values()) * PAGE_BYTES <= self._memory_bytes:
            return False
        return len(members) == 1 or sum(map(proportional_bytes, members)) > self._memory_bytes


def stat_of(pid: int) -> list[bytes]:
    """State, parent, … of a process; empty if it went."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib costs a start 5 ms
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def proportional_bytes(pid: int) -> int:
    """Memory of a process, shared pages divided among those who share them."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:  # noqa: PTH123 - as above
        for line in file:
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def become_command(guard: int, channel: int, data_bytes: int, command: list[str]) -> None:
    """In the new process: replaces it; returns never."""
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:  # it ended before we could ask
            os._exit(1)
        os.dup2(channel, CHANNEL)
        if channel != CHANNEL:
            os.close(channel)
        # What Python ignores, exec would pass on as ignored: programs expect the default.
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        limit(resource.RLIMIT_CORE, 0)
        if data_bytes:
            limit(resource.RLIMIT_DATA, data_bytes)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb") as file:  # noqa: PTH123 - as above
            file.write(OOM_SCORE)
        os.execv(command[0], command)  # noqa: S606 - the worker's own command, no shell is wanted
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode("utf-8", "replace"))
    finally:
        os._exit(EXIT_NOT_FOUND)


def limit(kind: int, amount: int) -> None:
    """Sets a limit, or the highest that is allowed."""
    highest = resource.getrlimit(kind)[1]
    if highest != resource.RLIM_INFINITY:
        amount = min(amount, highest)
    resource.setrlimit(kind, (amount, amount))


def prctl(option: int, value: int) -> None:
    """Asks the kernel."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


def collect(command: int) -> str:
    """Takes every ended child; how COMMAND ended if it was among them, `none` if there are no children."""
    how = ""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return how or "none"
        if pid == 0:
            return how
        if pid == command:
            code = os.waitstatus_to_exitcode(status)
            how = f"exit {code}" if code >= 0 else f"signal {-code}"


def watch(control: int, woken: int, command: int, memory_bytes: int) -> str:
    """Returns when it is time to end, with how it came."""
    seen = Watch(memory_bytes)
    waiting = select.poll()
    waiting.register(control, select.POLLIN)
    waiting.register(woken, select.POLLIN)
    while True:
        ready = [descriptor for descriptor, _ in waiting.poll(seen.pause_seconds * 1000)]
        if woken in ready:
            os.read(woken, 512)
            if how := collect(command):
                return how
        if control in ready:
            try:
                if not os.read(control, 512):
                    return "told"
            except OSError:
                return "told"
            seen.wake()
        if seen.is_over():
            return "memory"


def end_all(command: int) -> None:
    """Kills until no child is left; those who lose their parent meanwhile become children of this process."""
    until = time.monotonic() + END_SECONDS
    family = Family()
    with contextlib.suppress(OSError):
        os.killpg(command, signal.SIGKILL)
    while collect(command) != "none" and time.monotonic() < until:
        for pid in family.members():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)


def main(arguments: list[str]) -> None:
    """One life."""
    control, channel, memory_bytes, data_bytes = map(int, arguments[:4])
    os.set_inheritable(control, False)
    woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # the worker says when
        signal.signal(number, signal.SIG_IGN)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    guard = os.getpid()
    command = os.fork()
    if command == 0:
        become_command(guard, channel, data_bytes, arguments[4:])
    os.close(channel)
    for standard in (1, 2):  # the end of the function's output must be seen
        os.dup2(0, standard)
    how = "told"
    with contextlib.suppress(OSError):
        os.write(control, b"pid %d\n" % command)
        how = watch(control, woken, command, memory_bytes)
    end_all(command)
    with contextlib.suppress(OSError):
        os.write(control, how.encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1:])
