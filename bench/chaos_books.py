"""The books after chaos: clients, spool and SES must agree, recipient by recipient. Pure.

Lost: a client heard 250, and the recipient is neither with SES nor in a final or waiting state. Duplicate: SES took
a recipient more than once. A duplicate is explained by a client's try that ended without an answer (it then sent
again, which no server can tell from a new message), and, where such calls are sent again unasked, by an SES call that
did; every other one breaks a promise.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.chaos_clients import Sending, number_of
from spool.records import Message
from spool.states import RecipientState
from tests.line import accounting, calls_in_doubt


@dataclass(slots=True)
class Books:
    """Figures, and everything that contradicts a promise, with the ids."""

    answered_messages: int = 0
    answered_recipients: int = 0
    tries_without_ok: int = 0
    doubtful_tries: int = 0
    spooled_messages: int = 0
    by_state: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    duplicates: int = 0
    unexplained: int = 0
    problems: list[str] = field(default_factory=list)


def balance(
    sendings: Sequence[Sending],
    messages: Sequence[Message],
    ledger: Sequence[Mapping[str, Any]],
    events: Sequence[dict[str, Any]],
    *,
    may_resend: bool = True,
) -> Books:
    """`messages` is everything in the spool, also what no client was told about."""
    books = Books(spooled_messages=len(messages))
    copies = Counter(address for entry in ledger for address in entry["destinations"])
    by_number: defaultdict[int | None, list[Message]] = defaultdict(list)
    for message in messages:
        by_number[number_of(message.recipients[0])].append(message)
    for sending in sendings:
        _count(books, sending)
        _look_for_losses(books, sending, by_number[sending.number], copies)
        _look_for_duplicates(books, sending, by_number[sending.number], copies, may_resend=may_resend)
    account = accounting(messages, set(), [dict(entry) for entry in ledger], events)
    books.by_state = account.by_state
    books.problems += account.problems
    return books


def _count(books: Books, sending: Sending) -> None:
    books.tries_without_ok += sending.tries - bool(sending.message_id)
    books.doubtful_tries += sending.doubtful_tries
    if sending.message_id:
        books.answered_messages += 1
        books.answered_recipients += len(sending.recipients)
    elif sending.refusal:
        books.problems.append(f"client message {sending.number} was refused for good: {sending.refusal}")
    else:
        books.problems.append(f"client message {sending.number} was never answered")


def _look_for_losses(books: Books, sending: Sending, messages: Sequence[Message], copies: Counter[str]) -> None:
    if not sending.message_id:
        return
    known = {message.message_id: message for message in messages}.get(sending.message_id)
    states = dict(zip(known.recipients, known.states, strict=True)) if known else {}
    for address in sending.recipients:
        state = states.get(address)
        if not copies[address] and (state is None or state is RecipientState.SENT):
            books.lost += 1
            books.problems.append(f"{sending.message_id} was answered with 250 and {address} is lost (spool: {state})")


def _look_for_duplicates(
    books: Books, sending: Sending, messages: Sequence[Message], copies: Counter[str], *, may_resend: bool
) -> None:
    if len(messages) > 1 + sending.doubtful_tries:
        ids = ", ".join(message.message_id for message in messages)
        books.problems.append(f"client message {sending.number} is {len(messages)} times in the spool: {ids}")
    # One for each time that the client may have handed it over, and one for each call without an answer.
    times = min(len(messages), 1 + sending.doubtful_tries)
    for index, address in enumerate(sending.recipients):
        lost_calls = may_resend * sum(
            calls_in_doubt([attempt for attempt in message.attempts if index in attempt.recipients])
            for message in messages
        )
        books.duplicates += max(0, copies[address] - 1)
        unexplained = max(0, copies[address] - times - lost_calls)
        books.unexplained += unexplained
        if unexplained:
            ids = ", ".join(message.message_id for message in messages)
            books.problems.append(f"{address} was sent {copies[address]} times, {unexplained} unexplained ({ids})")
