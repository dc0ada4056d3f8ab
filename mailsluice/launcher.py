"""Becomes a command that dies with the process that started it: `python -I -S launcher.py PARENT_PID COMMAND …`.

Linux sends the signal named here to this process when its parent ends, however that ends (kill -9 too); the wish
survives exec, so that it holds for programs that are not ours (Redis, Flower) as well. It is SIGKILL, because a
process that is frozen must go too and nothing of ours needs a goodbye. A step of its own and not a function between
fork and exec: Python code there can deadlock when the parent has threads.

Runs without site-packages and imports nothing of ours: it is on the way of every start.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
EXIT_NOT_FOUND = 127


def main(arguments: list[str]) -> None:
    """Replaces this process by the command; returns never."""
    parent, command = int(arguments[0]), arguments[1:]
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit("cannot ask to be ended with the supervisor (prctl failed)")
    if os.getppid() != parent:  # it ended before we could ask
        sys.exit(1)
    # Python ignores these two and exec would pass that on: programs that are not Python expect the default.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - the command is the supervisor's own, no shell is wanted
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201 - nobody has set up logging yet
        sys.exit(EXIT_NOT_FOUND)


if __name__ == "__main__":
    main(sys.argv[1:])
