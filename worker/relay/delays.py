"""Several reasons why parts of a message wait, as the one move that a message can make. Pure.

The message goes where it comes back first, and is looked at no later than the others need: a turn in a lane brings it
back, and so does the time at which a function is asked again. Of several lanes it stands in one only: in that of an
open route, of these in one that is not paused nor at the end of its part of the day, and of these in the one served
first. A message is held when nothing else is left.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spool.sending_quota import Seat
from spool.states import PAUSED_DOMAIN
from worker.work import Delay

# Two lanes of different routes: the one in which it does not stand may be served meanwhile.
_OTHER_LANE_SECONDS = 60.0
# Of two lanes one is closed: it may open again while the turn in the other is still far. That is no reason to look
# often where a million messages wait.
_CLOSED_LANE_SECONDS = 600.0

# An open route, an open lane, the place of the lane: False and lower come first.
Rank = tuple[bool, bool, int]


@dataclass(frozen=True, slots=True)
class Wait:
    """Why some recipients wait, where, and how many they are."""

    delay: Delay
    seat: Seat | None = None
    recipients: int = 0


def merged(waits: Sequence[Wait], seconds_of: Callable[[Delay], float], rank: Callable[[Seat], Rank]) -> Wait:
    """One of them, changed so that the others are not kept waiting. `seconds_of`: how long a parked one waits.

    `rank` is smaller for the seat that is served earlier.
    """
    if len(waits) == 1:
        return waits[0]
    by_place = {to: [one for one in waits if one.delay.to == to] for to in ("due", "lane", "parked", "held")}
    told = next((one.delay.told for one in waits if one.delay.told), "")
    if by_place["due"]:
        return by_place["due"][0]
    looks = [seconds_of(one.delay) for one in by_place["parked"]]
    if lanes := by_place["lane"]:
        return _in_lane(lanes, looks, told, rank)
    if parked := by_place["parked"]:
        return _parked(parked, looks, told)
    return waits[0]


def _in_lane(lanes: Sequence[Wait], looks: Sequence[float], told: str, rank: Callable[[Seat], Rank]) -> Wait:
    seats = [one.seat for one in lanes if one.seat is not None]
    seat = min(seats, key=rank)
    if len({one.route for one in seats}) > 1:
        looks = [*looks, _OTHER_LANE_SECONDS]
    elif len({rank(one)[1] for one in seats}) > 1:
        looks = [*looks, _CLOSED_LANE_SECONDS]
    looks = [*looks, *(one.delay.after_seconds for one in lanes if one.delay.after_seconds is not None)]
    delay = dataclasses.replace(lanes[0].delay, told=told, after_seconds=min(looks, default=None))
    in_it = (one.recipients for one in lanes if one.seat and (one.seat.route, one.seat.lane) == (seat.route, seat.lane))
    return Wait(delay, seat, sum(in_it))


def _parked(parked: Sequence[Wait], looks: Sequence[float], told: str) -> Wait:
    """A paused domain gives its reason: who resumes it finds its messages by that."""
    first = looks.index(min(looks))
    chosen = next((one for one in parked if one.delay.reason == PAUSED_DOMAIN), parked[first])
    is_own = chosen is parked[first]
    after_seconds = chosen.delay.after_seconds if is_own else looks[first]
    return dataclasses.replace(chosen, delay=dataclasses.replace(chosen.delay, told=told, after_seconds=after_seconds))
