"""How a part is cut into requests, and what of it was taken before. For destinations with limits of their own.

A destination takes a whole part or says that it did not; a service with smaller requests takes pieces. What it took of
a part is remembered for as long as the publisher may wait before it offers the part again, so that only the rest is
given again. That memory is this process's own: when another one goes on, or this one died, the pieces are given twice,
with the same event ids. Pure.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from config.errors import Refused

Item = TypeVar("Item")

#: Longer than the publisher's longest pause.
REMEMBERED_SECONDS = 400.0
_MOST_REMEMBERED = 2000


def requests(
    items: Sequence[Item], *, most: int, most_bytes: int, size_of: Callable[[Item], int]
) -> Iterator[list[Item]]:
    """Cuts items into lists within both limits, in order; one that is larger by itself is alone."""
    request: list[Item] = []
    request_bytes = 0
    for item in items:
        item_bytes = size_of(item)
        if request and (len(request) >= most or request_bytes + item_bytes > most_bytes):
            yield request
            request, request_bytes = [], 0
        request.append(item)
        request_bytes += item_bytes
    if request:
        yield request


def refuse_larger(records: Sequence[bytes], most_bytes: int, place: str) -> None:
    """Raises Refused when one of the records is larger than the place takes."""
    if any(len(record) > most_bytes for record in records):
        raise Refused(f"the event is larger than {most_bytes // 1000} kB, the most that {place} takes")


class Taken:
    """The records of an unfinished part that were taken."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[bytes, float] = {}

    def rest_of(self, records: Sequence[bytes]) -> list[bytes]:
        """Those that were not taken lately, in order."""
        if not self._until:
            return list(records)
        now = self._clock()
        self._until = {digest: until for digest, until in self._until.items() if until > now}
        return [record for record in records if _digest(record) not in self._until]

    def add(self, records: Sequence[bytes]) -> None:
        """These were taken."""
        until = self._clock() + REMEMBERED_SECONDS
        self._until |= {_digest(record): until for record in records}
        for digest in list(self._until)[:-_MOST_REMEMBERED]:
            del self._until[digest]

    def forget(self, records: Sequence[bytes]) -> None:
        """They will not be offered again: the whole of them was taken."""
        if self._until:
            for record in records:
                self._until.pop(_digest(record), None)


def _digest(record: bytes) -> bytes:
    return hashlib.blake2b(record, digest_size=16).digest()
