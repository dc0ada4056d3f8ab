"""What rules and functions decided about a message, as lines of `mailsluice show`. Pure."""

from collections.abc import Iterator

from aws_api.admin.verdict_story import decision_of, envelope_address, is_waited_for, waiting_call, without_secrets
from aws_api.admin.wording import distance, escaped, instant, many
from spool.records import Message
from spool.states import Place
from spool.verdicts import FunctionCall, Part


def rules_head(message: Message, now_ms: int) -> Iterator[str]:
    """The version that judged it, and every function that is waited for."""
    if message.verdict is None:
        return
    yield f"  rules       version {escaped(message.verdict.version)}"
    for call in message.verdict.calls:
        if is_waited_for(message, call):
            yield f"  waits       {_waits(call, message, now_ms).removeprefix('waits ')}"


def decision_words(message: Message, index: int) -> str:
    """`DROP by rule spam: …`; "" for a recipient that no rule decided about."""
    decision, call = decision_of(message, index), waiting_call(message, index)
    if call:
        return f"rule {escaped(call.rule)} asks a function"
    if decision is None or not decision.rule:
        return ""
    because = f": {escaped(decision.because)}" if decision.because else ""
    return f"{decision.action} by rule {escaped(decision.rule)}{because}"


def origin_words(message: Message, index: int) -> str:
    """What the address was before a rule changed it."""
    was = envelope_address(message, index)
    if not was:
        return " (added)"
    return f" (in place of {escaped(was)})" if was != message.recipients[index] else ""


def rules_sections(message: Message, now_ms: int) -> Iterator[str]:
    """Rules that changed something, how the parts go, and the calls of functions."""
    verdict = message.verdict
    if verdict is None:
        return
    for title, lines in (
        ("Rules", [_applied(one.rule, one.actions, one.because, len(one.recipients)) for one in verdict.applied]),
        ("Parts", [_part(part) for part in verdict.parts]),
        ("Functions", [_call(call, message, now_ms) for call in verdict.calls]),
    ):
        if lines:
            yield from ("", title, *(f"  {line}" for line in lines))


def _applied(rule: str, actions: str, because: str, recipients: int) -> str:
    why = f" ({escaped(because)})" if because else ""
    return f"{escaped(rule)}: {escaped(without_secrets(actions))} for {many(recipients, 'recipient')}{why}"


def _part(part: Part) -> str:
    words = [
        *([f"lane {part.lane}"] if part.lane else []),
        *([f"route {part.route}"] if part.route else []),
        *([f"configuration set {part.configuration_set}"] if part.configuration_set else []),
        *([f"tags {', '.join(f'{name}={value}' for name, value in part.tags.items())}"] if part.tags else []),
        *([f"headers {', '.join(name for name, _ in part.headers)}"] if part.headers else []),
        *([f"archives {', '.join(part.archives)}"] if part.archives else []),
        "content updated by a function" if part.content_ref else "content as accepted",
    ]
    return f"{many(len(part.recipients), 'recipient')}, {part.direction}: {escaped(', '.join(words))}"


def _call(call: FunctionCall, message: Message, now_ms: int) -> str:
    about = f"rule {escaped(call.rule)}, {call.mode}, {many(len(call.recipients), 'recipient')}"
    tries = f"{call.tries} tries" if call.tries != 1 else "1 try"
    error = f", last error: {escaped(call.error)}" if call.error else ""
    match call.state:
        case "waits" if not is_waited_for(message, call):
            return f"{about}: {_name(call)} is not asked any more, after {tries}{error}"
        case "waits":
            return f"{about}: {_waits(call, message, now_ms)}"
        case "answered":
            return f"{about}: {_name(call)} answered after {tries}"
        case "failed":
            fallback = f"; fallback {call.fallback}" if call.mode == "sync" else ""
            return f"{about}: {_name(call)} given up after {tries}{error}{fallback}"


def _waits(call: FunctionCall, message: Message, now_ms: int) -> str:
    """`waits for function file:disclaimer.py:handler, try 3, next at …, last error: …`."""
    if call.next_at_ms > now_ms and message.place is not Place.LEASED:
        when = f"next at {instant(call.next_at_ms)} ({distance(call.next_at_ms, now_ms)})"
    else:
        when = "asked now" if message.place is Place.LEASED else "asked next"
    error = f", last error: {escaped(call.error)}" if call.error else ""
    return f"waits for function {_name(call)}, try {call.tries + 1}, {when}{error}"


def _name(call: FunctionCall) -> str:
    return escaped(without_secrets(call.function))
