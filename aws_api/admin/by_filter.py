"""Hold, release, cancel and retry of everything that fits a filter, however much that is.

1. The places are walked in parts (spool/operator.py); what fits is acted on part by part. So memory is bounded, the
   server is never kept from its work, and a caller with little time stops after any part: the same act again goes on.
2. A message that moves while its place is walked may be missed; hold and cancel therefore walk again until a walk
   finds nothing, three times at most. An act is harmless for a message that is not any more what it was.
3. cancel leaves leased messages alone: hold them, and cancel them when they are held.
4. The event is written after the act with what was done, also when it ends early.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from aws_api.admin.by_id import waiting
from aws_api.admin.filters import PLACES, Filter, MessageAction, fits, states_of
from aws_api.admin.giving_up import give_up
from aws_api.admin.who import Who, act_of, tell
from spool import operator
from spool.records import Message
from spool.states import HELD_BY_OPERATOR
from spool.store import Spool

#: Walks of one hold or cancel at most.
MOST_WALKS: Final = 3
#: Messages given up at the same time: each is two round trips of its own.
AT_ONCE: Final = 16


@dataclass(slots=True)
class Sum:
    """What was found (a dry run) or done."""

    messages: int = 0
    #: Their recipients without a final state.
    recipients: int = 0
    #: Leased ones: their worker puts them on hold when it lets them go.
    later: int = 0
    #: Given up though a call without an answer may have sent them.
    in_doubt: int = 0
    example: str = ""
    #: False = the time was over.
    is_complete: bool = True

    def add(self, message: Message) -> None:
        """One more message."""
        self.messages += 1
        self.recipients += waiting(message)
        self.example = self.example or message.message_id


@dataclass(frozen=True, slots=True)
class Budget:
    """How long an act may take; None = as long as it takes."""

    seconds: float | None = None
    began_at: float = field(default_factory=time.monotonic)

    def is_spent(self) -> bool:
        return self.seconds is not None and time.monotonic() - self.began_at >= self.seconds


_Act = Callable[[Spool, Sequence[Message], Sum], Awaitable[None]]


async def count_filter(spool: Spool, action: MessageAction, chosen: Filter, budget: Budget) -> Sum:
    """What the act would be for now. Raises Refused, StoreUnavailable."""
    total = Sum()
    async for fitting in _fitting(spool, action, chosen):
        for message in fitting:
            total.add(message)
        if budget.is_spent():
            total.is_complete = False
            break
    return total


async def act_on_filter(spool: Spool, action: MessageAction, chosen: Filter, budget: Budget, who: Who) -> Sum:
    """Acts on everything that fits. Raises Refused, StoreUnavailable."""
    total, before = Sum(), -1
    try:
        for _ in range(MOST_WALKS if action in {"hold", "cancel"} else 1):
            if total.messages == before or not total.is_complete:
                break
            before = total.messages
            async for fitting in _fitting(spool, action, chosen):
                await _ACTS[action](spool, fitting, total)
                if budget.is_spent():
                    total.is_complete = False
                    break
    finally:
        if total.messages:
            counts = {"messages": total.messages, "recipients": total.recipients}
            await tell(spool, act_of(action, who, chosen_by=chosen.given(), counts=counts))
    return total


async def _fitting(spool: Spool, action: MessageAction, chosen: Filter) -> AsyncIterator[list[Message]]:
    states = states_of(action, chosen)
    now_ms = time.time_ns() // 1_000_000
    for place in dict.fromkeys(place for state, place in PLACES.items() if state in states):
        async for part in operator.walk(spool, place):
            yield [message for message in part if fits(chosen, states, message, now_ms)]


async def _hold(spool: Spool, messages: Sequence[Message], total: Sum) -> None:
    touched = await operator.touch(spool.redis, "hold", _ids(messages))
    for message, answer in zip(messages, touched, strict=True):
        if answer in {"done", "later"}:
            total.add(message)
            total.later += answer == "later"


async def _release(spool: Spool, messages: Sequence[Message], total: Sum) -> None:
    own = [message for message in messages if message.reason == HELD_BY_OPERATOR]
    parked = [message for message in messages if message.place == "parked"]
    others = [message for message in messages if message not in own and message not in parked]
    await _touch(spool, "free", own, total)
    await _touch(spool, "retry", parked, total)
    if others:
        for message, is_released in zip(others, await spool.release(_ids(others)), strict=True):
            if is_released:
                total.add(message)


async def _retry(spool: Spool, messages: Sequence[Message], total: Sum) -> None:
    await _touch(spool, "retry", messages, total)


async def _touch(spool: Spool, doing: operator.Doing, messages: Sequence[Message], total: Sum) -> None:
    for message, answer in zip(messages, await operator.touch(spool.redis, doing, _ids(messages)), strict=True):
        if answer == "done":
            total.add(message)


async def _cancel(spool: Spool, messages: Sequence[Message], total: Sum) -> None:
    for start in range(0, len(messages), AT_ONCE):
        group = messages[start : start + AT_ONCE]
        for message, end in zip(group, await asyncio.gather(*(give_up(spool, one) for one in group)), strict=True):
            if end is not None:
                total.add(message)
                total.in_doubt += end.in_doubt


_ACTS: Final[dict[MessageAction, _Act]] = {
    "hold": _hold,
    "release": _release,
    "retry": _retry,
    "cancel": _cancel,
}


def _ids(messages: Sequence[Message]) -> list[str]:
    return [message.message_id for message in messages]
