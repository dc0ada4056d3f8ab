"""Second step: what the rules say about a message, and what their functions do.

Theory of operation
1. A message without a verdict is judged once by the rules of that moment (choice.py). Who is dropped or bounced has
   that state from then on. All of it is written with the next settlement, before anything is sent or told: a message
   that the rules leave alone costs no write. A crash before that write judges it anew.
2. Before a sync function is asked the try is written down (ask.py); its answer, or after its timeout the fallback,
   decides about its recipients. Until then nobody sends to them. The others of the message wait for no function: before
   its first try they are relayed (rest.py asks after that), and while it has to wait for its next try as well.
3. Async functions run beside the relay (beside.py), after a write of their own. They decide nothing.
4. After an operator let the message go on, its functions are asked before their time.
5. Nobody expires while a function has to decide: when the message is too old, the fallback decides. Where nobody was
   asked yet it does so only when the function has no place for it (ask.py).
Bounces are never judged: a rule that drops or bounces them would make failures invisible.
Invariant: what was sent, dropped or bounced was so by a verdict that the spool has.
"""

import dataclasses
from collections.abc import Callable

from sending_events.records import EventRecord
from sending_events.sets_of_parts import by_set
from spool.states import Happening, RecipientState
from spool.verdicts import Decision, Direction, FunctionCall, Verdict
from worker.relay.parts import waiting_parts
from worker.rules.answers import with_call
from worker.rules.choice import first_verdict
from worker.rules.directions import local_domains
from worker.rules.facts import Facts
from worker.rules.records import RuleSet
from worker.steps import tries
from worker.steps.aside import start_aside
from worker.steps.ask import ask, given_up
from worker.steps.off_loop import computed, is_large
from worker.tools import Tools
from worker.work import Continue, LeaseLost, StepFailed, Stop, Work, age_seconds

_WAITING = RecipientState.WAITING
# What follows may name addresses, which stay out of logs (worker/functions/answer.py).
_BEFORE_ADDRESSES = "; ignored:"


async def judge(work: Work, tools: Tools) -> Continue | Stop:
    """Judges what is new, asks functions that are due. Raises LeaseLost, StepFailed."""
    rule_set = tools.rules.current
    if _is_new(work, rule_set):
        new = work
        work = await computed(lambda: _judged(new, rule_set, tools), is_long=is_large(work))
    elif work.message.verdict is not None:
        for decision in work.message.verdict.decisions:  # nearly always all of it was done when it was decided
            work = _done(work, decision, tools)
    if not tries.waiting(work.message.verdict):
        return Continue(work)
    if work.message.is_ask_wanted:
        work = _each_call(work, lambda call: tries.hastened(call, tools.now_ms()))
    work = await start_aside(_overdue_decided(work, tools), rule_set, tools)
    if waiting_parts(work.message) and any(
        call.next_at_ms == 0 for call in tries.waiting(work.message.verdict, "sync")
    ):
        # Marked with their time, so that they are asked first when the relay has to wait for something.
        return Continue(_each_call(work, lambda call: tries.put_off(call, tools.now_ms())))
    return Continue(await ask_due(work, rule_set, tools))


async def ask_due(work: Work, rule_set: RuleSet, tools: Tools) -> Work:
    """The work after one try of each sync function that is due. Raises LeaseLost, StepFailed."""
    for call in tries.waiting(work.message.verdict, "sync"):
        try:
            before = work.message.verdict
            work = await ask(work, call, rule_set, tools)
            if before is not None and work.message.verdict is not None:
                work = decided(work, before, tools)
        except (LeaseLost, StepFailed):
            raise
        except Exception as error:
            raise StepFailed(work) from error
        if work.delay is not None:
            break
    return work


def _each_call(work: Work, change: Callable[[FunctionCall], FunctionCall]) -> Work:
    verdict = work.message.verdict
    assert verdict is not None
    for call in tries.waiting(verdict):
        verdict = with_call(verdict, change(call))
    return work.learnt(work.message.judged(verdict))


def decided(work: Work, before: Verdict | None, tools: Tools) -> Work:
    """The work with what the new decisions of its verdict mean: states, events, counts, and a line for each."""
    verdict = work.message.verdict
    assert verdict is not None
    more = len(verdict.added) - (len(before.added) if before else 0)
    if more:
        work = work.learnt(work.message, accepted_recipients=more)
    for one in verdict.applied[len(before.applied) if before else 0 :]:
        work = _told(work, Decision("DEFAULT", one.recipients, one.rule, one.because), one.actions, tools)
    for decision in verdict.decisions[len(before.decisions) if before else 0 :]:
        if decision.rule:
            work = _told(work, decision, decision.action, tools)
        work = _done(work, decision, tools)
    return work


def _is_new(work: Work, rule_set: RuleSet) -> bool:
    message = work.message
    return bool(rule_set.rules and message.verdict is None and message.door != "bounce" and _WAITING in message.states)


def _judged(work: Work, rule_set: RuleSet, tools: Tools) -> Work:
    message = work.message
    verdict = first_verdict(rule_set, Facts(message, work.content), message, tools.settings)
    return decided(work.learnt(message.judged(verdict)), None, tools)


def _overdue_decided(work: Work, tools: Tools) -> Work:
    """Who is too old waits for no function that was asked already."""
    if age_seconds(work, tools) <= tools.settings.relay.max_age_seconds:
        return work
    for call in tries.waiting(work.message.verdict, "sync"):
        before = work.message.verdict
        if call.tries and before is not None:
            work = decided(given_up(work, call, tools), before, tools)
    return work


def _told(work: Work, decision: Decision, action: str, tools: Tools) -> Work:
    """The event and the log line of a rule that was applied."""
    shown = decision.because.partition(_BEFORE_ADDRESSES)[0]
    recipients = len(decision.recipients)
    tools.log.info("rule.applied", rule=decision.rule, action=action, recipients=recipients, because=shown)
    return work.learnt(work.message, events=_rule_events(work, decision, action, tools))


def _rule_events(work: Work, decision: Decision, action: str, tools: Tools) -> tuple[bytes, ...]:
    message, local = work.message, local_domains(tools.settings)
    by_direction: dict[Direction, list[int]] = {}
    for index in decision.recipients:
        everybody = message.envelope if index < len(message.envelope) else message.recipients
        by_direction.setdefault(local.direction_of(everybody[index]), []).append(index)
    version = message.verdict.version if message.verdict else ""
    return tuple(
        EventRecord(
            "rule_applied",
            message.message_id,
            tools.now_ms(),
            recipients,
            reason=decision.because,
            rule=decision.rule,
            action=action,
            direction=direction,
            version=version,
            configuration_set=name,
        ).encode()
        for direction, indexes in by_direction.items()
        for name, recipients in by_set(message, indexes).items()
    )


def _done(work: Work, decision: Decision, tools: Tools) -> Work:
    """DROP and BOUNCE are states at once; the others are carried out by the relay."""
    message = work.message
    recipients = tuple(index for index in decision.recipients if message.states[index] is _WAITING)
    if decision.action not in {"DROP", "BOUNCE"} or not recipients:
        return work
    is_drop = decision.action == "DROP"
    told = EventRecord(
        "dropped" if is_drop else "bounced",
        message.message_id,
        tools.now_ms(),
        reason=decision.because if is_drop else decision.text or decision.because,
        rule=decision.rule,
        action=decision.action,
    )
    events = tuple(
        dataclasses.replace(told, recipients=indexes, configuration_set=name).encode()
        for name, indexes in by_set(message, recipients).items()
    )
    if is_drop:
        message = message.having(recipients, Happening.DROPPED)
        return work.learnt(message, events=events, dropped_recipients=len(recipients))
    return work.learnt(
        message.having(recipients, Happening.BOUNCED), events=events, rejected_recipients=len(recipients)
    )
