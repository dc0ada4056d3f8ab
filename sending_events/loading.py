"""Entries of the stream as records, and records as lines: what the publisher must know of messages is loaded here.

Most messages have several events. So their headers, which never change, are read once; a message that is done is not
loaded again either, as nothing of it that events tell changes any more. Both are kept for the last messages only.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from config.errors import TryLater
from config.logs import get_log
from sending_events.header_facts import HeaderFacts, facts_of
from sending_events.operator_acts import OperatorAct
from sending_events.progress import Entry
from sending_events.records import UnreadableEvent
from sending_events.rendering import Known, Record, decoded, line_of
from spool.records import Message
from spool.states import Place
from spool.store import Spool

T = TypeVar("T")

#: Messages whose headers are remembered: a megabyte when they are usual ones, 15 at most.
_REMEMBERED = 500
# Messages with more are not held for a whole read.
_FEW_RECIPIENTS = 100


class Read(NamedTuple):
    """One entry with its record, or why it has none, and the configuration set whose event it is."""

    entry: Entry
    record: Record | UnreadableEvent
    configuration_set: str = ""


def record_of(entry: Entry) -> Record | UnreadableEvent:
    """The entry's record, or why it has none."""
    try:
        return decoded(entry.raw)
    except UnreadableEvent as error:
        return error


class Loader:
    """Makes lines. One object a process."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._headers: dict[str, HeaderFacts] = {}
        self._done: dict[str, Known] = {}

    async def lines(self, wanted: Sequence[Read], seen: dict[str, Known]) -> list[bytes | UnreadableEvent]:
        """The line of each record, or why it has none. Raises TryLater.

        `seen`: messages of one read of the stream, for the groups of that read: what an event tells of its message
        was written with the event or before it, so that any look after the read is late enough.
        """
        ids = {one.record.message_id for one in wanted if not isinstance(one.record, OperatorAct | UnreadableEvent)}
        known = await self._known(ids, seen)
        return [_line(one, known) for one in wanted]

    async def _known(self, ids: set[str], seen: dict[str, Known]) -> dict[str, Known]:
        known = {id_: one for id_ in ids if (one := seen.get(id_) or self._done.get(id_))}
        others = list(ids - known.keys())
        if not others:
            return known
        try:
            found = await self._loaded(others)
        except TryLater:
            raise
        except Exception as error:  # noqa: BLE001 - a message that cannot be read is as one that is forgotten
            get_log().warning("events.message_unreadable", error=type(error).__name__, exc_info=error)
            found = await self._loaded_one_by_one(others)
        seen |= {id_: one for id_, one in found.items() if len(one.message.recipients) <= _FEW_RECIPIENTS}
        return known | found

    async def _loaded(self, ids: list[str]) -> dict[str, Known]:
        # One request, whoever needs what: requests cost more than what they carry.
        if all(id_ in self._headers for id_ in ids):
            messages = await self._spool.load_summaries(ids)
            return {id_: self._remembered(message, self._headers[id_]) for id_, message in messages.items()}
        rows = await self._spool.load_for_events(ids)
        return {id_: self._remembered(row[0], self._facts(id_, *row[1:])) for id_, row in rows.items()}

    async def _loaded_one_by_one(self, ids: list[str]) -> dict[str, Known]:
        found: dict[str, Known] = {}
        for id_ in ids:
            try:
                found |= await self._loaded([id_])
            except TryLater:
                raise
            except Exception:  # noqa: BLE001, S112 - told above
                continue
        return found

    def _facts(self, message_id: str, section: bytes, is_truncated: bool) -> HeaderFacts | None:  # noqa: FBT001 - as the spool tells it
        if known := self._headers.get(message_id):
            return known
        return facts_of(section, is_truncated=is_truncated) if section else None

    def _remembered(self, message: Message, headers: HeaderFacts | None) -> Known:
        known = Known(message, headers)
        if headers:
            _remember(self._headers, message.message_id, headers)
        if message.place is Place.DONE:
            _remember(self._done, message.message_id, known)
        return known


def _remember(kept: dict[str, T], id_: str, value: T) -> None:
    kept[id_] = value
    if len(kept) > _REMEMBERED:
        del kept[next(iter(kept))]


def _line(one: Read, known: dict[str, Known]) -> bytes | UnreadableEvent:
    if isinstance(one.record, UnreadableEvent):
        return one.record
    message_id = "" if isinstance(one.record, OperatorAct) else one.record.message_id
    try:
        return line_of(one.record, known.get(message_id), one.entry.event_id, one.configuration_set)
    except UnreadableEvent as error:
        return error
