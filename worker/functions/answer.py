"""What a function answered, read as WorkMail documents it. Pure; raises nothing but InvocationFailed.

Theory of operation
1. An answer that cannot be read as a whole is a failed invocation: no JSON, no actions, wrong types, an unknown type of
   action or one that the direction does not have, more recipients than are allowed. It is tried again, then comes
   the fallback.
2. Recipients named by an action are decided by it. `allRecipients` decides about those whom no action names, wherever
   it stands. Named twice means the more restrictive action. Whoever is left gets the fallback.
3. Ten actions count. Who is named by later ones only gets the fallback; a repeated action is none.
4. A named address that is no recipient is a new one. DROP and BOUNCE of somebody who was never to get the mail mean
   nothing. Inbound only local addresses are added. What is not done is told in `because`. Outbound a message has at
   most 500 recipients with the added ones; whatever the direction, no more than 500 may be named for it. These are
   counted before any of them is looked at, for that takes 20 µs each.
5. Addresses are compared without regard to case. Functions write booleans as text, `null` for what they leave out
   and empty lists: that is understood, nothing else is guessed.
Invariant: every recipient has exactly one decision.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

import orjson
from pydantic import TypeAdapter, ValidationError

from config.setting_kinds import BareAddress
from spool.verdicts import DecidedAction, Direction
from worker.functions.failures import InvocationFailed
from worker.functions.raw_answer import MAX_ANSWER_BYTES, error_of, one_line, too_large
from worker.relay.choice import plain_domain
from worker.rules.records import Decide

MAX_ACTIONS = 10
#: With added ones; a message that had more from the beginning may keep them.
MAX_OUTBOUND_RECIPIENTS = 500
MAX_NEW_RECIPIENTS = 500
MAX_BOUNCE_CHARACTERS = 2000
MAX_ADDRESS_CHARACTERS = 320
MAX_LOCAL_PART_CHARACTERS = 64

_RESTRICTIVE_FIRST: Final[tuple[DecidedAction, ...]] = (
    "DROP",
    "BOUNCE",
    "MOVE_TO_JUNK",
    "DEFAULT",
    "BYPASS_SPAM_CHECK",
)
_ACTIONS: dict[Direction, frozenset[str]] = {
    "INBOUND": frozenset(get_args(DecidedAction)),
    "OUTBOUND": frozenset({"DROP", "BOUNCE", "DEFAULT"}),
}
_BOOLEANS = {"true": True, "false": False}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
#: What is decided so about a stranger adds nobody.
_NOTHING_NEW = frozenset(("DROP", "BOUNCE"))
_MAX_SHOWN = 5
_LEFT_OUT = "the function does not name it: fallback"
_BEYOND = f"named only after the first {MAX_ACTIONS} actions: fallback"
_ADDRESS: TypeAdapter[str] = TypeAdapter(BareAddress)


@dataclass(frozen=True, slots=True)
class Fates:
    """What becomes of the recipients of a call."""

    #: Decision, indexes of its recipients, why.
    decisions: tuple[tuple[Decide, tuple[int, ...], str], ...]
    #: New recipients, in the order in which they were named.
    added: tuple[tuple[str, Decide], ...] = ()


@dataclass(frozen=True, slots=True)
class _Action:
    """One entry of `actions`, understood."""

    decide: Decide
    #: Each as it is compared, and as it is written.
    recipients: tuple[tuple[str, str], ...]
    is_for_all: bool


def read_answer(
    payload: bytes,
    *,
    direction: Direction,
    recipients: Mapping[int, str],
    others: Collection[str],
    fallback: Decide,
    is_local: Callable[[str], bool],
) -> Fates:
    """The fate of `recipients` (index → address), about whom the function was asked.

    `others` are the message's recipients about whom it was not: it cannot decide about them. `is_local` says whether an
    address is of the house. Raises InvocationFailed for an answer that is not valid.
    """
    entries = _entries(payload)
    actions = list(dict.fromkeys(_action(entry, f"actions[{at}]", direction) for at, entry in enumerate(entries)))
    counting, beyond = actions[:MAX_ACTIONS], actions[MAX_ACTIONS:]
    named = _named(counting)
    too_late = {key for action in beyond for key, _ in action.recipients} - named.keys()
    for_all = min((one.decide for one in counting if one.is_for_all), key=_rank, default=None)
    decisions = _decisions(recipients, named, too_late, for_all, fallback)
    known = {_key(address) for address in (*recipients.values(), *others)}
    added, ignored = _new_recipients(actions, named, known, direction, is_local)
    total = len(recipients) + len(others) + len(added)
    if added and direction == "OUTBOUND" and total > MAX_OUTBOUND_RECIPIENTS:
        raise InvocationFailed(f"with the added ones {total} recipients; allowed: {MAX_OUTBOUND_RECIPIENTS}")
    return Fates(_noted(decisions, ignored), tuple(added))


# -- what is written


def _entries(payload: bytes) -> Sequence[Any]:
    if len(payload) > MAX_ANSWER_BYTES:
        raise too_large()
    try:
        answer = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise InvocationFailed("the answer is not JSON", detail=f"the answer is not JSON: {error}") from error
    if not isinstance(answer, dict):
        raise InvocationFailed(f'the answer is {_kind(answer)}, not an object with "actions"')
    entries = answer.get("actions")
    if entries is None and "errorMessage" in answer:  # the runtime interface emulator says so and nothing more
        raise InvocationFailed(error_of(answer))
    if not isinstance(entries, list):
        raise InvocationFailed(f'"actions" of the answer is {_kind(entries)}, not a list')
    if not entries:
        raise InvocationFailed('"actions" of the answer is empty')
    return entries


def _action(entry: Any, place: str, direction: Direction) -> _Action:
    if not isinstance(entry, dict):
        raise InvocationFailed(f"{place} is {_kind(entry)}, not an object")
    recipients, is_for_all = entry.get("recipients"), _boolean(entry.get("allRecipients"), f"{place}.allRecipients")
    if recipients is None and not is_for_all:
        raise InvocationFailed(f"{place} has neither recipients nor allRecipients")
    recipients = [] if recipients is None else recipients
    if not isinstance(recipients, list) or not all(isinstance(one, str) for one in recipients):
        raise InvocationFailed(f"{place}.recipients is no list of addresses")
    decide = _decide(entry.get("action"), f"{place}.action", direction)
    return _Action(decide, tuple((_key(one.strip()), one.strip()) for one in recipients), is_for_all)


def _decide(action: Any, place: str, direction: Direction) -> Decide:
    kind = action.get("type") if isinstance(action, dict) else None
    if not isinstance(kind, str):
        raise InvocationFailed(f"{place} has no type")
    found = next((one for one in _RESTRICTIVE_FIRST if one == kind), None)
    if found is None or found not in _ACTIONS[direction]:
        allowed = ", ".join(one for one in _RESTRICTIVE_FIRST if one in _ACTIONS[direction])
        raise InvocationFailed(f"{place}.type is {one_line(kind, 40)}; allowed for {direction}: {allowed}")
    return Decide(found, _bounce_text(action.get("parameters"), place) if found == "BOUNCE" else "")


def _bounce_text(parameters: Any, place: str) -> str:
    """The bounceMessage: bounded; its only control characters are tabs and line feeds."""
    text = parameters.get("bounceMessage") if isinstance(parameters, dict) else parameters
    if text is None:
        return ""
    if not isinstance(text, str):
        raise InvocationFailed(f"{place}.parameters.bounceMessage is no text")
    lines = text[: 2 * MAX_BOUNCE_CHARACTERS].replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub(" ", lines)[:MAX_BOUNCE_CHARACTERS].strip()


def _boolean(value: Any, place: str) -> bool:
    if isinstance(value, bool) or value is None:
        return bool(value)
    found = _BOOLEANS.get(value.strip().lower()) if isinstance(value, str) else None
    if found is None:
        raise InvocationFailed(f"{place} is neither true nor false")
    return found


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


# -- what it means


def _named(actions: Sequence[_Action]) -> dict[str, Decide]:
    """Compared address → what is decided about it."""
    wishes: dict[str, list[Decide]] = {}
    for action in actions:
        for key, _ in action.recipients:
            wishes.setdefault(key, []).append(action.decide)
    return {key: min(decides, key=_rank) for key, decides in wishes.items()}


def _rank(decide: Decide) -> int:
    return _RESTRICTIVE_FIRST.index(decide.action)


def _decisions(
    recipients: Mapping[int, str],
    named: Mapping[str, Decide],
    too_late: Collection[str],
    for_all: Decide | None,
    fallback: Decide,
) -> dict[tuple[Decide, str], list[int]]:
    """(Decision, why) → indexes."""
    found: dict[tuple[Decide, str], list[int]] = {}
    for index, address in recipients.items():
        key = _key(address)
        if key in too_late:
            why = (fallback, _BEYOND)
        elif decide := named.get(key) or for_all:
            why = (decide, f"the function said {decide.action}")
        else:
            why = (fallback, _LEFT_OUT)
        found.setdefault(why, []).append(index)
    return found


def _new_recipients(
    actions: Sequence[_Action],
    named: Mapping[str, Decide],
    known: Collection[str],
    direction: Direction,
    is_local: Callable[[str], bool],
) -> tuple[list[tuple[str, Decide]], list[tuple[str, str]]]:
    """Those that are added, and those that are not, with why. Raises InvocationFailed for too many."""
    new: dict[str, str] = {}
    for key, written in (one for action in actions for one in action.recipients):
        if key not in known:
            new.setdefault(key, written)
    wanted = sum(key in named and named[key].action not in _NOTHING_NEW for key in new)
    if wanted > MAX_NEW_RECIPIENTS:
        raise InvocationFailed(f"{wanted} new recipients; allowed: {MAX_NEW_RECIPIENTS}")
    added: list[tuple[str, Decide]] = []
    ignored: list[tuple[str, str]] = []
    for key, written in new.items():
        decide = named.get(key)
        if decide is None:
            ignored.append((written, f"named only after the first {MAX_ACTIONS} actions"))
        elif decide.action in _NOTHING_NEW:
            ignored.append((written, "is no recipient"))
        elif not (address := _mailable(written, key)):
            ignored.append((written, "is no address"))
        elif direction == "INBOUND" and not is_local(address):
            ignored.append((written, "is not local"))
        else:
            added.append((address, decide))
    return added, ignored


def _noted(
    decisions: Mapping[tuple[Decide, str], Sequence[int]], ignored: Sequence[tuple[str, str]]
) -> tuple[tuple[Decide, tuple[int, ...], str], ...]:
    """The decisions; the first of them tells what was ignored."""
    shown = [f"{one_line(written, 100)} ({why})" for written, why in ignored[:_MAX_SHOWN]]
    if len(ignored) > _MAX_SHOWN:
        shown.append(f"{len(ignored) - _MAX_SHOWN} more")
    note = f"; ignored: {', '.join(shown)}" if shown else ""
    return tuple(
        (decide, tuple(indexes), because if number else because + note)
        for number, ((decide, because), indexes) in enumerate(decisions.items())
    )


def _mailable(address: str, key: str) -> str:
    """The address as SES takes it; "" for what is none. `key` is what _key made of it."""
    local_part, _, domain = address.rpartition("@")
    if len(address) > MAX_ADDRESS_CHARACTERS or len(local_part) > MAX_LOCAL_PART_CHARACTERS:
        return ""
    try:
        return _ADDRESS.validate_python(address if domain.isascii() else f"{local_part}@{key.rpartition('@')[2]}")
    except ValidationError:
        return ""


def _key(address: str) -> str:
    """What two spellings of an address have in common."""
    local_part, _, domain = address.rpartition("@")
    is_plain = domain.isascii() or len(address) > MAX_ADDRESS_CHARACTERS
    return address.lower() if is_plain else f"{local_part.lower()}@{plain_domain(domain)}"
