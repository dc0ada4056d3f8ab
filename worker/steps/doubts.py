"""Calls that ended without an answer, with `relay.unknown = confirm`: SES's own event of the call settles them.

Theory of operation
1. Such a call leaves its recipients `unknown`. When SES's Send event with the tag of the attempt arrives, the reader of
   the feedback closes the attempt as accepted (spool.confirm) and the message is due; load turns that into `sent`.
2. When none has come within relay.confirm_seconds of the end of the call, and the feedback was read to its end after
   that instant, SES did not take the batch: its recipients wait again.
3. While the feedback is not read nobody can know, and the recipients stay in doubt however long that takes.
A Send event that comes even later finds its attempt and says that the batch was sent twice; nothing else is lost.
"""

from spool.records import Attempt, Message
from spool.states import Happening, RecipientState
from worker.tools import Tools
from worker.work import Work

_UNKNOWN = RecipientState.UNKNOWN
_SHORTEST_LOOK_SECONDS = 1.0
_LONGEST_LOOK_SECONDS = 30.0
# Every message in doubt finds the same.
_SILENT_EVERY_SECONDS = 60.0


async def settle_doubts(work: Work, tools: Tools) -> Work:
    """Gives up waiting for the events of calls that SES would have told of by now. Raises StoreUnavailable."""
    if _UNKNOWN not in work.message.states or tools.settings.unknown_policy != "confirm":
        return work
    over = [one for one in _in_doubt(work.message) if _limit_ms(one, tools) <= tools.now_ms()]
    if not over:
        return work
    read_at_ms = await tools.spool.feedback_seen_at_ms()
    for attempt in over:
        if read_at_ms >= _limit_ms(attempt, tools):
            doubtful = _doubtful(work.message, attempt)
            tools.log.warning("batch.not_confirmed", attempt=attempt.number, recipients=len(doubtful))
            work = work.learnt(work.message.having(doubtful, Happening.NOT_CONFIRMED))
        elif tools.repeats.is_due("feedback.silent", tools.now_ms(), every_seconds=_SILENT_EVERY_SECONDS):
            tools.log.warning("feedback.silent", attempt=attempt.number, read_at_ms=read_at_ms)
    return work


def seconds_until_settled(message: Message, tools: Tools) -> float:
    """When it makes sense to look again."""
    limits = [_limit_ms(attempt, tools) for attempt in _in_doubt(message)]
    seconds = (min(limits, default=0) - tools.now_ms()) / 1000
    if seconds > 0:
        return seconds + _SHORTEST_LOOK_SECONDS
    quarter = tools.settings.relay.confirm_seconds / 4
    return min(_LONGEST_LOOK_SECONDS, max(_SHORTEST_LOOK_SECONDS, quarter))


def _in_doubt(message: Message) -> list[Attempt]:
    """For each recipient in doubt the newest call without an answer."""
    calls = [one for one in message.attempts if one.outcome == "unknown"]
    newest = {index: one for one in calls for index in one.recipients if message.states[index] is _UNKNOWN}
    return list({one.number: one for one in newest.values()}.values())


def _doubtful(message: Message, attempt: Attempt) -> tuple[int, ...]:
    return tuple(index for index in attempt.recipients if message.states[index] is _UNKNOWN)


def _limit_ms(attempt: Attempt, tools: Tools) -> int:
    ended_at_ms = attempt.ended_at_ms or attempt.started_at_ms
    return ended_at_ms + int(tools.settings.relay.confirm_seconds * 1000)
