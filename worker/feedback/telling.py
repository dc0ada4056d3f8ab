"""What one event of SES changes: states of recipients, the record for the stream, counters, figures. Pure."""

from collections import Counter
from collections.abc import Mapping

from sending_events.feedback_records import FeedbackRecord
from sending_events.records import set_of
from spool.feedback_book import Found, Telling
from spool.feedback_states import FeedbackHappening
from spool.records import Attempt, Message
from worker.feedback.ses_event import SesEvent

#: Which counter, and which figure of the account, counts a recipient.
_COUNTERS: Mapping[FeedbackHappening, str] = {
    FeedbackHappening.DELAY: "delayed",
    FeedbackHappening.ANSWER: "answered",
    FeedbackHappening.DELIVERY: "delivered",
    FeedbackHappening.TRANSIENT_BOUNCE: "transient",
    FeedbackHappening.REFUSAL: "refused",
    FeedbackHappening.BOUNCE: "bounced",
    FeedbackHappening.COMPLAINT: "complained",
}
_STATISTICS: Mapping[FeedbackHappening, str] = {
    FeedbackHappening.TRANSIENT_BOUNCE: "bounces",
    FeedbackHappening.BOUNCE: "bounces",
    FeedbackHappening.COMPLAINT: "complaints",
    FeedbackHappening.REFUSAL: "rejects",
}


def telling_of(event: SesEvent, found: Found, *, has_followers: bool) -> Telling:
    """What an event changes. Pure."""
    message, attempt = found.message, attempt_of(event, found.message)
    recipients = attempt.recipients if attempt else ()
    by_message = set_of(message, recipients) if message else ""
    record = FeedbackRecord(
        event_type=event.event_type,
        message_id=found.message_id,
        at_ms=event.at_ms,
        ses_message_id=event.ses_message_id,
        event=event.json,
        attempt=attempt.number if attempt else event.call.attempt_number if event.call else 0,
        configuration_set=event.configuration_set or by_message,
    )
    happenings = Counter(one.happening for one in event.recipients)
    statistics: Counter[str] = Counter()
    for happening, recipients_told in happenings.items():
        statistics[_STATISTICS.get(happening, "")] += recipients_told
    return Telling(
        message_id=found.message_id,
        mark=event.mark,
        record=record.encode(),
        happenings=tuple(told_indexes(event, message, attempt)),
        counts={f"feedback_recipients:{_COUNTERS[one]}": number for one, number in happenings.items()},
        statistics={name: number for name, number in statistics.items() if name},
        has_followers=has_followers,
    )


def attempt_of(event: SesEvent, message: Message | None) -> Attempt | None:
    """The call that the event is about, if the message still has it."""
    number = event.call.attempt_number if event.call else 0
    for attempt in message.attempts if message else ():
        if attempt.number == number or (not number and attempt.ses_message_id == event.ses_message_id):
            return attempt
    return None


def told_indexes(
    event: SesEvent, message: Message | None, attempt: Attempt | None
) -> list[tuple[int, FeedbackHappening]]:
    """Of which recipients of the message what is told.

    Not of those whose batch the fence sent to somebody else: what became of that says nothing about them.
    """
    if message is None or (attempt is not None and attempt.redirected_to):
        return []
    among = attempt.recipients if attempt else range(len(message.recipients))
    by_address: dict[str, list[int]] = {}
    for index in among:
        by_address.setdefault(message.recipients[index].lower(), []).append(index)
    return [(index, told.happening) for told in event.recipients for index in by_address.get(told.address.lower(), ())]
