"""Reads an action of the rules file: one row of the table and one small function for each type.

Types that dispose (a rule has at most one) make a Disposal, the others a Change. A reader asks its table for all keys
of the type; what it returns after a mistake is never used.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from config.setting_kinds import BareAddress
from spool.ses_headers import MAX_TAGS, OWN_TAGS
from spool.verdicts import DecidedAction, Direction
from worker.functions.targets import HttpTarget, LambdaTarget, parse_target, written
from worker.relay.choice import plain_domain
from worker.rules.records import (
    AddHeader,
    AddTags,
    Archive,
    Change,
    Decide,
    Disposal,
    Function,
    ReplaceRecipient,
    RunLambda,
    StopRules,
    Tee,
    UseConfigurationSet,
    UseLane,
    UseRoute,
)
from worker.rules.toml_table import Table

MAX_BOUNCE_CHARACTERS = 2000
MAX_ADDRESSES = 50
MAX_TIMEOUT_MINUTES = 240
MAX_SYNC_SECONDS = 15
MAX_ASYNC_SECONDS = 900
_DEFAULT_ASYNC_SECONDS = 60
_MAX_ADDRESS_CHARACTERS = 320

_HEADER_NAME = re.compile(r"(?i)X-(?!SES-|Sluice-)[A-Za-z0-9-]{1,70}")
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]{0,898}[!-~])?")
_SET_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Mail Manager's ArchiveName.
_ARCHIVE_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?")
_TAG_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_TAG_VALUE = re.compile(r"[A-Za-z0-9_.@-]{1,255}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ADDRESS: TypeAdapter[str] = TypeAdapter(BareAddress)
_INBOUND_ONLY: frozenset[DecidedAction] = frozenset({"MOVE_TO_JUNK", "BYPASS_SPAM_CHECK"})
_DECIDING: tuple[DecidedAction, ...] = get_args(DecidedAction)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an action may refer to."""

    lanes: frozenset[str]
    routes: frozenset[str]
    #: Of the rules file: where relative paths begin.
    folder: Path
    #: Of the rule; empty = both.
    directions: tuple[Direction, ...]
    #: Whether the files of functions must be there.
    needs_files: bool = True


Reader = Callable[[Table, Surroundings], Disposal | Change]


def read_action(table: Table, around: Surroundings) -> Disposal | Change | None:
    """The action; None when its type is not known."""
    kind = table.one_of("type", tuple(READERS))
    if kind is None:
        return None
    action = READERS[kind](table, around)
    table.end()
    return action


# -- what disposes


def _decide(table: Table, around: Surroundings, *, action: DecidedAction) -> Decide:
    if action in _INBOUND_ONLY and around.directions == ("OUTBOUND",):
        table.mistake("type", f"{action} is for INBOUND mail; allowed for OUTBOUND: DROP, BOUNCE, DEFAULT, RUN_LAMBDA")
    text = table.text("message", longest=MAX_BOUNCE_CHARACTERS) if action == "BOUNCE" else ""
    return Decide(action, text)


def _run_lambda(table: Table, around: Surroundings) -> RunLambda:
    mode = table.one_of("mode", ("sync", "async"), default="sync")
    is_sync = mode == "sync"
    target, is_local = _target(table, around)
    longest, usual = (MAX_SYNC_SECONDS,) * 2 if is_sync else (MAX_ASYNC_SECONDS, _DEFAULT_ASYNC_SECONDS)
    return RunLambda(
        Function(
            target=target,
            mode="sync" if is_sync else "async",
            timeout_minutes=table.number("timeout_minutes", 0, MAX_TIMEOUT_MINUTES, 0) if is_sync else 0,
            fallback=_fallback(table, around) if is_sync else "DEFAULT",
            fallback_text=table.text("fallback_message", longest=MAX_BOUNCE_CHARACTERS) if is_sync else "",
            timeout_seconds=table.number("timeout_seconds", 0.1, longest, usual),
            environment=_environment(table) if is_local else {},
            python=table.text("python") if is_local else "",
            concurrency=table.whole_number("concurrency", 1, 64, 2),
            memory_megabytes=table.whole_number("memory_megabytes", 32, 10240, 512) if is_local else 512,
        )
    )


def _target(table: Table, around: Surroundings) -> tuple[str, bool]:
    """The target as it means the same everywhere, and whether it runs on this machine."""
    text = table.required("function")
    try:
        target = parse_target(text, around.folder, needs_file=around.needs_files) if text else None
    except ValueError as error:
        table.mistake("function", str(error))
        return text, True
    if target is None:
        return text, True
    return written(target), not isinstance(target, LambdaTarget | HttpTarget)


def _fallback(table: Table, around: Surroundings) -> DecidedAction:
    is_outbound = around.directions == ("OUTBOUND",)
    allowed = tuple(one for one in _DECIDING if not (is_outbound and one in _INBOUND_ONLY))
    return table.one_of("fallback", allowed, default="DEFAULT") or "DEFAULT"


def _environment(table: Table) -> dict[str, str]:
    variables = table.texts("environment")
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name) or "\0" in value:
            table.mistake("environment", f"{name!r} is no variable; allowed: letters, digits and _")
    return variables


# -- what changes


def _add_header(table: Table, _: Surroundings) -> AddHeader:
    name, value = table.required("name"), table.required("value")
    if name and not _HEADER_NAME.fullmatch(name):
        table.mistake("name", f'"{name}" cannot be added; allowed: X-*, but not X-SES-* and X-Sluice-*')
    if value and not _HEADER_VALUE.fullmatch(value):
        table.mistake("value", "cannot stand in a header; allowed: at most 900 printable ASCII characters")
    return AddHeader(name, value)


def _replace_recipient(table: Table, _: Surroundings) -> ReplaceRecipient:
    addresses = table.each("addresses", _address, most=MAX_ADDRESSES)
    if not addresses:
        table.mistake("addresses", "has none that can be used")
    return ReplaceRecipient(addresses)


def _archive(table: Table, _: Surroundings) -> Archive:
    return Archive(_named(table, "archive", _ARCHIVE_NAME, "1 to 64 letters, digits, _ and -"))


def _lane(table: Table, around: Surroundings) -> UseLane:
    return UseLane(table.one_of("lane", sorted(around.lanes)) or "")


def _route(table: Table, around: Surroundings) -> UseRoute:
    return UseRoute(table.one_of("route", sorted(around.routes)) or "")


def _configuration_set(table: Table, _: Surroundings) -> UseConfigurationSet:
    return UseConfigurationSet(_named(table, "name", _SET_NAME, "1 to 64 letters, digits, _ and -"))


def _tags(table: Table, _: Surroundings) -> AddTags:
    tags = table.texts("tags")
    if not 1 <= len(tags) <= MAX_TAGS - OWN_TAGS:
        table.mistake("tags", f"must be a table of 1 to {MAX_TAGS - OWN_TAGS} tags")
    for name, value in tags.items():
        if not (_TAG_NAME.fullmatch(name) and _TAG_VALUE.fullmatch(value)):
            table.mistake("tags", f"{name!r} is no tag of SES; allowed: letters, digits, _, -, in values . and @ too")
    return AddTags(tags)


def _tee(table: Table, _: Surroundings) -> Tee:
    addresses = table.each("address", _address, most=1)
    if not addresses:
        table.mistake("address", "has none that can be used")
    return Tee(addresses[0] if addresses else "")


def _named(table: Table, key: str, form: re.Pattern[str], wish: str) -> str:
    name = table.required(key)
    if name and not form.fullmatch(name):
        table.mistake(key, f'"{name}" is no such name; allowed: {wish}')
    return name


def _address(value: Any) -> str:
    """One address as SES takes it."""
    wish = "allowed: one address without a name, for instance bob@example.com"
    if not isinstance(value, str) or not value or len(value) > _MAX_ADDRESS_CHARACTERS:
        raise ValueError(wish)
    local, _, domain = value.rpartition("@")
    try:
        return _ADDRESS.validate_python(value if domain.isascii() else f"{local}@{plain_domain(domain)}")
    except ValidationError as error:
        raise ValueError(wish) from error


READERS: Mapping[str, Reader] = {
    "DROP": partial(_decide, action="DROP"),
    "BOUNCE": partial(_decide, action="BOUNCE"),
    "DEFAULT": partial(_decide, action="DEFAULT"),
    "MOVE_TO_JUNK": partial(_decide, action="MOVE_TO_JUNK"),
    "BYPASS_SPAM_CHECK": partial(_decide, action="BYPASS_SPAM_CHECK"),
    "RUN_LAMBDA": _run_lambda,
    "ADD_HEADER": _add_header,
    "REPLACE_RECIPIENT": _replace_recipient,
    "ARCHIVE": _archive,
    "LANE": _lane,
    "ROUTE": _route,
    "CONFIGURATION_SET": _configuration_set,
    "TAGS": _tags,
    "TEE": _tee,
    "STOP": lambda _table, _around: StopRules(),
}
