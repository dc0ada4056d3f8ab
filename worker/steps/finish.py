"""Last step: the end of the message, or when it is tried again. Also what happens when a step failed."""

from typing import Literal

from config.errors import TryLater
from sending_events.records import EventRecord
from spool.states import ACCOUNT_TROUBLE, IN_DOUBT, RecipientState
from worker.relay.relay import STOPPING
from worker.tools import Tools
from worker.work import LeaseLost, Stop, Work, age_seconds, write


async def finish(work: Work, tools: Tools) -> Stop:
    """Writes what is left and moves the message. Raises LeaseLost."""
    tools.failpoints.reached("relay.after_outcome")
    if work.delay_reason == STOPPING:
        await write(work, tools, to="due")
        return Stop("due")
    if work.message.indexes(RecipientState.WAITING):
        return await _park(work, tools)
    if work.message.indexes(RecipientState.UNKNOWN):
        await write(work.learnt(work.message, held_messages=1), tools, to="held", reason=IN_DOUBT)
        tools.log.warning("message.held", reason=IN_DOUBT)
        return Stop("held")
    await write(work.learnt(work.message, finished_messages=1), tools, to="done")
    tools.failpoints.reached("finish.after_settle")
    await tools.spool.forget_content(work.message)
    tools.log.info("message.finished", recipients=len(work.message.recipients))
    return Stop("done")


async def _park(work: Work, tools: Tools) -> Stop:
    """The rest waits: longer with every round, never past its end of life."""
    message = work.message
    rounds = message.rounds + 1
    delay_seconds = tools.backoff.delay_seconds(rounds, tools.chance())
    if not work.delay_reason.startswith(ACCOUNT_TROUBLE):  # for which nobody expires
        left_seconds = max(0.5, tools.settings.relay.max_age_seconds - age_seconds(work, tools) + 0.5)
        delay_seconds = min(delay_seconds, left_seconds)
    waiting = message.indexes(RecipientState.WAITING)
    next_at_ms = tools.now_ms() + int(delay_seconds * 1000)
    event = EventRecord(
        "deferred", message.message_id, tools.now_ms(), waiting, reason=work.delay_reason, next_at_ms=next_at_ms
    )
    work = work.learnt(message, events=(event.encode(),), deferred_recipients=len(waiting))
    await write(work, tools, to="parked", after_seconds=delay_seconds, reason=work.delay_reason, rounds=rounds)
    tools.log.info("message.parked", reason=work.delay_reason, seconds=round(delay_seconds, 1), recipients=len(waiting))
    return Stop("parked")


async def give_back(work: Work, tools: Tools, step: str, error: TryLater) -> str:
    """Something the step needs is away (store, content, credentials): the message waits, nobody is to blame."""
    tools.log.warning("message.failed", step=step, error=error.detail, is_temporary=True)
    return await _settle_failure(work, tools, "parked", error.reason, rounds=work.message.rounds + 1)


async def hold_or_retry(work: Work, tools: Tools, step: str, error: BaseException | None) -> str:
    """A bug in a step: tried again a few times, then held so that others are not kept waiting."""
    failures = work.message.failures + 1
    tools.log.error("message.failed", step=step, failures=failures, error=type(error).__name__, exc_info=error)
    reason = f"step {step} failed: {type(error).__name__}"
    if failures < tools.settings.worker.max_failures:
        return await _settle_failure(work, tools, "parked", reason, failures=failures)
    tools.log.error("message.held", reason=reason)
    return await _settle_failure(work, tools, "held", reason, failures=failures)


async def _settle_failure(
    work: Work,
    tools: Tools,
    to: Literal["parked", "held"],
    reason: str,
    *,
    failures: int | None = None,
    rounds: int | None = None,
) -> str:
    """Moves the message with all that is known of it: what SES answered before the step failed stays answered."""
    delay_seconds = tools.backoff.delay_seconds(work.message.failures + work.message.rounds + 1, tools.chance())
    if to == "held":
        work = work.learnt(work.message, held_messages=1)
    try:
        await write(work, tools, to=to, after_seconds=delay_seconds, reason=reason, failures=failures, rounds=rounds)
    except LeaseLost:
        return "lease lost"
    except TryLater as error:  # the lease ends by itself and the message is due again
        tools.log.warning("spool.unavailable", error=error.detail)
        return "lease left"
    return to
