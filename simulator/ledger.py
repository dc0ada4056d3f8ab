"""Everything the account accepted, in order, and nothing else.

A line is kept as the bytes that GET /ledger sends, which is also the smallest form. Lines and raw messages are
bounded apart from each other, the oldest go first; what went is counted. Positions count from the first call ever
accepted. An id holds its milliseconds and those never go back, so a line is found by bisection without an index.
"""

import hashlib
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import orjson

from simulator.checks import Envelope
from simulator.ids import accepted_ms_of, new_ses_message_id

#: what a kept message costs beside its bytes
OVERHEAD_BYTES = 64
MAX_SUBJECT_CHARACTERS = 400
_ID_AT = len(b'{"ses_message_id":"')
_ID_LENGTH = 16 + 1 + 36 + 1 + 6


class Ledger:
    """An append-only record with a bounded tail; `clock` gives Unix time in seconds."""

    def __init__(self, kept_lines: int, kept_bytes: int, clock: Callable[[], float]) -> None:
        self._kept_lines = kept_lines
        self._kept_bytes = kept_bytes
        self._clock = clock
        self._lines: list[bytes] = []
        self._accepted_ms: list[int] = []
        self._raw: deque[bytes] = deque()
        self._raw_bytes = 0
        self._first_ms = 0
        self._last_ms = 0
        #: position of the first line still kept
        self.first_position = 0
        self.calls = 0
        self.recipients = 0

    def accept(self, envelope: Envelope, raw: bytes) -> str:
        """Record an accepted call and return its new id."""
        self._last_ms = accepted_ms = max(self._last_ms, int(self._clock() * 1000))
        self._first_ms = self._first_ms or accepted_ms
        ses_message_id = new_ses_message_id(accepted_ms)
        self._lines.append(_line(ses_message_id, accepted_ms, envelope, raw))
        self._accepted_ms.append(accepted_ms)
        self._raw.append(raw)
        self._raw_bytes += len(raw) + OVERHEAD_BYTES
        self.calls += 1
        self.recipients += len(envelope.destinations)
        self._trim()
        return ses_message_id

    def _trim(self) -> None:
        while self._raw and self._raw_bytes > self._kept_bytes:
            self._raw_bytes -= len(self._raw.popleft()) + OVERHEAD_BYTES
        # Cutting the head of a list costs its length, so it is done rarely: a tenth may be kept too much.
        surplus = len(self._lines) - self._kept_lines
        if surplus > self._kept_lines // 10:
            del self._lines[:surplus]
            del self._accepted_ms[:surplus]
            self.first_position += surplus
            while len(self._raw) > len(self._lines):
                self._raw_bytes -= len(self._raw.popleft()) + OVERHEAD_BYTES

    def chunks(self, since: int, lines_per_chunk: int = 1000) -> Iterator[bytes]:
        """The lines from position `since` on that exist now, as NDJSON, some at a time."""
        position, end = since, self.calls
        while position < end:
            start = max(position, self.first_position) - self.first_position
            lines = self._lines[start : min(start + lines_per_chunk, end - self.first_position)]
            position = self.first_position + start + len(lines)
            if not lines:
                return
            yield b"\n".join(lines) + b"\n"

    def newest(self, skip: int, count: int) -> list[bytes]:
        """Lines, newest first, after skipping some."""
        end = max(0, len(self._lines) - skip)
        return self._lines[max(0, end - count) : end][::-1]

    def line_of(self, ses_message_id: str) -> bytes | None:
        """The line of an accepted call, or None when there is none (any more)."""
        index = self._index_of(ses_message_id)
        return None if index is None else self._lines[index]

    def raw_of(self, ses_message_id: str) -> bytes | None:
        """The message as it was accepted, or None when its bytes are not kept (any more)."""
        index = self._index_of(ses_message_id)
        if index is None:
            return None
        at = index + len(self._raw) - len(self._lines)
        return self._raw[at] if at >= 0 else None

    def kept_messages(self) -> list[tuple[str, bytes]]:
        """Id and bytes of every message still kept, oldest first."""
        lines = self._lines[len(self._lines) - len(self._raw) :]
        ids = (line[_ID_AT : _ID_AT + _ID_LENGTH].decode("ascii") for line in lines)
        return list(zip(ids, self._raw, strict=True))

    def may_have_dropped(self, accepted_ms: int) -> bool:
        """Whether a line with this time may have been there and gone."""
        return self.first_position > 0 and self._first_ms <= accepted_ms <= self._accepted_ms[0]

    def _index_of(self, ses_message_id: str) -> int | None:
        accepted_ms = accepted_ms_of(ses_message_id)
        if accepted_ms is None:
            return None
        wanted = ses_message_id.encode("ascii")
        index = bisect_left(self._accepted_ms, accepted_ms)
        while index < len(self._lines) and self._accepted_ms[index] == accepted_ms:
            if self._lines[index][_ID_AT : _ID_AT + _ID_LENGTH] == wanted:
                return index
            index += 1
        return None


def _line(ses_message_id: str, accepted_ms: int, envelope: Envelope, raw: bytes) -> bytes:
    return orjson.dumps(
        {
            "ses_message_id": ses_message_id,  # first: found again at a fixed place
            "source": envelope.source,
            "destinations": envelope.destinations,
            "configuration_set": envelope.configuration_set,
            "tags": dict(envelope.tags),
            "size_bytes": len(raw),
            "sha256": hashlib.sha256(raw).hexdigest(),
            "accepted_at": datetime.fromtimestamp(accepted_ms / 1000, UTC),
            "header_message_id": (envelope.header_message_id or "")[:MAX_SUBJECT_CHARACTERS] or None,
            "subject": (envelope.subject or "")[:MAX_SUBJECT_CHARACTERS] or None,
        },
        option=orjson.OPT_UTC_Z,
    )
