"""Which recipients the next call is for, and which are refused without one. Pure: a function of states and attempts.

Theory of operation
1. What waits goes out in envelope order, in batches of at most 50.
2. SES refuses a batch as a whole, often for one address. Such an attempt is a split: its recipients wait again, and
   of those there is certainly a bad one among them as long as all that left it since were sent.
3. The smallest such set is worked on first, half by half. But where some of it look malformed the others go first:
   when they are sent, only the malformed ones remain, and these are tried alone.
4. A set of one is refused: it was refused alone, or all others of a refused batch were sent. So one bad address of
   50 costs at most six calls, and one for those that were not tried on the way; a malformed one costs one call.
5. What was not tried goes on as in 1, malformed addresses alone. After the second address that was refused alone
   batches shrink to where one is expected in each.
6. Words that may be about either: it is the message when at least five recipients, a fifth of all, were refused alone
   with the same words, some in each fifth of the envelope, nobody has ever got it and nobody may have. Then the rest is
   refused too. To get there, singles are tried as soon as one was refused and the rest was as well; far apart, as bad
   addresses like to stand together. Words that are about an address condemn nobody else, words about the content all.
7. SES's text may name the recipients that it does not want: these are refused, and the others go out.
8. "Recipient count exceeds 50." for at most 50 recipients is about a header: the same batch goes again, with its long
   headers rewritten from then on (rewrites_headers). A second time it is the message.
Nothing is remembered but states and attempts, so another worker continues at any point, and no recipient is in two
batches at once.
"""

import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from spool.records import Attempt, Message
from spool.states import RecipientState
from worker.relay.mime import header_end
from worker.relay.outcomes import MAX_REASON_CHARACTERS, Outcome, Rejected, Split, Unavailable
from worker.relay.refusals import meaning_of, named_addresses
from worker.relay.wire import Call

# SES takes at most 50 recipients a call (SendRawEmail reference, "Recipient count exceeds 50.").
MAX_RECIPIENTS_PER_CALL = 50
# So many parts of the envelope must have somebody who was refused alone, and one of so many recipients.
_PARTS = 5

# What SES takes without a doubt; it wants 7-bit ASCII with a domain.
_ORDINARY = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?)+"
)

# The headers whose addresses SES wants verified.
_AUTHORS = re.compile(rb"(?im)^(?:from|sender|return-path)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)")
_BETWEEN_ADDRESSES = re.compile(r"[\s<>,;:\"()]+")


@dataclass(frozen=True, slots=True)
class Batch:
    """Recipients of the next call, as indexes in envelope order."""

    recipients: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Condemned:
    """Recipients that are refused without another call, and the attempt that says why."""

    recipients: tuple[int, ...]
    attempt: Attempt


def next_batch(message: Message, at_most: int, left_out: AbstractSet[int] = frozenset()) -> Batch | Condemned | None:
    """What to do next for the recipients that wait; None when nobody does who is not `left_out`."""
    waiting = _without(message.indexes(RecipientState.WAITING), left_out)
    if not message.attempts:  # nearly always
        return _batch(waiting, at_most)
    suspects = _suspects(message)
    if condemned := _condemned(message, waiting, suspects):
        return condemned
    for _, suspected in suspects:
        if batch := _batch(_probe(message, _without(suspected, left_out)), at_most):
            return batch
    return _batch(_likely_good(message, waiting), min(at_most, _wise_size(message)))


def rewrites_headers(message: Message) -> bool:
    """Whether SES counted the addresses of a header of this message, so that long ones are rewritten from then on."""
    return any(_is_about_count(attempt) for attempt in message.attempts)


def judged(outcome: Outcome, call: Call, may_rewrite: Callable[[], bool]) -> Outcome:
    """The outcome of a call: what is refused for good may be worth another try for some of its recipients.

    `may_rewrite`: whether the call has long headers that were not rewritten yet.
    """
    match outcome:
        case Rejected(code, reason, "address") if len(call.recipients) > 1:
            return Split(code, reason)
        case Rejected(code, reason, "count") if may_rewrite():
            return Split(code, reason)
        case Unavailable(code, reason, "identity") if _names_recipients_only(reason, call):
            return Split(code, reason) if len(call.recipients) > 1 else Rejected(code, reason)
    return outcome


def _batch(recipients: tuple[int, ...], at_most: int) -> Batch | None:
    return Batch(recipients[: min(at_most, MAX_RECIPIENTS_PER_CALL)]) if recipients else None


def _without(recipients: tuple[int, ...], left_out: AbstractSet[int]) -> tuple[int, ...]:
    return tuple(index for index in recipients if index not in left_out) if left_out else recipients


# -- who may be the bad one


def _suspects(message: Message) -> list[tuple[Attempt, tuple[int, ...]]]:
    """Splits that certainly have a bad recipient who still waits, with those that it may be; the smallest first."""
    states = message.states
    found: list[tuple[Attempt, tuple[int, ...]]] = []
    for attempt in message.attempts:
        if attempt.outcome != "split" or _is_about_count(attempt):
            continue
        rest = tuple(index for index in attempt.recipients if states[index] is not RecipientState.SENT)
        if rest and all(states[index] is RecipientState.WAITING for index in rest):
            found.append((attempt, rest))
    return sorted(found, key=lambda one: (len(one[1]), one[0].number))


def _probe(message: Message, suspected: tuple[int, ...]) -> tuple[int, ...]:
    """The part of the suspects that is tried next; never several of them at once when they are all."""
    if _is_single_next(message):
        return _far_one(message, suspected)
    ordinary = _ordinary(message, suspected)
    if len(ordinary) < len(suspected):
        return ordinary or suspected[:1]
    return suspected[: (len(suspected) + 1) // 2]


def _likely_good(message: Message, waiting: tuple[int, ...]) -> tuple[int, ...]:
    """Once SES has refused something, malformed addresses spoil no batch: they are tried alone, at the end."""
    if all(attempt.outcome not in {"split", "rejected"} for attempt in message.attempts):
        return waiting
    ordinary = _ordinary(message, waiting) or waiting[:1]
    return _far_one(message, ordinary) if _is_single_next(message) else ordinary


def _far_one(message: Message, indexes: tuple[int, ...]) -> tuple[int, ...]:
    """The one that is farthest from all that were refused alone. It stays the same until it is answered."""
    refused = [attempt.recipients[0] for attempt in _refused_alone(message)]
    return tuple(sorted(indexes, key=lambda one: -min(abs(one - other) for other in refused))[:1])


def _ordinary(message: Message, indexes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(index for index in indexes if _ORDINARY.fullmatch(message.recipients[index]))


def _condemned(
    message: Message, waiting: tuple[int, ...], suspects: list[tuple[Attempt, tuple[int, ...]]]
) -> Condemned | None:
    if waiting and (hopeless := _hopeless(message)):
        return Condemned(waiting, hopeless)
    if suspects and len(suspects[0][1]) == 1:
        attempt, suspected = suspects[0]
        return Condemned(suspected, attempt)
    for attempt, suspected in suspects:
        if named := _named(message, attempt, suspected):
            return Condemned(named, attempt)
    return None


# -- the message as a whole


def _hopeless(message: Message) -> Attempt | None:
    """The attempt whose words are those for the whole message; None while it may be the recipients."""
    refused = [attempt for attempt in message.attempts if attempt.outcome == "rejected"]
    if not refused or RecipientState.SENT in message.states:
        return None
    last = refused[-1]
    if meaning_of(last.code, last.reason).kind in {"content", "count"}:
        return last
    if any(attempt.outcome in {None, "unknown"} for attempt in message.attempts):
        return None
    same: dict[tuple[str, str], list[Attempt]] = {}
    for attempt in _refused_alone(message):
        same.setdefault((attempt.code, attempt.reason), []).append(attempt)
    return next((alike[-1] for alike in same.values() if _is_enough(message, alike)), None)


def _is_enough(message: Message, refused: list[Attempt]) -> bool:
    """Whether so many were refused, and spread so well over the envelope, that it can not be they."""
    count = len(message.recipients)
    parts = {attempt.recipients[0] * _PARTS // count for attempt in refused}
    return len(parts) == _PARTS and len({attempt.recipients for attempt in refused}) * _PARTS >= count


def _refused_alone(message: Message) -> list[Attempt]:
    """For a reason that may be the message's own."""
    return [
        attempt
        for attempt in message.attempts
        if attempt.outcome == "rejected"
        and len(attempt.recipients) == 1
        and meaning_of(attempt.code, attempt.reason).kind != "recipient"
    ]


def _is_single_next(message: Message) -> bool:
    """Whether it looks as if it were the message.

    One was refused alone, what was left after it was refused, and nobody has got it.
    """
    if RecipientState.SENT in message.states:
        return False
    refused = _refused_alone(message)
    return bool(refused) and any(
        one.outcome in {"split", "rejected"} and one.number > refused[0].number for one in message.attempts
    )


def _wise_size(message: Message) -> int:
    """The size of a batch in which one bad address is expected, once two were refused alone."""
    refused = sum(attempt.outcome == "rejected" for attempt in message.attempts)
    if refused < 2:
        return MAX_RECIPIENTS_PER_CALL
    return max(1, (message.states.count(RecipientState.SENT) + refused) // refused)


# -- SES's words


def _is_about_count(attempt: Attempt) -> bool:
    return attempt.outcome == "split" and meaning_of(attempt.code, attempt.reason).kind == "count"


def _named(message: Message, attempt: Attempt, suspected: tuple[int, ...]) -> tuple[int, ...]:
    if meaning_of(attempt.code, attempt.reason).kind != "identity":
        return ()
    names = _names(attempt.reason)
    return tuple(index for index in suspected if message.recipients[index].lower() in names)


def _names_recipients_only(reason: str, call: Call) -> bool:
    """Whether SES names nobody but recipients of the batch: an account in the sandbox, and its sender is verified."""
    names = _names(reason)
    if not names or not names <= {address.lower() for address in call.recipients}:
        return False
    head = call.content[: header_end(call.content)]
    written = " ".join([call.sender, *(value.decode("utf-8", "replace") for value in _AUTHORS.findall(head))])
    return names.isdisjoint(_BETWEEN_ADDRESSES.split(written.lower()))


def _names(reason: str) -> frozenset[str]:
    return named_addresses(reason, is_cut=len(reason) >= MAX_REASON_CHARACTERS)
