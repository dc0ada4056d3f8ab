"""`mailsluice rules test`: the verdict on a message from a file, for people and for programs.

It is the same code that judges accepted messages, on a message that is in no spool. Functions are named and not called,
unless that is asked for; what they then do themselves is done. What is not printable is escaped, so that it is safe on
a terminal.
"""

import asyncio
import ipaddress
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from aws_api.admin.wording import escaped, many
from config.errors import Refused
from config.settings import Settings
from mailsluice.rules_checking import rules_file
from smtp_gateway.addresses import address_of
from smtp_gateway.replies import Reply
from spool.records import Message, new_message_id
from spool.states import Place, RecipientState
from spool.verdicts import FunctionCall, Part, Verdict
from worker.rules.choice import first_verdict
from worker.rules.directions import local_domains
from worker.rules.facts import Facts
from worker.rules.rule_file import Known, read_rules

if TYPE_CHECKING:
    from mailsluice.rules_asking import Answer


@dataclass(frozen=True, slots=True)
class Trial:
    """A message as it might be handed in."""

    file: Path
    sender: str
    recipients: tuple[str, ...]
    user: str = ""
    source_ip: str = ""


def run(settings: Settings, trial: Trial, rules: Path | None, *, is_invoking: bool, as_json: bool) -> int:
    """Prints the verdict. Returns the exit code."""
    rule_set = read_rules(rules_file(settings, rules), Known.of(settings))
    message, content = _message(trial)
    facts = Facts(message, content)
    verdict = first_verdict(rule_set, facts, message, settings)
    answers: dict[str, Answer] = {}
    if is_invoking:
        from mailsluice.rules_asking import Asker  # noqa: PLC0415 - only who asks functions needs their clients

        verdict, answers = asyncio.run(Asker(settings, rule_set, facts, message).ask_all(verdict))
    judged = message.judged(verdict)
    found = described(judged, verdict, answers, settings)
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(told(found)))
    return 0


def _message(trial: Trial) -> tuple[Message, bytes]:
    try:
        raw = trial.file.read_bytes()
    except OSError as error:
        raise Refused(f"{trial.file} cannot be read: {error.strerror}") from error
    content = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    recipients = tuple(dict.fromkeys(_address(address, "--to") for address in trial.recipients))
    return Message(
        message_id=new_message_id(),
        sender=_address(trial.sender, "--from") if trial.sender else "",
        recipients=recipients,
        states=(RecipientState.WAITING,) * len(recipients),
        place=Place.LEASED,
        accepted_at_ms=time.time_ns() // 1_000_000,
        size_bytes=len(content),
        door="smtp",
        header_message_id="",
        user=trial.user,
        client_address=_source_ip(trial.source_ip),
        helo="",
        is_auto_submitted=False,
        content_ref="",
        rounds=0,
        failures=0,
        crashes=0,
        reason="",
        until_ms=0,
    ), content


def _address(text: str, option: str) -> str:
    """The address as the SMTP gateway takes it. Raises Refused."""
    found = address_of(text, Reply.BAD_RECIPIENT)
    if isinstance(found, Reply):
        null = ", or <> for the null sender" if option == "--from" else ""
        raise Refused(
            f'{option} "{escaped(text)}" is no address; allowed: one address that the SMTP gateway takes, without a '
            f"name, for instance bob@example.com{null}"
        )
    return found


def _source_ip(text: str) -> str:
    """The address if there is one. Raises Refused."""
    try:
        return str(ipaddress.ip_address(text)) if text else ""
    except ValueError as error:
        raise Refused(
            f'--source-ip "{escaped(text)}" is no IP address; allowed: one such as 192.0.2.1 or 2001:db8::1'
        ) from error


# -- in words


def described(
    message: Message, verdict: Verdict, answers: Mapping[str, "Answer"], settings: Settings
) -> dict[str, Any]:
    """The object of `--json`."""
    local = local_domains(settings)
    return {
        "version": verdict.version,
        "recipients": [
            {"address": address, "direction": local.direction_of(one), **_fate(index, message, verdict)}
            for index, (address, one) in enumerate(zip(message.recipients, _judged_as(message), strict=True))
        ],
        "calls": [_described_call(call, message, answers) for call in verdict.calls],
    }


def _judged_as(message: Message) -> list[str]:
    """The addresses that the rules looked at: those of the envelope, and for an added one its own."""
    return [*message.envelope, *message.recipients[len(message.envelope) :]]


def _fate(index: int, message: Message, verdict: Verdict) -> dict[str, Any]:
    decision = verdict.decision_of(index)
    waits_for = next((one for one in verdict.calls if one.mode == "sync" and index in one.recipients), None)
    templates = waits_for.parts if waits_for and decision is None else verdict.parts
    part = next((one for one in templates if index in one.recipients), Part(()))
    is_original = index < len(message.envelope)
    return {
        "instead_of": message.envelope[index] if index in verdict.replaced and is_original else "",
        "is_added": not is_original,
        "action": decision.action if decision else "RUN_LAMBDA" if waits_for else "DEFAULT",
        "rule": decision.rule if decision else waits_for.rule if waits_for else "",
        "because": decision.because if decision else _why_asked(index, verdict, waits_for),
        "text": decision.text if decision else "",
        "lane": part.lane,
        "route": part.route,
        "configuration_set": part.configuration_set,
        "headers": [list(one) for one in part.headers],
        "tags": dict(part.tags),
        "archives": list(part.archives),
        "applied": [
            {"rule": one.rule, "actions": one.actions, "because": one.because}
            for one in verdict.applied
            if index in one.recipients
        ],
    }


def _why_asked(index: int, verdict: Verdict, call: FunctionCall | None) -> str:
    if call is None:
        return "no rule matches"
    return next((one.because for one in verdict.applied if one.rule == call.rule and index in one.recipients), "")


def _described_call(call: FunctionCall, message: Message, answers: Mapping[str, "Answer"]) -> dict[str, Any]:
    answer = answers.get(call.invocation_id)
    return {
        "rule": call.rule,
        "function": call.function,
        "mode": call.mode,
        "invocation_id": call.invocation_id,
        "recipients": [message.recipients[index] for index in call.recipients],
        "timeout_minutes": call.timeout_minutes,
        "fallback": call.fallback,
        "was_called": answer is not None,
        "answer": answer.said if answer else "",
        "error": answer.error if answer else "",
    }


def told(found: dict[str, Any]) -> Iterator[str]:
    """The same for people."""
    yield f"rules {found['version']}"
    for one in found["recipients"]:
        origin = f" instead of {escaped(one['instead_of'])}" if one["instead_of"] else ""
        yield f"{escaped(one['address'])}{origin}{' (added)' if one['is_added'] else ''}"
        yield f"  action   {one['action']}, {one['direction']}"
        yield f"  rule     {escaped(one['rule']) or 'none'}"
        yield f"  because  {escaped(one['because'])}"
        if one["text"]:
            yield f"  text     {escaped(one['text'])}"
        yield from _told_way(one)
        for change in one["applied"]:
            yield f"  applied  {escaped(change['rule'])}: {escaped(change['actions'])} ({escaped(change['because'])})"
    for call in found["calls"]:
        yield f"function {escaped(call['function'])}"
        yield f"  asked    {_told_asking(call)}"
        if call["answer"]:
            yield f"  answer   {escaped(call['answer'])}"
        if call["error"]:
            yield f"  failed   {escaped(call['error'])}"


def _told_way(one: dict[str, Any]) -> Iterator[str]:
    for name, key in (("lane", "lane"), ("route", "route"), ("set", "configuration_set")):
        if one[key]:
            yield f"  {name:8} {escaped(one[key])}"
    for name, value in one["headers"]:
        yield f"  header   {name}: {escaped(value)}"
    for name, value in one["tags"].items():
        yield f"  tag      {name}={value}"
    for archive in one["archives"]:
        yield f"  archive  {escaped(archive)}"


def _told_asking(call: dict[str, Any]) -> str:
    asked = "was asked" if call["was_called"] else "would be asked (--invoke asks it)"
    about = many(len(call["recipients"]), "recipient")
    rest = f"; fallback {call['fallback']}" if call["mode"] == "sync" else ""
    return f"{asked} by rule {escaped(call['rule'])}, {call['mode']}, about {about}{rest}"
