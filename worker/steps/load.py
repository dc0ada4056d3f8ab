"""First step: the content, and the calls that an earlier holder of the message left without an outcome."""

import dataclasses

from spool.records import Attempt
from spool.states import Happening, RecipientState
from worker.tools import Tools
from worker.work import Continue, Stop, Work, write

HOLDER_LOST = "WorkerLost"


async def load(work: Work, tools: Tools) -> Continue | Stop:
    """Raises ContentUnavailable when the content store does not answer."""
    content = await tools.spool.content_of(work.message)
    work = dataclasses.replace(work, content=content)
    open_attempts = [attempt for attempt in work.message.attempts if attempt.outcome is None]
    if open_attempts or work.message.indexes(RecipientState.SENDING):
        work = await write(_in_doubt(work, open_attempts, tools), tools)
    return Continue(work)


def _in_doubt(work: Work, open_attempts: list[Attempt], tools: Tools) -> Work:
    """An attempt without an outcome: its worker died between the intent and the record of the answer."""
    policy = Happening.CALL_LOST if tools.settings.relay.unknown == "resend" else Happening.DOUBT_KEPT
    sending = work.message.indexes(RecipientState.SENDING)
    for attempt in open_attempts:
        closed = dataclasses.replace(
            attempt,
            outcome="unknown",
            ended_at_ms=tools.now_ms(),
            code=HOLDER_LOST,
            reason="the worker ended before SES's answer was recorded",
        )
        tools.log.warning("batch.unknown", attempt=attempt.number, recipients=len(attempt.recipients), code=HOLDER_LOST)
        tools.tally.count("ses_calls:unknown")
        message = work.message
        attempts = tuple(closed if one.number == attempt.number else one for one in message.attempts)
        work = work.learnt(
            dataclasses.replace(message, attempts=attempts),
            attempts=(closed,),
            unknown_recipients=len(attempt.recipients),
        )
    return dataclasses.replace(work, message=work.message.having(sending, policy))
