"""What may happen to a recipient and to a message: two total tables.

Theory of operation
1. A recipient starts `waiting`. An attempt is recorded before the SES call (`sending`), its outcome after it.
2. A final state is never left: a late or repeated happening is ignored, and the table says so row by row.
3. `sending` after a crash means: the call may or may not have been made. The next holder of the message turns it
   into `call_lost`; the policy decides between `waiting` (send again) and `unknown` (held for the operator, or until
   SES's own event confirms the call or fails to come).
4. A message is in exactly one place: due, leased, parked, held or done. Moves happen only inside spool/lua/, which
   carries the same table; `tests/store/` walks every (place, move) pair against the server.

Invariant, the accounting: accepted = sent + rejected + dropped + expired + waiting, counted in recipients, where
waiting includes sending and unknown.
"""

from enum import StrEnum


class RecipientState(StrEnum):
    """One letter each: a message keeps the states of its recipients as one string, in envelope order."""

    WAITING = "w"
    SENDING = "s"
    UNKNOWN = "u"
    SENT = "S"
    REJECTED = "R"
    DROPPED = "D"
    EXPIRED = "E"

    @property
    def is_final(self) -> bool:
        """Capital letters are final."""
        return self.value.isupper()


class Happening(StrEnum):
    """What a recipient can be told about."""

    ATTEMPT_STARTED = "attempt started"
    ACCEPTED = "accepted by SES"
    REJECTED = "rejected by SES"
    NOT_TAKEN = "not taken: throttled or unavailable"
    CALL_LOST = "call ended without an answer"
    DOUBT_KEPT = "call ended without an answer, policy hold"
    DROPPED = "dropped by a rule or the operator"
    BOUNCED = "bounced by a rule"
    EXPIRED = "too old"
    RELEASED = "released by the operator"
    REFUSED_TOGETHER = "refused by SES together with others"
    NOT_CONFIRMED = "no event of SES for a call without an answer"
    SUPPRESSED = "on the suppression list"


_S, _H = RecipientState, Happening

# A pair that "cannot be" is written down as unchanged, so that a repeat or a late answer does no harm.
RECIPIENT_TABLE: dict[tuple[RecipientState, Happening], RecipientState] = {
    (_S.WAITING, _H.ATTEMPT_STARTED): _S.SENDING,
    (_S.WAITING, _H.ACCEPTED): _S.SENT,  # the answer of an attempt that was already given up
    (_S.WAITING, _H.REJECTED): _S.WAITING,  # only the attempt under way may reject
    (_S.WAITING, _H.NOT_TAKEN): _S.WAITING,
    (_S.WAITING, _H.CALL_LOST): _S.WAITING,
    (_S.WAITING, _H.DOUBT_KEPT): _S.WAITING,
    (_S.WAITING, _H.DROPPED): _S.DROPPED,
    (_S.WAITING, _H.BOUNCED): _S.REJECTED,
    (_S.WAITING, _H.EXPIRED): _S.EXPIRED,
    (_S.WAITING, _H.RELEASED): _S.WAITING,
    (_S.WAITING, _H.REFUSED_TOGETHER): _S.WAITING,
    (_S.WAITING, _H.NOT_CONFIRMED): _S.WAITING,
    (_S.WAITING, _H.SUPPRESSED): _S.REJECTED,
    (_S.SENDING, _H.ATTEMPT_STARTED): _S.SENDING,
    (_S.SENDING, _H.ACCEPTED): _S.SENT,
    (_S.SENDING, _H.REJECTED): _S.REJECTED,
    (_S.SENDING, _H.NOT_TAKEN): _S.WAITING,
    (_S.SENDING, _H.CALL_LOST): _S.WAITING,
    (_S.SENDING, _H.DOUBT_KEPT): _S.UNKNOWN,
    (_S.SENDING, _H.DROPPED): _S.SENDING,  # the call decides first
    (_S.SENDING, _H.BOUNCED): _S.SENDING,  # the call decides first
    (_S.SENDING, _H.EXPIRED): _S.SENDING,  # the call decides first
    (_S.SENDING, _H.RELEASED): _S.SENDING,
    (_S.SENDING, _H.REFUSED_TOGETHER): _S.WAITING,  # one of them is to blame; smaller batches find out which
    (_S.SENDING, _H.NOT_CONFIRMED): _S.SENDING,  # the call decides first
    (_S.SENDING, _H.SUPPRESSED): _S.SENDING,  # the call decides first
    (_S.UNKNOWN, _H.ATTEMPT_STARTED): _S.UNKNOWN,  # only a release leads to another attempt
    (_S.UNKNOWN, _H.ACCEPTED): _S.SENT,
    (_S.UNKNOWN, _H.REJECTED): _S.UNKNOWN,
    (_S.UNKNOWN, _H.NOT_TAKEN): _S.UNKNOWN,
    (_S.UNKNOWN, _H.CALL_LOST): _S.UNKNOWN,
    (_S.UNKNOWN, _H.DOUBT_KEPT): _S.UNKNOWN,
    (_S.UNKNOWN, _H.DROPPED): _S.DROPPED,
    (_S.UNKNOWN, _H.BOUNCED): _S.UNKNOWN,  # it may have been sent: not for a rule to decide
    (_S.UNKNOWN, _H.EXPIRED): _S.UNKNOWN,  # it may have been sent: not for a clock to decide
    (_S.UNKNOWN, _H.RELEASED): _S.WAITING,
    (_S.UNKNOWN, _H.REFUSED_TOGETHER): _S.UNKNOWN,
    (_S.UNKNOWN, _H.NOT_CONFIRMED): _S.WAITING,
    (_S.UNKNOWN, _H.SUPPRESSED): _S.UNKNOWN,  # it may have been sent: not for a list to decide
    **{(final, happening): final for final in _S if final.is_final for happening in _H},
}


def after(state: RecipientState, happening: Happening) -> RecipientState:
    """The recipient's next state; total."""
    return RECIPIENT_TABLE[state, happening]


class Place(StrEnum):
    """Where a message is."""

    DUE = "due"
    LEASED = "leased"
    PARKED = "parked"
    HELD = "held"
    DONE = "done"


class Move(StrEnum):
    """What moves a message; each is one Lua script or a branch of settle.lua."""

    CLAIM = "claim"
    PUT_BACK = "put back"
    PARK = "park"
    HOLD = "hold"
    FINISH = "finish"
    QUEUE = "queue"
    LEASE_END = "lease end"
    WAKE = "wake"
    TURN = "turn"
    RECHOOSE = "rechoose"
    CONFIRM = "confirm"
    RELEASE = "release"
    FREE = "free"
    RETRY = "retry"
    DROP = "drop"


_P, _M = Place, Move

MESSAGE_TABLE: dict[tuple[Place, Move], Place] = {
    # Unless a row below says otherwise a move that does not fit leaves the message where it is: a late nudge, a
    # fenced writer, a second sweeper.
    **{(place, move): place for place in _P for move in _M},
    (_P.DUE, _M.CLAIM): _P.LEASED,
    (_P.LEASED, _M.PUT_BACK): _P.DUE,
    (_P.LEASED, _M.PARK): _P.PARKED,
    (_P.LEASED, _M.QUEUE): _P.PARKED,  # and into the queue of its lane
    (_P.LEASED, _M.HOLD): _P.HELD,  # by its holder; the operator's hold waits for the end of the lease
    (_P.DUE, _M.HOLD): _P.HELD,  # by the operator
    (_P.PARKED, _M.HOLD): _P.HELD,  # by the operator
    (_P.HELD, _M.FREE): _P.DUE,  # for the reason HELD_BY_OPERATOR only
    (_P.PARKED, _M.RETRY): _P.DUE,  # not from the queue of a lane
    (_P.LEASED, _M.FINISH): _P.DONE,
    (_P.LEASED, _M.LEASE_END): _P.DUE,  # or HELD: the operator wants it held, or it happened max_crashes times
    (_P.PARKED, _M.WAKE): _P.DUE,
    (_P.PARKED, _M.TURN): _P.DUE,  # from the queue of its lane only
    (_P.PARKED, _M.RECHOOSE): _P.DUE,  # from the queue of its lane only
    (_P.PARKED, _M.CONFIRM): _P.DUE,  # for the reason AWAITS_EVENT only
    (_P.HELD, _M.CONFIRM): _P.DUE,  # for the reason IN_DOUBT only
    (_P.PARKED, _M.RELEASE): _P.DUE,
    (_P.HELD, _M.RELEASE): _P.DUE,
    (_P.PARKED, _M.DROP): _P.DONE,
    (_P.HELD, _M.DROP): _P.DONE,
}

# Beginning of the reason of messages whose own call was refused for what only an operator can mend; they wait by
# themselves, and so do those whose own call failed because SES or the way to it was out of order.
ACCOUNT_TROUBLE = "SES account trouble"
SES_UNAVAILABLE = "SES unavailable"
# Reason of messages that are held because a call ended without an answer; a late one lets them go on (settle.lua).
IN_DOUBT = "in doubt: sent or not"
# Reasons of parked messages. Those of a lane wait for tokens, and why there are none is told of the route.
IN_LANE = "waits for its turn"
AWAITS_EVENT = "waits for SES's own event of a call without an answer"
PAUSED_DOMAIN = "recipient domain is paused"
IDENTITY = "SES identity not verified"
MAPPED_SET = "SES does not take a set of relay.configuration_sets"
#: Its code follows.
UNKNOWN_ANSWER = "SES answered what nobody knows"
NO_ROUTE = "no route allows this sender"
#: Another version wrote it, or nobody did: only one that can read it may go on with the message.
UNREADABLE_VERDICT = "what rules decided about it cannot be read"
#: Its rule follows (awaits_function).
AWAITS_FUNCTION = "waits for a function"
# Reason of messages that an operator holds.
HELD_BY_OPERATOR = "held by the operator"
# The wake-up of a parked message that has none: it waits for something else.
FAR_FUTURE_MS = 9_999_999_999_999


def awaits_function(rule: str) -> str:
    """Reason of a message that is parked until the function of this rule is asked."""
    return f"{AWAITS_FUNCTION}: {rule}"


def awaited_rule(reason: str) -> str:
    """The inverse of awaits_function; "" for every other reason."""
    beginning, _, rule = reason.partition(": ")
    return rule if beginning == AWAITS_FUNCTION else ""
