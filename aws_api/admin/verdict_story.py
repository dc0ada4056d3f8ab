"""What rules and functions decided about a message: their part of the object that story.py tells. Pure."""

import re
from typing import Any

from sending_events.records import iso
from spool.records import Message
from spool.states import Place
from spool.verdicts import Decision, FunctionCall, Part

_URL = re.compile(r"(https?://)([^\s/@]*@)?([^\s?]*)(\?\S*)?", re.IGNORECASE)


def verdict_fields(message: Message) -> dict[str, Any]:
    """The fields of the message; empty lists when it was not judged or there were no rules."""
    verdict = message.verdict
    if verdict is None:
        return {"rules_version": "", "rules": [], "parts": [], "function_calls": []}
    return {
        "rules_version": verdict.version,
        "rules": [
            *(_applied_rule(message, one.rule, one.actions, one.recipients, one.because) for one in verdict.applied),
            *(
                {**_applied_rule(message, one.rule, one.action, one.recipients, one.because), "text": one.text}
                for one in verdict.decisions
                if one.rule
            ),
        ],
        "parts": [_part(message, part) for part in verdict.parts],
        "function_calls": [_call(message, call) for call in verdict.calls],
    }


def recipient_fields(message: Message, index: int) -> dict[str, Any]:
    """The fields of one recipient."""
    decision = decision_of(message, index)
    call = waiting_call(message, index)
    return {
        "envelope_address": envelope_address(message, index),
        "is_added": index >= len(message.envelope),
        "action": decision.action if decision else "",
        "rule": decision.rule if decision else call.rule if call else "",
        "because": decision.because if decision else "",
        "waits_for_function": without_secrets(call.function) if call else "",
    }


def decision_of(message: Message, index: int) -> Decision | None:
    """What was decided about a recipient; None before that, and without rules."""
    return message.verdict.decision_of(index) if message.verdict else None


def waiting_call(message: Message, index: int) -> FunctionCall | None:
    """The function that has still to decide about a recipient; None when its end was decided otherwise."""
    if message.states[index].is_final:
        return None
    calls = message.verdict.calls if message.verdict else ()
    return next((one for one in calls if one.mode == "sync" and one.state == "waits" and index in one.recipients), None)


def is_waited_for(message: Message, call: FunctionCall) -> bool:
    """Whether it will be asked; no more, once a message was given up."""
    return call.state == "waits" and message.place is not Place.DONE


def envelope_address(message: Message, index: int) -> str:
    """The address that the client gave; "" for a recipient that a rule or a function added."""
    return message.envelope[index] if index < len(message.envelope) else ""


def without_secrets(text: str) -> str:
    """The text, a target for instance, without what may be a secret in its URLs: user, password and query."""
    return _URL.sub(lambda url: f"{url[1]}{'***@' if url[2] else ''}{url[3]}{'?…' if url[4] else ''}", text)


def _addresses(message: Message, indexes: tuple[int, ...]) -> list[str]:
    return [message.recipients[index] for index in indexes]


def _applied_rule(
    message: Message, rule: str, actions: str, recipients: tuple[int, ...], because: str
) -> dict[str, Any]:
    return {
        "rule": rule,
        "actions": without_secrets(actions),
        "recipients": _addresses(message, recipients),
        "because": because,
    }


def _part(message: Message, part: Part) -> dict[str, Any]:
    return {
        "recipients": _addresses(message, part.recipients),
        "direction": part.direction,
        "lane": part.lane,
        "route": part.route,
        "configuration_set": part.configuration_set,
        "tags": dict(part.tags),
        "headers": [name for name, _ in part.headers],
        "archives": list(part.archives),
        "is_updated": bool(part.content_ref),
    }


def _call(message: Message, call: FunctionCall) -> dict[str, Any]:
    return {
        "rule": call.rule,
        "function": without_secrets(call.function),
        "mode": call.mode,
        "invocation_id": call.invocation_id,
        "recipients": _addresses(message, call.recipients),
        "state": call.state,
        "tries": call.tries,
        "first_at": iso(call.first_at_ms) if call.first_at_ms else None,
        "next_at": iso(call.next_at_ms) if call.next_at_ms and is_waited_for(message, call) else None,
        "error": call.error,
        "timeout_minutes": call.timeout_minutes,
        "fallback": call.fallback,
    }
