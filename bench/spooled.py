"""Everything that a spool holds, for balances over mail whose ids nobody noted."""

from collections import Counter

from spool import keys
from spool.records import Message
from spool.store import Spool

UNFINISHED = {"due": keys.DUE, "leased": keys.LEASED, "parked": keys.PARKED, "held": keys.HELD}


async def all_messages(spool: Spool) -> list[Message]:
    """Every message, finished ones too as long as they are kept, without contents."""
    start = len(keys.MESSAGE_PREFIX)
    names = {name async for name in spool.redis.scan_iter(match=f"{keys.MESSAGE_PREFIX}*", count=1000)}
    messages = [await spool.load(name.decode()[start:]) for name in names]
    return [message for message in messages if message]


async def places(spool: Spool) -> Counter[str]:
    """How many messages wait where."""
    return Counter({name: int(await spool.redis.zcard(key)) for name, key in UNFINISHED.items()})
