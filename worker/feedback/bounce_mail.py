"""A bounce for the sender about what SES told after it had taken the mail (`[feedback] bounce_mail`).

Its id follows from the event, so that the same event, told twice, makes one bounce. None for the null sender, for
bounces of ours and for mail that no person sent (RFC 3834 section 2); none about an automatic answer, and none once the
message is forgotten. The original's headers are kept for a while only (`[events] headers_seconds`); a later bounce
shows none.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from structlog.typing import FilteringBoundLogger

from spool.feedback_states import FeedbackHappening
from spool.records import Message, NewMessage
from spool.tally import Tally
from worker.bounces import Failure, compose_bounce, without_addresses
from worker.feedback.ses_event import SesEvent, ToldRecipient

_H = FeedbackHappening
_WORDS = {
    _H.BOUNCE: ("5.0.0", "it was not delivered"),
    _H.TRANSIENT_BOUNCE: ("4.0.0", "it was not delivered"),
    _H.REFUSAL: ("5.6.0", "Amazon SES refused it after it was taken"),
}


class BounceSpool(Protocol):
    """What is asked of the spool."""

    async def accept(self, message: NewMessage) -> Any: ...

    async def load_for_events(self, message_ids: Sequence[str]) -> dict[str, tuple[Message, bytes, bool]]: ...


class BounceMail:
    """Makes them. `clock_ms` is this machine's."""

    def __init__(
        self,
        spool: BounceSpool,
        *,
        reporting_host: str,
        bounce_sender: str,
        tally: Tally,
        log: FilteringBoundLogger,
        clock_ms: Callable[[], int],
    ) -> None:
        self._spool = spool
        self._reporting_host = reporting_host
        self._bounce_sender = bounce_sender
        self._tally = tally
        self._log = log
        self._clock_ms = clock_ms

    def is_wanted(self, event: SesEvent) -> bool:
        """Whether an event of this kind makes one."""
        return any(told.happening in _WORDS for told in event.recipients)

    async def make(self, event: SesEvent, message: Message) -> None:
        """The bounce, once. Raises TryLater."""
        failures = failures_of(event, message)
        if not failures or not message.sender or message.door == "bounce" or message.is_auto_submitted:
            return
        found = await self._spool.load_for_events([message.message_id])
        bounce = compose_bounce(
            message_id=bounce_id(event, message),
            original=message,
            original_content=found[message.message_id][1] if message.message_id in found else b"",
            failures=failures,
            reporting_host=self._reporting_host,
            bounce_sender=self._bounce_sender,
            now_ms=self._clock_ms(),
        )
        await self._spool.accept(bounce)
        self._tally.count("bounces_made")
        about = {"message_id": message.message_id, "bounce_id": bounce.message_id}
        self._log.info("bounce.made", recipients=len(failures), **about)


def failures_of(event: SesEvent, message: Message) -> list[Failure]:
    """Of whom the bounce tells: recipients that the sender wrote, by the addresses that it wrote."""
    return [
        _failure(message.envelope[index], told, message)
        for told in event.recipients
        if told.happening in _WORDS
        for index in range(len(message.envelope))
        if message.recipients[index].lower() == told.address.lower()
    ]


def _failure(address: str, told: ToldRecipient, message: Message) -> Failure:
    status, words = _WORDS[told.happening]
    said = without_addresses(told.words, message.recipients, message.envelope, is_cut=False)
    return Failure(address, _status(told.status) or status, f"{words}: {said}" if said else words)


def _status(text: str) -> str:
    """An enhanced status code (RFC 3463) of a failure; "" for anything else."""
    parts = text.split(".")
    is_code = len(parts) == 3 and all(one.isascii() and one.isdigit() and len(one) <= 3 for one in parts)
    return text if is_code and parts[0] in {"4", "5"} else ""


def bounce_id(event: SesEvent, message: Message) -> str:
    """The same for the same event, in the form of every id; it sorts with the mail of the time when it happened."""
    digest = hashlib.blake2b(f"{message.message_id} {event.mark.name}".encode(), digest_size=16).hexdigest()
    parts = (digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:])
    return f"{max(0, event.at_ms):016x}-{'-'.join(parts)}-000000"
