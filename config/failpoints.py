"""Named places where a test can make a real process die, freeze or fail.

`SLUICE_FAILPOINTS="relay.before_call=kill, commit.after=stop*1"`: actions kill (SIGKILL to itself), stop
(SIGSTOP to itself), raise; `*N` = only the first N times. Crash tests walk the list below, so that "a crash at each
step" is a list and not luck. Off, and free but for one comparison, unless the variable is set.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping

FAILPOINTS: dict[str, str] = {
    "commit.before": "message read at a door, nothing written",
    "commit.after": "message safe, client not answered",
    "gateway.after_reply": "client answered, nudge not pushed",
    "worker.after_claim": "lease taken, nothing else",
    "judge.before_call": "try of a function recorded, function not called",
    "judge.after_call": "function answered, its answer not recorded",
    "judge.after_update": "updated content kept, verdict not recorded",
    "relay.before_intent": "batches made, attempts not recorded",
    "relay.after_intent": "attempts recorded, SES not called",
    "relay.after_call": "SES answered, outcome not recorded",
    "relay.after_outcome": "all batches called, end of the message not written",
    "tell.before_bounce": "recipients refused, bounce not made",
    "finish.after_settle": "message finished, content not removed",
    "publisher.after_write": "events written out, cursor not moved",
    "feedback.before_position": "SES's events applied, position not written",
    "feedback.after_apply": "an event of SES written down, what follows from it not done",
    "feedback.before_finished": "what follows from it done, not struck off",
    "feedback.before_delete": "SES's events applied, not deleted from their queue",
}

VARIABLE = "SLUICE_FAILPOINTS"
# Another thread may take the signal first: this one must not go on until all of them stand still.
_SIGNAL_SECONDS = 0.05


class Failpoint(Exception):  # noqa: N818 - it is no error of the program
    """Raised by the action `raise`."""


class Failpoints:
    """The active failpoints of one process."""

    def __init__(self, text: str) -> None:
        self._active: dict[str, tuple[str, int]] = {}
        for part in filter(None, (one.strip() for one in text.split(","))):
            name, _, action = part.partition("=")
            action, star, times = action.partition("*")
            is_number = times.isdecimal() and int(times) > 0
            if name not in FAILPOINTS or action not in {"kill", "stop", "raise"} or (star and not is_number):
                raise ValueError(f"{VARIABLE}: unknown failpoint {part!r}; known: {', '.join(FAILPOINTS)}")
            self._active[name] = (action, int(times or sys.maxsize))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Failpoints":
        """What SLUICE_FAILPOINTS says; nothing when it is not set."""
        return cls(environ.get(VARIABLE, ""))

    def __bool__(self) -> bool:
        return bool(self._active)

    def reached(self, name: str) -> None:
        """Does what was asked for this place; almost always nothing."""
        if not self._active:
            return
        action, left = self._active.get(name, ("", 0))
        if left <= 0:
            return
        self._active[name] = (action, left - 1)
        if action == "raise":
            raise Failpoint(name)
        os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)
        time.sleep(_SIGNAL_SECONDS)
