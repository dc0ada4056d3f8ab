"""The account's limits, kept by the whole cluster: what is asked, what is answered, what can be seen.

Theory of operation (the algorithm itself runs in the server: lua/quota.lua, lua/lanes.lua, lua/gate.lua)
1. A route is one way to SES with limits of its own: recipients per second and recipients per rolling 24 hours. Its
   effective rate is min(what SES says, the operator's cap) x a learned factor x a margin of 1 % (5 % below 4/s).
2. The tokens of a batch are taken in the transaction that writes its intent: denied means that nothing was written.
   So the limits hold for any number of workers, and a crash after the take costs tokens, never a second call.
3. Debt: a call passes when one token is there, and the bucket goes below nought by the rest. So 50 recipients pass at
   1/s, and 50 seconds of silence follow.
4. A message that is denied waits in the queue of (route, lane, sender). Whoever finds somebody waiting in its lane or
   in one before it joins the queue, so order is kept. The gate releases what the next half second allows: lanes in
   their order, senders of a lane in proportion to their weights (start-time fair queueing), messages of a sender by
   the time of their acceptance. A released message has a turn of some recipients.
5. There are two buckets of the same rate: calls (exact) and releases (half a second ahead). A turn is debited when it
   is given; one that is not used costs its time and stops nobody. Lanes with a share below 100 % have buckets of
   their own besides, and leave that part of the common bucket to the lanes before them.
6. What keeps a whole route (trouble, daily quota, a pause) is a fact of the route: no message is rewritten for it.
   While a route is in trouble nothing is granted but one probe at a time.
Crash at any point: buckets, queues and troubles lie in the server, in the same transactions as the messages.
Invariants: taken recipients <= capacity + rate x time, plus the debt of one call. A lane's numbers are those of the
messages that stand in it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# When SES may not be asked for the account's rate and the operator gave no cap; the smallest of production accounts.
FALLBACK_RATE = 14.0
# SES takes at most this many recipients a call.
_LARGEST_BATCH = 50


@dataclass(frozen=True, slots=True)
class RouteLimits:
    """A route as the settings have it; goes with every take and every look of the gate."""

    name: str
    #: The operator's caps in recipients; 0 or -1 = none.
    max_send_rate: float = 0.0
    max_24_hour_send: float = -1.0
    #: (lane, share in percent) in order of priority.
    lanes: tuple[tuple[str, int], ...] = (("express", 100),)

    def lanes_from(self, lane: str) -> tuple[str, ...]:
        """This lane and those after it."""
        names = [name for name, _ in self.lanes]
        return tuple(names[names.index(lane) :]) if lane in names else ()


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a message waits for its turn."""

    route: str
    lane: str
    #: The fairness key, as it came from outside.
    sender: str
    weight: float = 1.0
    #: Domain of the From header, for the choice of another route.
    from_domain: str = ""
    #: A rule named the route: no other takes its place.
    is_fixed: bool = False


def sender_key(address: str) -> str:
    """Under which name mail of this envelope sender takes turns when it has no SMTP user."""
    local, at, domain = address.lower().rpartition("@")
    # A sender that is a label only keeps it: an empty key would put it with the bounces.
    return f"{local.partition('+')[0] or local}{at}{domain}"


@dataclass(frozen=True, slots=True)
class Take:
    """What a call asks for: its recipients, of this route, in this lane."""

    seat: Seat
    #: Addresses of the call.
    recipients: int
    limits: RouteLimits


@dataclass(frozen=True, slots=True)
class Granted:
    """The intent is written and its recipients are taken."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease is lost; nothing was written but, perhaps, a late answer."""


DeniedWhy = Literal["rate", "queue", "daily quota", "paused", "trouble", "turn"]


@dataclass(frozen=True, slots=True)
class Denied:
    """Nothing of the settlement was written; so long it may take until asking again makes sense."""

    why: DeniedWhy
    wait_ms: int


#: ok ends a trouble, trouble begins one, denied and unreachable do by coming again and again; refused tells nothing.
FactKind = Literal["ok", "refused", "throttled", "daily", "trouble", "denied", "unreachable"]


@dataclass(frozen=True, slots=True)
class RouteFact:
    """What a call told about its route."""

    kind: FactKind
    route: str
    #: SES's code and words, or ours; safe to show.
    code: str = ""
    words: str = ""
    #: Recipients that SES certainly did not take: given back to the daily quota, and to the rate.
    recipients: int = 0
    #: The lane that they were taken for, and those after it.
    lanes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a route sends nothing but probes."""

    code: str
    words: str
    since_ms: int
    #: When the next probe may be made.
    probe_at_ms: int
    #: The account's, or a permission that lacks (an operator has to act); or else SES cannot be reached.
    is_account: bool


@dataclass(frozen=True, slots=True)
class LaneView:
    """One lane of a route. `recipients` are those who waited when their messages were queued."""

    share: int
    messages: int = 0
    recipients: int = 0
    #: Senders whose messages wait because an operator paused them.
    paused_senders: int = 0
    #: Nobody else waits.
    is_all_paused: bool = False
    #: When the last of them will be gone at this rate; None = not asked for, or not to be foreseen.
    drained_at_ms: int | None = None
    #: When the lane's part of the daily quota has room again; None = not asked for, or it has.
    next_slot_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class RouteView:
    """A route as the server knows it, at one moment."""

    name: str
    #: Recipients per second that are granted now; inf = no limit known.
    rate: float = math.inf
    #: The learned part of it, 1 = all.
    factor: float = 1.0
    #: SES could not be asked and there is no cap: the rate is made of FALLBACK_RATE.
    is_fallback: bool = False
    lanes: Mapping[str, LaneView] = field(default_factory=dict)
    trouble: Trouble | None = None
    #: What SES said last; None = it never did. A negative daily figure means no limit.
    max_send_rate: float | None = None
    max_24_hour_send: float | None = None
    #: Recipients of the last 24 hours: SES's fresh figure and what was taken since, else our own ledger.
    sent_last_24_hours: float = 0.0
    #: The lower of SES's and the operator's daily limit; inf = none.
    daily_limit: float = math.inf
    #: When SES was asked for the figures above, by the server's clock; 0 = never.
    fetched_at_ms: int = 0
    #: Why the last question failed; "" when it did not.
    quota_error: str = ""
    #: No lane may take any more: the figures say so, or SES did.
    daily_ended: bool = False
    #: Until when SES's "Daily message quota exceeded." is believed; 0 = it did not say so.
    daily_until_ms: int = 0
    #: When the next recipients of the daily quota become free; None = not asked for, or it is not used up.
    next_slot_at_ms: int | None = None
    #: When everything that waits will be gone at this rate; None = not asked for, or not to be foreseen.
    drained_at_ms: int | None = None
    #: The server's clock.
    taken_at_ms: int = 0

    @property
    def waiting_messages(self) -> int:
        """In all lanes."""
        return sum(lane.messages for lane in self.lanes.values())

    @property
    def waiting_recipients(self) -> int:
        """In all lanes."""
        return sum(lane.recipients for lane in self.lanes.values())

    @property
    def is_open(self) -> bool:
        """Whether it takes mail now or soon: neither in trouble nor at the end of its daily quota."""
        return self.trouble is None and not self.daily_ended

    def batch_limit(self, lane: str) -> int:
        """Recipients that a batch of this lane should have at most.

        The debt of a call is silence for everybody, so a lane that has others before it makes calls of half a second:
        mail of the first lane never waits longer for one of them.
        """
        if math.isinf(self.rate) or lane == next(iter(self.lanes), lane):
            return _LARGEST_BATCH
        return max(1, min(_LARGEST_BATCH, math.ceil(self.rate / 2)))


@dataclass(frozen=True, slots=True)
class Pause:
    """An operator's pause. `scope`: all, route:<name>, lane:<name>, user:<fairness key>, domain:<recipient domain>."""

    scope: str
    #: 0 = until it is taken back.
    until_ms: int = 0
    since_ms: int = 0
    why: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """What one look of the gate brought."""

    #: Messages that became due and need a nudge.
    released: tuple[str, ...]
    #: Distance to the next look that may bring something.
    next_ms: int
    routes: Mapping[str, RouteView]
    pauses: tuple[Pause, ...] = ()
