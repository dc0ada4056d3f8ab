"""Everything that a spool holds, for balances over mail whose ids nobody noted, and its append log at rest."""

import time
from collections import Counter

from spool import keys
from spool.records import Message
from spool.store import Spool
from tests.servers import RedisServer

UNFINISHED = {"due": keys.DUE, "leased": keys.LEASED, "parked": keys.PARKED, "held": keys.HELD}


async def all_messages(spool: Spool) -> list[Message]:
    """Every message, finished ones too as long as they are kept, without contents."""
    start = len(keys.MESSAGE_PREFIX)
    names = {name async for name in spool.redis.scan_iter(match=f"{keys.MESSAGE_PREFIX}*", count=1000)}
    messages = [await spool.load(name.decode()[start:]) for name in names]
    return [message for message in messages if message]


async def places(spool: Spool) -> Counter[str]:
    """How many messages wait where, all looked at in one moment; those in the lanes lie in none of the tables."""
    async with spool.redis.pipeline(transaction=True) as look:
        for key in UNFINISHED.values():
            look.zcard(key)
        look.hgetall(keys.LANES)
        *numbers, lanes = await look.execute()
    found = Counter(dict(zip(UNFINISHED, map(int, numbers), strict=True)))
    found["lane"] = sum(int(number) for name, number in lanes.items() if name.endswith(b":messages"))
    return found


def rewrite_append_log(redis: RedisServer, seconds: float = 300.0) -> None:
    """Has the append log written anew and waits for it, so that no rewrite falls into a measurement."""
    redis.call("BGREWRITEAOF")
    limit = time.monotonic() + seconds
    while b"aof_rewrite_in_progress:0" not in (told := redis.call("INFO", "persistence")) or (
        b"aof_rewrite_scheduled:0" not in told
    ):
        assert time.monotonic() < limit, "the append log is still being rewritten"
        time.sleep(0.02)
