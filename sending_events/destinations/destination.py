"""What the publisher and a destination owe each other."""

from collections.abc import Sequence
from typing import Protocol


class Destination(Protocol):
    """A place that events are given to.

    The publisher calls `take` for one part at a time in the whole cluster (but for a process that was frozen in the
    middle of a call), in the order of the events, and offers a part again until it is taken or refused.
    """

    @property
    def name(self) -> str:
        """As in the settings; names the cursor, so it never changes."""
        ...

    async def take(self, records: Sequence[bytes]) -> None:
        """Takes all records or none; when it returns they are as safe as the destination can make them.

        `records`: at least one; each one JSON object without a line end; up to 500 and about 4 MiB together, more
        only when a single record is larger. `eventId` is the same when a record is offered again.
        Raises TryLater: nothing, or not everything, was taken; the same records come again after a pause
        (`after_seconds` is heeded up to 5 minutes). Raises Refused: at least one of the records can never be taken
        and none is kept; smaller parts follow until it is found. A destination that is set up wrongly raises TryLater:
        the events are not to blame. May be cancelled when it takes too long; what it
        did by then is offered again.
        """
        ...


def part_records(destination: Destination, at_most: int) -> int:
    """How many records a part for this destination should have at most.

    A destination that gives away one request after the other says so (`part_records`), so that its part is taken
    within the time that one part may need.
    """
    wish: int = getattr(destination, "part_records", at_most)
    return max(1, min(wish, at_most))
