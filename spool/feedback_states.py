"""What SES's events say became of a recipient after SES took it: states, happenings, and one total table.

Theory of operation
1. Beside the recipient's own state, which ends with `sent`, stands what SES told of it later. One letter each in the
   field `fb` of the message's hash, in the order of its recipients; the field is there once something was told.
2. Events come late, twice and in any order. So the states have an order, and a happening only ever leads upwards:
   whatever the order of arrival, the same events lead to the same state. `none` is the lowest, `complained` the
   highest.
3. A Transient/General bounce is either the end of a delivery that failed for a while or somebody's answer out of the
   office, which SES cannot tell apart. It stands below `delivered`: with a Delivery it was an answer.
4. A bounce of any other kind after a Delivery comes from a server that took the mail and gave it back: it was not
   delivered. A Delivery that is told after it is the older news.
What a state has no use for is written down as the same state.
"""

from enum import StrEnum


class FeedbackState(StrEnum):
    """In rising order."""

    NONE = "-"
    DELAYED = "y"
    #: A bounce of Transient/General.
    ANSWERED = "a"
    DELIVERED = "d"
    #: Given up by SES, or given back, for what may pass.
    TRANSIENT = "t"
    #: SES found something in it after it took it: Reject, Rendering Failure.
    REFUSED = "x"
    BOUNCED = "b"
    COMPLAINED = "c"


class FeedbackHappening(StrEnum):
    """What an event tells of one recipient."""

    DELAY = "delayed"
    ANSWER = "transient bounce, or an automatic answer"
    DELIVERY = "delivered"
    TRANSIENT_BOUNCE = "transient bounce"
    REFUSAL = "refused after it was taken"
    BOUNCE = "bounced"
    COMPLAINT = "complained"


_S, _H = FeedbackState, FeedbackHappening

FEEDBACK_TABLE: dict[tuple[FeedbackState, FeedbackHappening], FeedbackState] = {
    (_S.NONE, _H.DELAY): _S.DELAYED,
    (_S.NONE, _H.ANSWER): _S.ANSWERED,
    (_S.NONE, _H.DELIVERY): _S.DELIVERED,
    (_S.NONE, _H.TRANSIENT_BOUNCE): _S.TRANSIENT,
    (_S.NONE, _H.REFUSAL): _S.REFUSED,
    (_S.NONE, _H.BOUNCE): _S.BOUNCED,
    (_S.NONE, _H.COMPLAINT): _S.COMPLAINED,
    (_S.DELAYED, _H.DELAY): _S.DELAYED,
    (_S.DELAYED, _H.ANSWER): _S.ANSWERED,
    (_S.DELAYED, _H.DELIVERY): _S.DELIVERED,
    (_S.DELAYED, _H.TRANSIENT_BOUNCE): _S.TRANSIENT,
    (_S.DELAYED, _H.REFUSAL): _S.REFUSED,
    (_S.DELAYED, _H.BOUNCE): _S.BOUNCED,
    (_S.DELAYED, _H.COMPLAINT): _S.COMPLAINED,
    (_S.ANSWERED, _H.DELAY): _S.ANSWERED,  # older news
    (_S.ANSWERED, _H.ANSWER): _S.ANSWERED,
    (_S.ANSWERED, _H.DELIVERY): _S.DELIVERED,  # so it was an answer
    (_S.ANSWERED, _H.TRANSIENT_BOUNCE): _S.TRANSIENT,
    (_S.ANSWERED, _H.REFUSAL): _S.REFUSED,
    (_S.ANSWERED, _H.BOUNCE): _S.BOUNCED,
    (_S.ANSWERED, _H.COMPLAINT): _S.COMPLAINED,
    (_S.DELIVERED, _H.DELAY): _S.DELIVERED,  # older news
    (_S.DELIVERED, _H.ANSWER): _S.DELIVERED,  # out of the office
    (_S.DELIVERED, _H.DELIVERY): _S.DELIVERED,
    (_S.DELIVERED, _H.TRANSIENT_BOUNCE): _S.TRANSIENT,  # taken and given back
    (_S.DELIVERED, _H.REFUSAL): _S.REFUSED,  # cannot be; the worse news is shown
    (_S.DELIVERED, _H.BOUNCE): _S.BOUNCED,  # taken and given back
    (_S.DELIVERED, _H.COMPLAINT): _S.COMPLAINED,
    (_S.TRANSIENT, _H.DELAY): _S.TRANSIENT,  # older news
    (_S.TRANSIENT, _H.ANSWER): _S.TRANSIENT,
    (_S.TRANSIENT, _H.DELIVERY): _S.TRANSIENT,  # older news: a bounce is the end of every delivery
    (_S.TRANSIENT, _H.TRANSIENT_BOUNCE): _S.TRANSIENT,
    (_S.TRANSIENT, _H.REFUSAL): _S.REFUSED,  # cannot be; the worse news is shown
    (_S.TRANSIENT, _H.BOUNCE): _S.BOUNCED,
    (_S.TRANSIENT, _H.COMPLAINT): _S.COMPLAINED,
    **{(_S.REFUSED, happening): _S.REFUSED for happening in _H},
    (_S.REFUSED, _H.BOUNCE): _S.BOUNCED,  # cannot be; the worse news is shown
    (_S.REFUSED, _H.COMPLAINT): _S.COMPLAINED,  # cannot be; the worse news is shown
    **{(_S.BOUNCED, happening): _S.BOUNCED for happening in _H},  # a Delivery is older news
    (_S.BOUNCED, _H.COMPLAINT): _S.COMPLAINED,
    **{(_S.COMPLAINED, happening): _S.COMPLAINED for happening in _H},
}


def after(state: FeedbackState, happening: FeedbackHappening) -> FeedbackState:
    """What is known of a recipient from then on; total."""
    return FEEDBACK_TABLE[state, happening]


def moves_of(happening: FeedbackHappening) -> str:
    """The table's column for a happening as the script reads it: each state and the one after it."""
    return "".join(state + after(state, happening) for state in FeedbackState)


def states_of(letters: str, count: int) -> tuple[FeedbackState, ...]:
    """The field `fb` of a message with so many recipients; letters of another version count as none."""
    known = {state.value: state for state in FeedbackState}
    found = [known.get(letter, FeedbackState.NONE) for letter in letters[:count]]
    return (*found, *(FeedbackState.NONE,) * (count - len(found)))
