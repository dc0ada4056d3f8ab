"""What SES told of recipients later, and how the reading of its events stands, for people and for JSON. Pure."""

from typing import Any

from spool.feedback_states import FeedbackState, states_of
from spool.figures import Figures
from spool.records import Message

_S = FeedbackState
# Longer than a queue needs to prove anything after a start.
_SILENT_SECONDS = 300.0
WORDS: dict[FeedbackState, str] = {
    _S.NONE: "",
    _S.DELAYED: "delivery is delayed",
    _S.ANSWERED: "transient bounce, or an automatic answer",
    _S.DELIVERED: "delivered",
    _S.TRANSIENT: "transient bounce",
    _S.REFUSED: "refused by SES after it was taken",
    _S.BOUNCED: "bounced",
    _S.COMPLAINED: "complained",
}


def told_later(message: Message, index: int) -> FeedbackState:
    """What SES told of a recipient after it took its mail."""
    return states_of(message.feedback, len(message.recipients))[index]


def feedback_words(message: Message, index: int) -> str:
    """The same in words; "" = nothing yet."""
    return WORDS[told_later(message, index)]


def feedback_notes(figures: Figures, *, is_configured: bool) -> tuple[str, ...]:
    """That nobody comes to the end of SES's events, whether or not mail waits for them; nothing without a source."""
    seen_at_ms = figures.feedback_seen_at_ms
    silent_seconds = (figures.taken_at_ms - seen_at_ms) / 1000
    if not is_configured or silent_seconds <= _SILENT_SECONDS:
        return ()
    since = (
        f"were not read to their end for {silent_seconds:,.0f} s" if seen_at_ms else "were not read to their end yet"
    )
    return (f"SES's events {since}: is mailsluice feedback running? Its log says why at feedback.away.",)


def feedback_figures(figures: Figures) -> dict[str, Any]:
    """The object of /healthz; null = never."""

    def age_seconds(at_ms: int) -> float | None:
        return max(0.0, (figures.taken_at_ms - at_ms) / 1000) if at_ms else None

    return {
        "read_to_the_end_seconds_ago": age_seconds(figures.feedback_seen_at_ms),
        "last_applied_seconds_ago": age_seconds(figures.feedback_applied_at_ms),
        "waiting": figures.feedback_waiting,
    }
