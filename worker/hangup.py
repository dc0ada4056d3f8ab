"""SIGHUP in a worker process: the rules are read again. Celery's own answer, to start the process anew, is replaced.

Celery sets its handler just before it starts the pool, so the pool sets ours. A worker whose terminal is gone stops
as on SIGTERM: it finishes what it has. What it writes goes nowhere then, because nobody can read it.
"""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType

from config.hangup import Terminal


def on_hangup(reload: Callable[[], None]) -> None:
    """Calls `reload` at every SIGHUP from now on. Only the main thread can see to that, another one does nothing."""
    if threading.current_thread() is not threading.main_thread():
        return
    terminal = Terminal()
    shown = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]

    def heard(_: int, __: FrameType | None) -> None:
        if terminal.is_gone:
            _write_nowhere(shown)
            signal.raise_signal(signal.SIGTERM)
        else:
            reload()

    signal.signal(signal.SIGHUP, heard)


def _write_nowhere(descriptors: Sequence[int]) -> None:
    """A line for a terminal that is gone is an error, which the work in hand must not meet."""
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
