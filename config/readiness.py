"""How a process tells the supervisor that started it: I am ready.

The supervisor names an inherited pipe in MAILSLUICE_READY_FD. One line is written there, once, when the process can
do its work; log text is never read for it. Started by hand, a process has no such pipe and tells nobody.
"""

import os

READY_VARIABLE = "MAILSLUICE_READY_FD"
READY_LINE = b"ready\n"


def tell_ready() -> None:
    """Writes a line to the inherited pipe named by MAILSLUICE_READY_FD; nothing when it is not set.

    The variable is removed and the pipe closed, so that no child of this process speaks in its name. A supervisor
    that is gone is not an error: this process is about to be ended anyway.
    """
    named = os.environ.pop(READY_VARIABLE, "")
    if not named.isdecimal():
        return
    descriptor = int(named)
    try:
        os.write(descriptor, READY_LINE)
        os.close(descriptor)
    except OSError:
        return
