"""One try of a sync function: written down, made, and what its answer or its failure means.

Theory of operation
1. The try is written into the verdict, then the run of the message-flow API is opened with the content as accepted:
   every try begins with the same bytes, whatever the one before has left.
2. After the answer the run is closed; what a Put during it left is frozen as a content of its own, and the parts of the
   verdict name it. The verdict that names it is written with the next settlement.
3. A crash after 1 or 2 leaves a try without an answer: the next holder asks again, with the same invocation id. A
   frozen content that no verdict names goes with the message.
4. A failed try is repeated as tries.py says; the message is parked until then and holds nothing of this process. An
   error of our own while the function is called or its answer is read counts as one, so that the rule's fallback
   decides in the end: the message is not to blame.
The lease is renewed meanwhile; a lost one is noticed by the next write, and the answer is forgotten with it.
"""

import dataclasses
import time
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeVar

from config.errors import TryLater
from spool.records import Message
from spool.states import AWAITS_FUNCTION
from spool.verdicts import FunctionCall, Verdict
from worker.functions.answer import Fates, read_answer
from worker.functions.event import event_of
from worker.functions.failures import InvocationFailed
from worker.rules.answers import answered, direction_of, fallback_of, fallen_back, function_of, with_call
from worker.rules.directions import local_domains
from worker.rules.facts import Facts
from worker.rules.records import Function, RuleSet
from worker.steps import tries
from worker.steps.off_loop import LARGE_ANSWER_BYTES, computed, is_large
from worker.tools import Tools
from worker.work import Delay, LeaseLost, StepFailed, Work, age_seconds, write

# Why a message is given back before a function was asked: the worker stops, or its task has run for long enough.
_STOPPING = Delay("due", "worker stopping")
_TOO_LARGE_TO_KEEP = Delay("due", AWAITS_FUNCTION)
# A try may take so much longer than the function itself: its process has to start, the answer has to be read.
_MARGIN_SECONDS = 5.0
# A larger content is read again by a holder that has room for it.
_KEPT_BYTES = 1024 * 1024

Answer = TypeVar("Answer")


async def ask(work: Work, call: FunctionCall, rule_set: RuleSet, tools: Tools) -> Work:
    """The work after one try, if it is time for one. Raises LeaseLost, StepFailed."""
    now_ms = tools.now_ms()
    is_overdue = not call.tries and age_seconds(work, tools) > tools.settings.relay.max_age_seconds
    if call.next_at_ms > now_ms and not is_overdue:
        return work
    function = function_of(call, rule_set)
    wait_seconds = tools.places.seconds_until_free(
        call.rule, function.concurrency, work.message.message_id, has_waited=bool(call.next_at_ms)
    )
    if wait_seconds and is_overdue:
        return given_up(work, call, tools)
    if wait_seconds:
        return _with(work, tries.invited(call, now_ms + int(wait_seconds * 1000)))
    async with tools.places.place(call.rule, function.concurrency):
        if tools.stopping.is_set() or time.monotonic() + function.timeout_seconds + _MARGIN_SECONDS > work.deadline:
            return work.delayed(_STOPPING)
        call = tries.begun(call, tools.now_ms())
        work = await write(_with(work, call), tools)
        tools.tally.count(f"function_tries:{call.rule}")
        try:
            return await _asked(work, call, function, tools)
        except LeaseLost:
            raise
        except Exception as error:  # the try is written: what follows must not write it again
            raise StepFailed(work) from error


async def _asked(work: Work, call: FunctionCall, function: Function, tools: Tools) -> Work:
    tools.failpoints.reached("judge.before_call")
    try:
        fates, content = await _tried(work, call, function, tools)
    except InvocationFailed as failed:
        return _failed(work, call, failed, tools)
    return await _answered(work, call, fates, content, tools)


async def _tried(work: Work, call: FunctionCall, function: Function, tools: Tools) -> tuple[Fates, bytes | None]:
    """What the function decided, and the content that it left; None = as it was. Raises InvocationFailed, TryLater."""
    message, invocation_id = work.message, call.invocation_id
    recipients = {index: message.recipients[index] for index in call.recipients}
    event = partial(
        event_of,
        Facts(message, work.content),
        message,
        list(recipients.values()),
        direction=direction_of(call, message, tools.settings),
        invocation_id=invocation_id,
    )
    payload = await computed(event, is_long=is_large(work))
    seconds = function.timeout_seconds + _MARGIN_SECONDS
    run = await tools.flow.begin(message, work.content, invocation_id=invocation_id, seconds=seconds, is_sync=True)
    try:
        invoked = tools.functions.invoke(function, rule=call.rule, payload=payload, invocation_id=invocation_id)
        answer = await _or_failed(invoked, call, tools)
    except InvocationFailed:
        with suppress(TryLater):  # its time ends by itself
            await tools.flow.end(message.message_id, run)
        raise
    content = await tools.flow.end(message.message_id, run)
    tools.failpoints.reached("judge.after_call")
    reading = partial(_read, answer, call, message, recipients, tools)
    reader = computed(reading, is_long=is_large(work) or len(answer) > LARGE_ANSWER_BYTES)
    fates = await _or_failed(reader, call, tools)
    largest = tools.settings.smtp.max_message_bytes
    if content is not None and len(content) > largest:
        raise InvocationFailed(f"the updated message has {len(content)} bytes; allowed: {largest}")
    return fates, content


async def _or_failed(answer: Awaitable[Answer], call: FunctionCall, tools: Tools) -> Answer:
    """Raises InvocationFailed, also for an error that nobody foresaw."""
    try:
        return await answer
    except InvocationFailed:
        raise
    except Exception as error:
        name = type(error).__name__
        tools.log.exception("function.error", rule=call.rule, tries=call.tries, error=name)
        raise InvocationFailed(f"the worker failed: {name}") from error


def _read(answer: bytes, call: FunctionCall, message: Message, recipients: Mapping[int, str], tools: Tools) -> Fates:
    local = local_domains(tools.settings)
    return read_answer(
        answer,
        direction=direction_of(call, message, tools.settings),
        recipients=recipients,
        others=[address for index, address in enumerate(message.recipients) if index not in recipients],
        fallback=fallback_of(call),
        is_local=lambda address: local.direction_of(address) == "INBOUND",
    )


async def _answered(work: Work, call: FunctionCall, fates: Fates, content: bytes | None, tools: Tools) -> Work:
    """Raises ContentUnavailable when the content cannot be kept: the function is asked again."""
    reference, message = "", work.message
    if content is not None:
        reference = await tools.spool.update_content(message.message_id, content)
        tools.failpoints.reached("judge.after_update")
    tools.log.info(
        "function.answered", rule=call.rule, tries=call.tries, updated_bytes=None if content is None else len(content)
    )
    verdict = answered(
        _verdict(work),
        call,
        fates,
        len(message.envelope),
        content_ref=reference,
        content_bytes=len(content or b""),
    )
    work = work.learnt(message.judged(verdict))
    if content is None:
        return work
    if len(content) > _KEPT_BYTES:
        return work.delayed(_TOO_LARGE_TO_KEEP)
    return dataclasses.replace(work, contents={**work.contents, reference: content})


def _failed(work: Work, call: FunctionCall, error: InvocationFailed, tools: Tools) -> Work:
    left_seconds = tools.settings.relay.max_age_seconds - age_seconds(work, tools)
    now_ms = tools.now_ms()
    tools.tally.count(f"function_failures:{call.rule}")
    call = tries.failed(call, error.reason, now_ms, now_ms + int(left_seconds * 1000), tools.chance())
    tools.log.warning("function.failed", rule=call.rule, tries=call.tries, error=error.detail or error.reason)
    if call.state == "waits":
        return _with(work, call)
    return given_up(work, call, tools)


def given_up(work: Work, call: FunctionCall, tools: Tools) -> Work:
    """The work when the fallback of a call decides."""
    tools.log.warning("function.given_up", rule=call.rule, tries=call.tries, error=call.error)
    tools.tally.count(f"function_fallbacks:{call.rule}")
    return work.learnt(work.message.judged(fallen_back(_verdict(work), call, len(work.message.envelope))))


def _with(work: Work, call: FunctionCall) -> Work:
    return work.learnt(work.message.judged(with_call(_verdict(work), call)))


def _verdict(work: Work) -> Verdict:
    assert work.message.verdict is not None, "it has a call"
    return work.message.verdict
