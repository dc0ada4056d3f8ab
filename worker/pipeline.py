"""The way of a message through a worker: six named steps and one short loop.

load: settle what an earlier holder left open, get the content. judge: what the rules and their functions say. relay:
send what waits, part by part and batch by batch, as fast as the routes allow. rest: ask the functions that let others
go first, and send what they decide. tell: bounce what was refused. finish: write the end, or where the message waits
for what. Each step is `(work, tools) -> Continue | Stop`.
"""

import math
import time
from collections.abc import Awaitable, Callable

import structlog

from config.errors import TryLater
from spool.records import Message
from spool.store import Claimed
from worker.relay.relay import relay
from worker.steps.finish import finish, give_back, hold_or_retry
from worker.steps.judge import judge
from worker.steps.load import load
from worker.steps.rest import ask_rest
from worker.steps.tell import tell
from worker.tools import Tools
from worker.work import Continue, LeaseLost, StepFailed, Stop, Work

Step = Callable[[Work, Tools], Awaitable[Continue | Stop]]

STEPS: tuple[tuple[str, Step], ...] = (
    ("load", load),
    ("judge", judge),
    ("relay", relay),
    ("rest", ask_rest),
    ("tell", tell),
    ("finish", finish),
)


async def process_message(claimed: Claimed, tools: Tools, deadline: float = math.inf) -> str:
    """Takes one claimed message through the steps; returns where it ended. Never raises but for cancellation.

    After `deadline` (monotonic) no further batch is begun.
    """
    message = claimed.message
    work = Work(message, claimed.lease, deadline=deadline)
    with structlog.contextvars.bound_contextvars(message_id=message.message_id):
        try:
            async with tools.content_room.places(_stored_bytes(message)):
                return await _through_steps(work, tools)
        finally:
            work.beside.leave(tools.left)
            tools.leases.drop(claimed.lease)


def _stored_bytes(message: Message) -> int:
    """What it holds of the content store: its content, and one at a time of those that functions made."""
    parts = message.verdict.parts if message.verdict else ()
    updated = max((part.content_bytes for part in parts if part.content_ref), default=0)
    return updated + (message.size_bytes if message.content_ref else 0)


async def _through_steps(work: Work, tools: Tools) -> str:
    step_name = why = ""
    try:
        for step_name, step in STEPS:
            started = time.perf_counter()
            verdict = await step(work, tools)
            tools.tally.observe(f"step:{step_name}", time.perf_counter() - started)
            match verdict:
                case Continue(work):
                    continue
                case Stop(why):
                    break
    except LeaseLost:
        tools.log.warning("message.lease_lost", step=step_name)
        return "lease lost"
    except StepFailed as failed:
        return await _failed(failed.work, tools, step_name, failed.__cause__)
    except Exception as error:  # noqa: BLE001 - the process edge of one message: others must not suffer
        return await _failed(work, tools, step_name, error)
    return why


async def _failed(work: Work, tools: Tools, step_name: str, error: BaseException | None) -> str:
    if isinstance(error, TryLater):
        return await give_back(work, tools, step_name, error)
    return await hold_or_retry(work, tools, step_name, error)
