"""What SES's GetSendStatistics tells of an account, counted by ourselves: slots of 15 minutes over two weeks.

Recipients are counted by the scripts, in the transaction that writes what became of them (count_statistic in
lua/prelude.lua): attempts and rejects at the end of a call, bounces and complaints when SES's event is written down.
A day is one hash, which the server forgets by itself.
"""

from collections import defaultdict
from dataclasses import dataclass

from redis import asyncio as aioredis

from config.queues import KEY_PREFIX
from spool import scripts

#: SES's own (SendDataPoint reference).
SLOT_SECONDS = 900
DAYS = 14

_KEY = KEY_PREFIX + "statistics:"


@dataclass(frozen=True, slots=True)
class SendDataPoint:
    """Recipients of one slot."""

    #: Its begin, epoch seconds.
    at_s: int
    #: Taken by SES.
    attempts: int = 0
    bounces: int = 0
    complaints: int = 0
    #: Refused by SES, or by a rule.
    rejects: int = 0


async def send_statistics(redis: aioredis.Redis) -> list[SendDataPoint]:
    """The slots of the last two weeks in which anything happened, oldest first. Raises StoreUnavailable."""
    now_s, _ = await scripts.answer_of(redis.time())
    today = now_s // 86400
    pipeline = redis.pipeline(transaction=False)
    for day in range(today - DAYS, today + 1):
        pipeline.hgetall(f"{_KEY}{day}")
    slots: dict[int, dict[str, int]] = defaultdict(dict)
    for fields in await scripts.answer_of(pipeline.execute()):
        for name, value in fields.items():
            at_s, _, what = name.decode().partition(":")
            slots[int(at_s)][what] = int(value)
    oldest_s = now_s - DAYS * 86400
    return [SendDataPoint(at_s, **slots[at_s]) for at_s in sorted(slots) if at_s > oldest_s]
