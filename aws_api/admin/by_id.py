"""Hold, release, cancel and retry of messages that are named, each with an answer in words.

release sends recipients in doubt again where that doubt was the reason to keep the message. A message that the
operator held goes on with its doubts as they were, and so does every retry. Who waits in a lane keeps the place there.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aws_api.admin.filters import MessageAction
from aws_api.admin.giving_up import give_up
from aws_api.admin.who import Who, act_of, tell
from aws_api.admin.wording import many
from spool import operator
from spool.records import Message
from spool.states import HELD_BY_OPERATOR, IN_LANE, Place
from spool.store import Spool


@dataclass(frozen=True, slots=True)
class Said:
    """What became of one message that was named. `message_id` "" = there is no such message."""

    any_id: str
    message_id: str
    is_done: bool
    words: str
    #: Its recipients without a final state, or those given up.
    recipients: int = 0


async def act_on_ids(spool: Spool, action: MessageAction, any_ids: Sequence[str], who: Who) -> list[Said]:
    """One answer for each id (ours, SES's, the header Message-ID), in order. Raises StoreUnavailable."""
    said: list[Said] = []
    try:
        for any_id in any_ids:
            message = await spool.find(any_id)
            if message is None:
                said.append(Said(any_id, "", is_done=False, words="no such message"))
                continue
            is_done, words, recipients = await _ACTS[action](spool, message)
            said.append(Said(any_id, message.message_id, is_done, words, recipients))
    finally:
        if done := [one for one in said if one.is_done]:
            counts = {"messages": len(done), "recipients": sum(one.recipients for one in done)}
            await tell(spool, act_of(action, who, message_ids=[one.message_id for one in done], counts=counts))
    return said


_Answer = tuple[bool, str, int]


async def _hold(spool: Spool, message: Message) -> _Answer:
    [touched] = await operator.touch(spool.redis, "hold", [message.message_id])
    match touched:
        case "done":
            return True, "on hold", waiting(message)
        case "later":
            return True, "a worker has it: on hold as soon as that lets it go", waiting(message)
        case "held":
            return False, "is on hold already", 0
        case _:
            return False, f"is {await _place(spool, message)}, there is nothing to hold", 0


async def _release(spool: Spool, message: Message) -> _Answer:
    if _is_in_lane(message):
        return False, _IN_LANE, 0
    if message.place is Place.LEASED or message.reason == HELD_BY_OPERATOR:
        [touched] = await operator.touch(spool.redis, "free", [message.message_id])
        if touched == "done" and message.place is Place.LEASED:
            return True, "not to be held any more", waiting(message)
        is_released = touched == "done"
    else:
        [is_released] = await spool.release([message.message_id])
    if is_released:
        return True, "released, it is due now", waiting(message)
    return False, f"is {await _place(spool, message)}, neither parked nor held", 0


async def _retry(spool: Spool, message: Message) -> _Answer:
    [touched] = await operator.touch(spool.redis, "retry", [message.message_id])
    match touched:
        case "done":
            return True, "it is due now", waiting(message)
        case "lane":
            return False, _IN_LANE, 0
        case _ if message.place is Place.HELD:
            return False, "is held: mailsluice release lets it go on", 0
        case _:
            return False, f"is {await _place(spool, message)}, not parked", 0


async def _cancel(spool: Spool, message: Message) -> _Answer:
    if end := await give_up(spool, message):
        doubt = f", {end.in_doubt:,} of them may have been sent" if end.in_doubt else ""
        return True, f"dropped, {many(end.dropped, 'recipient')} given up{doubt}", end.dropped
    place = await _place(spool, message)
    if place == Place.LEASED:
        return False, "is leased, its worker may be in a call: mailsluice hold stops it after that, then cancel it", 0
    if place == Place.DONE:
        return False, "is done already", 0
    return False, "changed at this moment, try again", 0


_ACTS: Final[dict[MessageAction, Callable[[Spool, Message], Awaitable[_Answer]]]] = {
    "hold": _hold,
    "release": _release,
    "retry": _retry,
    "cancel": _cancel,
}
_IN_LANE: Final = "waits in a lane: its turn comes by itself, in order; mailsluice queue says when"


def waiting(message: Message) -> int:
    """How many recipients have no final state."""
    return sum(not state.is_final for state in message.states)


def _is_in_lane(message: Message) -> bool:
    return message.place is Place.PARKED and message.reason == IN_LANE


async def _place(spool: Spool, message: Message) -> str:
    """Where it is now; a message that is forgotten is done."""
    return getattr(await spool.load(message.message_id), "place", Place.DONE).value
