"""Long computations about one message: in a thread, so that all else of the process goes on meanwhile.

Judging takes microseconds for nearly all mail. It takes 0.4 s for 30 MB of nested parts, 0.15 s for a megabyte of
encoded header, 0.25 s for 10,000 recipients whom many rules tell apart; reading an answer full of international domains
takes 0.4 s. A thread costs 0.1 ms and waits for its turn at the interpreter, so what is small stays on the loop, where
it takes 50 ms at the worst. What is computed has to be pure but for its log lines.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from worker.work import Work

T = TypeVar("T")

_LARGE_BYTES = 128 * 1024
_MANY_RECIPIENTS = 100
#: Of a function's answer.
LARGE_ANSWER_BYTES = 16 * 1024


def is_large(work: Work) -> bool:
    """Whether it may take long to look at this message."""
    return len(work.content) > _LARGE_BYTES or len(work.message.recipients) > _MANY_RECIPIENTS


async def computed(compute: Callable[[], T], *, is_long: bool) -> T:
    """What it returns; computed in a thread when that may take long."""
    return await asyncio.to_thread(compute) if is_long else compute()
