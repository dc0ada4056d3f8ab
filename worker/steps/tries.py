"""When a function is asked again, and when it is asked no more. Pure: clock and randomness are parameters.

Theory of operation
1. A try is written down before it is made. One that ended with its worker is due again at once: nobody answered.
2. After a failed try of a sync call the next one follows after 5 s, then after twice as long each time, at most 5 min.
   The last one is made when the rule's timeout ends, counted from the first; when that fails the fallback decides.
   A timeout of 0 means one try. The message's own end of life ends the timeout early.
3. An async call is tried three times, not counting those that ended with their worker, or before it was made.
4. An operator who lets the message go on has its calls made at once. Whatever else brings it back early, its turn in a
   lane or the end of a pause, makes no call before its time.
"""

import dataclasses
from collections.abc import Iterable

from spool.verdicts import FunctionCall, Verdict
from worker.relay.retry import Backoff

MAX_ASYNC_TRIES = 3
_DISTANCES = Backoff(first_seconds=5.0, max_seconds=300.0)
_JITTER = 0.2
# The distance of what is not counted is that of the fourth try, about 40 s.
_PATIENT = 4
_NOBODY_KNOWS = "nobody knows how it ended"


def begun(call: FunctionCall, now_ms: int) -> FunctionCall:
    """The call at the beginning of its next try."""
    return dataclasses.replace(call, tries=call.tries + 1, first_at_ms=call.first_at_ms or now_ms, next_at_ms=now_ms)


def invited(call: FunctionCall, at_ms: int) -> FunctionCall:
    """The call when its function has no place for it: it comes back, and that was no try."""
    return dataclasses.replace(call, next_at_ms=at_ms)


def put_off(call: FunctionCall, now_ms: int) -> FunctionCall:
    """The sync call that was not asked yet, when others of the message go first."""
    return dataclasses.replace(call, next_at_ms=now_ms) if call.mode == "sync" and not call.next_at_ms else call


def hastened(call: FunctionCall, now_ms: int) -> FunctionCall:
    """The call when the operator wants it now. One that may still run where it was begun keeps its time."""
    if call.next_at_ms <= now_ms or call.error == _NOBODY_KNOWS:
        return call
    return dataclasses.replace(call, next_at_ms=now_ms)


def failed(call: FunctionCall, error: str, now_ms: int, expires_at_ms: int, chance: float) -> FunctionCall:
    """The sync call after a failed try: it waits for the next one, or its state says that it was the last."""
    end_ms = min(call.first_at_ms + int(call.timeout_minutes * 60_000), expires_at_ms)
    if now_ms >= end_ms:
        return dataclasses.replace(call, state="failed", error=error)
    next_at_ms = now_ms + _distance_ms(call.tries, chance)
    return dataclasses.replace(call, error=error, next_at_ms=min(next_at_ms, end_ms))


def failed_async(call: FunctionCall, error: str, now_ms: int, chance: float) -> FunctionCall:
    """The async call after a failed try."""
    if call.tries >= MAX_ASYNC_TRIES:
        return dataclasses.replace(call, state="failed", error=error)
    return dataclasses.replace(call, error=error, next_at_ms=now_ms + _distance_ms(call.tries, chance))


def not_made(call: FunctionCall, now_ms: int, chance: float) -> FunctionCall:
    """The async call when what it needs of ours was away: its function was not asked, and that was no try."""
    return dataclasses.replace(call, tries=max(0, call.tries - 1), next_at_ms=now_ms + _distance_ms(_PATIENT, chance))


def left_running(call: FunctionCall, until_ms: int) -> FunctionCall:
    """The async call when its message goes on without it: so long its end may be told where it runs."""
    return dataclasses.replace(call, error=_NOBODY_KNOWS, next_at_ms=until_ms)


def is_used_up(call: FunctionCall) -> bool:
    """Whether an async call that is due has had its tries. A try that ended with its worker left no error."""
    return call.tries >= MAX_ASYNC_TRIES and bool(call.error)


def made(call: FunctionCall) -> FunctionCall:
    """A call that needs no further try."""
    return dataclasses.replace(call, state="answered", error="")


def waiting(verdict: Verdict | None, mode: str = "") -> tuple[FunctionCall, ...]:
    """Calls without an end, of one mode or of both."""
    calls: Iterable[FunctionCall] = verdict.calls if verdict else ()
    return tuple(call for call in calls if call.state == "waits" and mode in {"", call.mode})


def _distance_ms(tries: int, chance: float) -> int:
    jitter = 1 - _JITTER / 2 + _JITTER * chance
    return int(_DISTANCES.ceiling_seconds(max(tries, 1)) * jitter * 1000)
