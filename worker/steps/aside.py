"""Async functions of a message: started beside its relay, their ends written with it (beside.py has the theory)."""

from collections.abc import Mapping
from functools import partial

from config.errors import TryLater
from spool.verdicts import FunctionCall
from worker.functions.event import event_of
from worker.functions.failures import InvocationFailed
from worker.rules.answers import direction_of, function_of, with_call
from worker.rules.facts import Facts
from worker.rules.records import Function, RuleSet
from worker.steps import tries
from worker.steps.beside import Ending
from worker.steps.off_loop import computed, is_large
from worker.tools import Tools
from worker.work import LeaseLost, StepFailed, Work, write

# Whoever still waits is moved without waiting for functions any longer.
_MOMENT_SECONDS = 1.0
_LOOK_SECONDS = 1.0
# After the function's own time limit a call whose end nobody knows counts as failed.
_LATE_SECONDS = 60.0
_AFTER_STOP_SECONDS = 1.0


async def start_aside(work: Work, rule_set: RuleSet, tools: Tools) -> Work:
    """The work with the async calls that are due begun, and those noted that ended without the message.

    Raises LeaseLost, StepFailed.
    """
    begun: list[FunctionCall] = []
    for call in tries.waiting(work.message.verdict, "async"):
        known = tools.left.how_it_ended(call.invocation_id)
        if known is not None:
            work = _ended(work, call, known, tools)
        elif tools.left.is_running(call.invocation_id):
            work = _with(work, tries.invited(call, tools.now_ms() + int(_LATE_SECONDS * 1000)))
        elif call.next_at_ms <= tools.now_ms():
            work = _begun(work, call, begun, rule_set, tools)
    if not begun:
        return work
    try:
        work = await write(work, tools)
    except LeaseLost:
        raise
    except Exception as error:  # whether it is written nobody knows: what follows must know of it
        raise StepFailed(work) from error
    for call in begun:
        work.beside.start(call.invocation_id, _called(work, call, function_of(call, rule_set), tools))
    return work


async def join_aside(work: Work, tools: Tools, *, is_done: bool) -> Work:
    """Waits for the calls that run: to their end when the message needs nothing else, else for a moment."""
    if not work.beside:
        return work
    work = _noted(work, await work.beside.ended(at_most_seconds=_MOMENT_SECONDS), tools)
    while work.beside and is_done and not tools.stopping.is_set():
        work = _noted(work, await work.beside.ended(at_most_seconds=_LOOK_SECONDS), tools)
    return _left(work, tools)


def _left(work: Work, tools: Tools) -> Work:
    """The message goes on without those that still run; when their worker stops they end with it."""
    for call in tries.waiting(work.message.verdict, "async"):
        if call.invocation_id in work.beside:
            if tools.stopping.is_set():
                later = tries.invited(call, tools.now_ms() + int(_AFTER_STOP_SECONDS * 1000))
            else:
                later = tries.left_running(call, tools.now_ms() + int(_limit_seconds(call, tools) * 1000))
            work = _with(work, later)
    work.beside.leave(tools.left)
    return work


def _limit_seconds(call: FunctionCall, tools: Tools) -> float:
    return function_of(call, tools.rules.current).timeout_seconds + _LATE_SECONDS


def _noted(work: Work, ended: Mapping[str, Ending], tools: Tools) -> Work:
    for call in tries.waiting(work.message.verdict, "async"):
        if call.invocation_id in ended:
            work = _ended(work, call, ended[call.invocation_id], tools)
    return work


def _begun(work: Work, call: FunctionCall, begun: list[FunctionCall], rule_set: RuleSet, tools: Tools) -> Work:
    now_ms = tools.now_ms()
    if tries.is_used_up(call):
        return _ended(work, call, Ending(call.error), tools)
    function, has_waited = function_of(call, rule_set), bool(call.next_at_ms)
    wait_seconds = tools.places.seconds_until_free(
        call.rule, function.concurrency, work.message.message_id, has_waited=has_waited
    )
    if wait_seconds:
        return _with(work, tries.invited(call, now_ms + int(wait_seconds * 1000)))
    begun.append(tries.begun(call, now_ms))
    return _with(work, begun[-1])


async def _called(work: Work, call: FunctionCall, function: Function, tools: Tools) -> Ending:
    """Asks the function. Keeps no content while that takes its time: the message may be long gone then."""
    try:
        async with tools.places.place(call.rule, function.concurrency):
            payload = await _prepared(work, call, function, tools)
            del work
            tools.tally.count(f"function_tries:{call.rule}")
            await tools.functions.invoke(function, rule=call.rule, payload=payload, invocation_id=call.invocation_id)
    except TryLater as error:
        return Ending(error.reason or type(error).__name__, is_try=isinstance(error, InvocationFailed))
    except Exception as error:  # ours, not the message's: a failed try like any other
        name = type(error).__name__
        tools.log.exception("function.error", rule=call.rule, tries=call.tries, error=name)
        return Ending(f"the worker failed: {name}")
    return Ending()


async def _prepared(work: Work, call: FunctionCall, function: Function, tools: Tools) -> bytes:
    """What the function is told, once the message-flow API has the content for it. Raises TryLater."""
    message, invocation_id = work.message, call.invocation_id
    recipients = [message.recipients[index] for index in call.recipients]
    direction = direction_of(call, message, tools.settings)
    facts = Facts(message, work.content)
    event = partial(event_of, facts, message, recipients, direction=direction, invocation_id=invocation_id)
    payload = await computed(event, is_long=is_large(work))
    seconds = function.timeout_seconds
    await tools.flow.begin(message, work.content, invocation_id=invocation_id, seconds=seconds, is_sync=False)
    return payload


def _ended(work: Work, call: FunctionCall, ending: Ending, tools: Tools) -> Work:
    error = ending.error
    if not ending.is_try:
        tools.log.warning("function.failed", rule=call.rule, tries=call.tries, error=error)
        return _with(work, tries.not_made(call, tools.now_ms(), tools.chance()))
    if not error:
        tools.log.info("function.answered", rule=call.rule, tries=call.tries, updated_bytes=None)
        return _with(work, tries.made(call))
    tools.tally.count(f"function_failures:{call.rule}")
    call = tries.failed_async(call, error, tools.now_ms(), tools.chance())
    tools.log.warning("function.failed", rule=call.rule, tries=call.tries, error=error)
    if call.state == "failed":
        tools.log.warning("function.given_up", rule=call.rule, tries=call.tries, error=error)
    return _with(work, call)


def _with(work: Work, call: FunctionCall) -> Work:
    assert work.message.verdict is not None, "it has a call"
    return work.learnt(work.message.judged(with_call(work.message.verdict, call)))
