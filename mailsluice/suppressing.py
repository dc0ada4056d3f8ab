"""The work of `mailsluice suppression`: each function returns the exit code."""

import csv
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TextIO

import orjson
import typer
from redis import asyncio as aioredis

from aws_api.admin.wording import escaped, instant
from config.errors import Refused
from config.settings import Settings
from mailsluice.looking import act, look
from spool.store import Spool
from spool.suppression import REASONS, SOURCES, Entry, NewEntry, Reason, Suppression, address_key, is_address

EXIT_NOT_THERE = 1
_PAGE = 1000
_SHOWN_MISTAKES = 20
_STANDARD = "-"
# Less is none: the list counts milliseconds, and 0 means for ever.
_LEAST_KEPT_SECONDS = 0.001
_COMES_BACK = (
    "{address} came from the account's own list and comes back with the next look at it: remove it there, or set"
    " [suppression] sync = both"
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which entries are listed; None = all."""

    reason: Reason | None = None
    newer_than_seconds: float | None = None
    older_than_seconds: float | None = None


def list_entries(settings: Settings, chosen: Chosen, limit: int, *, as_json: bool) -> int:
    """Prints entries, the oldest first."""

    async def do(spool: Spool, _: aioredis.Redis) -> int:
        shown = 0
        suppression = Suppression(spool.redis)
        async for entry in _entries(suppression, chosen):
            if shown == limit:
                typer.echo(f"There are more than {limit:,}: --limit shows them.", err=True)
                return 0
            shown += 1
            typer.echo(orjson.dumps(asdict(entry)).decode() if as_json else _line(entry))
        if not shown and not as_json:
            typer.echo("No address is suppressed." if chosen == Chosen() else "No suppressed address is like that.")
        return 0

    return look(settings, do)


def show_entry(settings: Settings, address: str, *, as_json: bool) -> int:
    """Prints what is known of one address. Raises Refused."""
    _check([address])

    async def do(spool: Spool, _: aioredis.Redis) -> int:
        entry = await Suppression(spool.redis).get(address)
        if as_json:
            typer.echo(orjson.dumps(asdict(entry) if entry else None).decode())
        elif entry is None:
            typer.echo(f"{escaped(address)} is not on the suppression list.", err=True)
        else:
            typer.echo("\n".join(_words(entry)))
        return EXIT_NOT_THERE if entry is None else 0

    return look(settings, do)


def add_entries(settings: Settings, addresses: Sequence[str], reason: Reason, for_seconds: float | None) -> int:
    """Enters addresses. Raises Refused."""
    _check(addresses, is_address)
    return _put(settings, [NewEntry(one, reason, "operator", keep_seconds=for_seconds or 0) for one in addresses])


def remove_entries(settings: Settings, addresses: Sequence[str]) -> int:
    """Takes addresses off. Raises Refused."""
    _check(addresses)

    async def do(spool: Spool, _: aioredis.Redis) -> int:
        suppression = Suppression(spool.redis)
        known = await suppression.among(addresses)
        removed = await suppression.remove(addresses)
        for address, was_there in zip(addresses, removed, strict=True):
            if not was_there:
                typer.echo(f"{escaped(address)} was not on the suppression list.", err=True)
                continue
            typer.echo(f"{escaped(address)} is mailed again.")
            entry = known.get(address)
            if settings.suppression.sync == "pull" and entry is not None and entry.source == "ses":
                typer.echo(_COMES_BACK.format(address=escaped(address)), err=True)
        return 0 if any(removed) else EXIT_NOT_THERE

    return act(settings, do)


def import_entries(settings: Settings, file: str, reason: Reason, for_seconds: float | None) -> int:
    """Enters the addresses of a file. Raises Refused for a file that cannot be read, with every wrong line."""
    try:
        with _opened(file, "r") as source:
            entries = read_csv(source, reason, for_seconds or 0)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Refused(f"{file}: cannot be read: {error}") from error
    return _put(settings, entries)


def export_entries(settings: Settings, file: str, *, is_for_ses: bool) -> int:
    """Writes the whole list. Raises Refused."""

    def exported(to: TextIO) -> int:
        async def do(spool: Spool, _: aioredis.Redis) -> int:
            written = await _write_csv(to, Suppression(spool.redis), is_for_ses=is_for_ses)
            typer.echo(f"{written:,} exported.", err=True)
            return 0

        return look(settings, do)

    try:
        with _opened(file, "w") as to:
            return exported(to)
    except OSError as error:
        raise Refused(f"{file}: cannot be written: {error}") from error


@contextmanager
def _opened(file: str, mode: Literal["r", "w"]) -> Iterator[TextIO]:
    if file == _STANDARD:
        yield sys.stdin if mode == "r" else sys.stdout
        return
    encoding = "utf-8-sig" if mode == "r" else "utf-8"  # tables' programs write a mark at the beginning
    with Path(file).open(mode, encoding=encoding, newline="") as opened:
        yield opened


async def _write_csv(to: TextIO, suppression: Suppression, *, is_for_ses: bool) -> int:
    rows, written = csv.writer(to, lineterminator="\n"), 0
    async for entry in _entries(suppression, Chosen()):
        at = datetime.fromtimestamp(entry.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
        until = datetime.fromtimestamp(entry.ends_at_ms / 1000, UTC).isoformat() if entry.ends_at_ms else ""
        row = [entry.address, entry.reason, at, until, entry.source]
        rows.writerow(row[:2] if is_for_ses else row)
        written += 1
    return written


def read_csv(lines: Iterable[str], reason: Reason, keep_seconds: float) -> list[NewEntry]:
    """The entries of a CSV text. Raises Refused with what is wrong, and in which lines."""
    entries: list[NewEntry] = []
    mistakes: list[str] = []
    for number, row in enumerate(csv.reader(lines), 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#"):
            continue
        found = _read_row(cells, reason, keep_seconds)
        if isinstance(found, str):
            mistakes.append(f"line {number}: {found}")
        elif found:
            entries.append(found)
    if mistakes:
        more = f"\nand {len(mistakes) - _SHOWN_MISTAKES:,} more" if len(mistakes) > _SHOWN_MISTAKES else ""
        raise Refused("nothing was entered:\n" + "\n".join(mistakes[:_SHOWN_MISTAKES]) + more)
    return entries


def _read_row(cells: list[str], reason: Reason, keep_seconds: float) -> NewEntry | str | None:
    """The entry of a line, or what is wrong with it; None when its time is over."""
    if not is_address(cells[0]):
        return f"not an address: {escaped(cells[0][:100])}"
    address, told, at, until, source = (*cells, "", "", "", "")[:5]
    known = next((one for one in REASONS if one == (told.upper() or reason)), None)
    if known is None:
        return f"the reason must be {' or '.join(REASONS)}"
    known_source = next((one for one in SOURCES if one == (source.lower() or "operator")), None)
    if known_source is None:
        return f"the source must be {', '.join(SOURCES[:-1])} or {SOURCES[-1]}"
    try:
        at_ms = int(_epoch_seconds(at) * 1000) if at else 0
        keep_seconds = _epoch_seconds(until) - time.time() if until else keep_seconds
    except ValueError:
        return "an instant must be as 2026-01-31T12:00:00Z"
    if until and keep_seconds < _LEAST_KEPT_SECONDS:
        return None
    return NewEntry(address, known, known_source, max(0, at_ms), keep_seconds=keep_seconds)


def _epoch_seconds(instant_: str) -> float:
    at = datetime.fromisoformat(instant_)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _put(settings: Settings, entries: Sequence[NewEntry]) -> int:
    async def do(spool: Spool, _: aioredis.Redis) -> int:
        new = await Suppression(spool.redis).put(entries)
        known = len({address_key(one.address) for one in entries}) - new
        typer.echo(f"{new:,} entered" + (f", {known:,} replaced" if known else "") + ".")
        if settings.suppression.mode == "off":
            typer.echo("[suppression] mode is off: these addresses are mailed all the same.", err=True)
        return 0

    return act(settings, do)


def _check(addresses: Sequence[str], is_right: Callable[[str], object] = address_key) -> None:
    if wrong := [one for one in addresses if not is_right(one)]:
        raise Refused(f"not an address: {', '.join(escaped(one) for one in wrong)}")


async def _entries(suppression: Suppression, chosen: Chosen) -> AsyncIterator[Entry]:
    now_ms = await suppression.now_ms()
    newer, older = chosen.newer_than_seconds, chosen.older_than_seconds
    after = None
    while True:
        page = await suppression.page(
            reasons=(chosen.reason,) if chosen.reason else (),
            start_ms=now_ms - int(newer * 1000) if newer is not None else 0,
            end_ms=now_ms - int(older * 1000) if older is not None else None,
            after=after,
            limit=_PAGE,
        )
        for entry in page.entries:
            yield entry
        after = page.after
        if after is None:
            return


def _line(entry: Entry) -> str:
    end = f"  until {instant(entry.ends_at_ms)}" if entry.ends_at_ms else ""
    return f"{escaped(entry.address)}  {entry.reason}  {entry.source}  {instant(entry.at_ms)}{end}"


def _words(entry: Entry) -> list[str]:
    """One entry in lines."""
    rows = {
        "address": entry.address,
        "reason": f"{entry.reason}, told by {_SOURCES[entry.source]}",
        "since": instant(entry.at_ms),
        "until": instant(entry.ends_at_ms) if entry.ends_at_ms else "it is removed",
        "message": entry.message_id,
        "feedback": entry.feedback_id,
    }
    return [f"{name:<9} {escaped(value)}" for name, value in rows.items() if value]


_SOURCES = {
    "feedback": "SES's events",
    "ses": "the account's own list",
    "operator": "an operator",
    "api": "a caller of the API",
}
