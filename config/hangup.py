"""What SIGHUP means: read the files again that are read again, unless it tells that the terminal is gone.

A terminal that closes, or a connection that breaks, hangs up before it sends the signal: from then on the process has
no terminal any more. So one that was started from a terminal and finds none was left alone and has to end; any other
SIGHUP was sent by somebody who wants files read.
"""

import os


class Terminal:
    """The terminal that this process was started from, if it was."""

    def __init__(self) -> None:
        self._was_there = _has_terminal()

    @property
    def is_gone(self) -> bool:
        """Whether there was one and there is none now."""
        return self._was_there and not _has_terminal()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
