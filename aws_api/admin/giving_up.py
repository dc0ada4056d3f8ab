"""Gives one message up: whatever place it is in, but for a leased one.

1. A due message is put on hold first: from then on no worker takes it. A crash right after that leaves it held by the
   operator, which `mailsluice queue` shows.
2. Its end is computed from what was read (ends.py) and written only while that is still so; what changed meanwhile,
   an answer that came late, is read again.
"""

import time
from typing import Final

from aws_api.admin.ends import REASON, End, end_of
from spool import operator
from spool.records import Message
from spool.states import Place
from spool.store import Spool

#: Looks at a message that changes under our hands.
TRIES: Final = 3


async def give_up(spool: Spool, message: Message) -> End | None:
    """The end that was written; None when the message is leased or done, or did not stop changing."""
    if message.place is Place.DUE:
        await operator.touch(spool.redis, "hold", [message.message_id])
    for _ in range(TRIES):
        known = await spool.load(message.message_id)
        if known is None or known.place not in {Place.PARKED, Place.HELD}:
            return None
        end = end_of(known, time.time_ns() // 1_000_000)
        if await spool.drop(known, end.states, reason=REASON, events=end.events, counts=end.counts):
            return end
    return None
