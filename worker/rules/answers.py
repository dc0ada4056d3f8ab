"""The verdict after a function has answered, or after its fallback stood in for it. Pure.

A call holds templates: how the recipients go about whom it decides, should they go. Whoever is delivered gets a part
made of its template, with the mark of the decision and the content that the function left; recipients whose mail goes
the same way share one part, so that they share batches.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping

from config.settings import Settings
from spool.records import Message
from spool.verdicts import DecidedAction, Decision, Direction, FunctionCall, Part, Verdict
from worker.functions.answer import Fates
from worker.rules.directions import local_domains
from worker.rules.records import Decide, Function, RuleSet, RunLambda
from worker.rules.ways import MARKS

_GETS_NO_MAIL: Collection[DecidedAction] = frozenset({"DROP", "BOUNCE"})


def function_of(call: FunctionCall, rule_set: RuleSet) -> Function:
    """What to call: as the rules of now say; when the rule is gone, as those said that judged, without environment."""
    for rule in rule_set.rules:
        function = rule.disposal.function if isinstance(rule.disposal, RunLambda) else None
        if rule.name == call.rule and function and function.mode == call.mode:
            return function
    return Function(
        call.function,
        call.mode,
        timeout_minutes=call.timeout_minutes,
        fallback=call.fallback,
        fallback_text=call.fallback_text,
    )


def direction_of(call: FunctionCall, message: Message, settings: Settings) -> Direction:
    """Which way the mail of its recipients goes; they all go the same, as the rules saw them."""
    if call.parts:
        return call.parts[0].direction
    index = call.recipients[0]
    everybody = message.envelope if index < len(message.envelope) else message.recipients
    return local_domains(settings).direction_of(everybody[index])


def fallback_of(call: FunctionCall) -> Decide:
    """What decides when the function does not."""
    return Decide(call.fallback, call.fallback_text)


def with_call(verdict: Verdict, call: FunctionCall) -> Verdict:
    """The verdict with another state of one of its calls."""
    calls = tuple(call if one.invocation_id == call.invocation_id else one for one in verdict.calls)
    return dataclasses.replace(verdict, calls=calls)


def fallen_back(verdict: Verdict, call: FunctionCall, envelope_recipients: int) -> Verdict:
    """Nobody answered in time: the fallback decides about all recipients of the call."""
    failed = f"the function failed, tries: {call.tries}"
    why = f"fallback: {failed if call.tries else 'the function had no place for it in time'}"
    fates = Fates(((fallback_of(call), call.recipients, f"{why} ({call.error})" if call.error else why),))
    return answered(verdict, dataclasses.replace(call, state="failed"), fates, envelope_recipients)


def answered(
    verdict: Verdict,
    call: FunctionCall,
    fates: Fates,
    envelope_recipients: int,
    *,
    content_ref: str = "",
    content_bytes: int = 0,
) -> Verdict:
    """The verdict with the decisions of the function; what it added comes after all recipients there are."""
    decisions = [
        Decision(decide.action, recipients, call.rule, because, decide.text)
        for decide, recipients, because in fates.decisions
        if recipients
    ]
    actions = {index: one.action for one in decisions for index in one.recipients}
    parts = _parts(call.parts, actions)
    added = [(address, decide) for address, decide in fates.added if decide.action not in _GETS_NO_MAIL]
    for index, (_, decide) in enumerate(added, envelope_recipients + len(verdict.added)):
        decisions.append(Decision(decide.action, (index,), call.rule, "added by the function"))
        template = call.parts[0] if call.parts else Part(())
        parts.append(_marked(template, (index,), decide.action))
    if content_ref:
        parts = [dataclasses.replace(part, content_ref=content_ref, content_bytes=content_bytes) for part in parts]
    ended = dataclasses.replace(call, state="failed" if call.state == "failed" else "answered", parts=())
    return dataclasses.replace(
        with_call(verdict, ended),
        decisions=(*verdict.decisions, *decisions),
        parts=merged((*verdict.parts, *parts)),
        added=(*verdict.added, *(address for address, _ in added)),
    )


def merged(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Parts that differ in nothing but their recipients become one."""
    found: list[Part] = []
    for part in parts:
        for place, other in enumerate(found):
            if dataclasses.replace(other, recipients=part.recipients) == part:
                found[place] = dataclasses.replace(
                    other, recipients=tuple(sorted({*other.recipients, *part.recipients}))
                )
                break
        else:
            found.append(part)
    return tuple(found)


def _parts(templates: Iterable[Part], actions: Mapping[int, DecidedAction]) -> list[Part]:
    found = []
    for template in templates:
        by_action: dict[DecidedAction, list[int]] = {}
        for index in template.recipients:
            if index in actions and actions[index] not in _GETS_NO_MAIL:
                by_action.setdefault(actions[index], []).append(index)
        found += [_marked(template, tuple(indexes), action) for action, indexes in by_action.items()]
    return found


def _marked(template: Part, recipients: tuple[int, ...], action: DecidedAction) -> Part:
    return dataclasses.replace(template, recipients=recipients, headers=template.headers + MARKS[action])
