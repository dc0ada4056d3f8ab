"""What follows from an event of SES beside what is written down: suppression, the sender's reputation, a bounce.

Everything may be repeated: entering an address twice changes nothing, a bounce has the same id each time. The
reputation alone counts twice when a kill falls between its note and the end of the event; it comes last, so that this
is short.
"""

from typing import Literal, Protocol

from config.event_settings import SuppressionSettings
from spool.feedback_book import Found
from spool.feedback_states import FeedbackHappening
from spool.mailbox_simulator import is_simulated
from worker.feedback.apply import sender_of
from worker.feedback.bounce_mail import BounceMail
from worker.feedback.ses_event import LISTED_SUB_TYPES, OWN_LIST_SUB_TYPES, SesEvent, ToldRecipient

_H = FeedbackHappening


class Suppresses(Protocol):
    """spool/suppression.py."""

    async def enter(
        self,
        address: str,
        reason: Literal["BOUNCE", "COMPLAINT"],
        source: Literal["feedback"] = "feedback",
        *,
        at_ms: int = 0,
        message_id: str = "",
        feedback_id: str = "",
        keep_seconds: float = 0,
    ) -> bool: ...


class Notes(Protocol):
    """spool/reputation.py."""

    async def note(
        self,
        sender: str,
        *,
        user: str | None,
        delivered: int = 0,
        bounced: int = 0,
        complained: int = 0,
        at_ms: int = 0,
    ) -> object: ...


class Followers:
    """All of it, by the settings. `bounces` None = senders get none."""

    def __init__(
        self,
        suppression: Suppresses,
        reputation: Notes,
        bounces: BounceMail | None,
        settings: SuppressionSettings,
    ) -> None:
        self._suppression = suppression
        self._reputation = reputation
        self._bounces = bounces
        self._settings = settings

    def has_some(self, event: SesEvent) -> bool:
        """Whether anything may follow."""
        happenings = {told.happening for told in event.recipients}
        is_counted = bool(happenings & {_H.BOUNCE, _H.COMPLAINT})
        return is_counted or (self._bounces is not None and self._bounces.is_wanted(event))

    async def follow(self, event: SesEvent, found: Found) -> None:
        """Everything. Raises TryLater."""
        await self._suppress(event, found)
        if self._bounces is not None and found.message is not None:
            await self._bounces.make(event, found.message)
        message = found.message
        if event.sub_type in OWN_LIST_SUB_TYPES or (message is not None and message.door == "bounce"):
            return
        # One complaint is one person's, but SES names everybody at that person's provider.
        real = _real(event)
        complained = int(any(told.happening is _H.COMPLAINT for told in real))
        bounced = sum(told.happening is _H.BOUNCE for told in real)
        if bounced or complained:
            await self._reputation.note(
                sender_of(event, found),
                user=message.user if message else None,
                bounced=bounced,
                complained=complained,
                at_ms=event.at_ms,
            )

    async def _suppress(self, event: SesEvent, found: Found) -> None:
        if event.sub_type in LISTED_SUB_TYPES:
            return
        for told in _real(event):
            reason = _REASONS.get(told.happening)
            if reason is None or reason.lower() not in self._settings.reasons:
                continue
            await self._suppression.enter(
                told.address,
                reason,
                at_ms=event.at_ms,
                message_id=found.message_id,
                feedback_id=event.feedback_id,
                keep_seconds=self._settings.keep_seconds,
            )

    async def note_deliveries(self, sender: str, user: str | None, recipients: int) -> None:
        """So many recipients of this sender got their mail. Raises TryLater."""
        await self._reputation.note(sender, user=user, delivered=recipients)


def _real(event: SesEvent) -> list[ToldRecipient]:
    """Those of whom it says something: not the mailbox simulator's."""
    return [told for told in event.recipients if not is_simulated(told.address)]


_REASONS: dict[FeedbackHappening, Literal["BOUNCE", "COMPLAINT"]] = {_H.BOUNCE: "BOUNCE", _H.COMPLAINT: "COMPLAINT"}
