"""What all batches of a part of a message have in common, and the call for one of them. Pure.

The content is that of the application, or what a function made of it, without the headers that are not SES's business
(mime.py), mended as the settings say (hygiene.py), with the headers that rules add and one of ours on top. Envelope and
tags are ours.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from config.settings import Settings
from spool.records import Message
from spool.sending_quota import RouteLimits, RouteView, Seat
from spool.ses_headers import MAX_TAGS
from spool.states import RecipientState
from spool.verdicts import Part
from worker.relay.added_headers import header_lines
from worker.relay.batches import MAX_RECIPIENTS_PER_CALL, Batch, Condemned, next_batch, rewrites_headers
from worker.relay.choice import has_turn_at, seat_of
from worker.relay.fence import is_allowed, redirected
from worker.relay.hygiene import alias_of, cleaned
from worker.relay.mime import header_end, without_private_headers
from worker.relay.outcomes import MAX_REASON_CHARACTERS, Outcome, Unavailable
from worker.relay.parts import in_message, places_of, seen_by, waiting_parts
from worker.relay.refusals import MAPPED_SET, is_about_configuration_set
from worker.relay.routes import Routes
from worker.relay.ses import SesClient
from worker.relay.wire import Call, own_header

BATCH_TAG = "sluice-batch"
#: The configuration set of a message or part: feedback may come when our record of the message is forgotten.
SET_TAG = "sluice-set"
BATCH_HEADER = "X-Sluice-Batch"


@dataclass(frozen=True, slots=True)
class Passage:
    """The way of one part of a message through one route."""

    part: Part
    seat: Seat
    ses: SesClient
    limits: RouteLimits
    #: SES's own: what relay.configuration_sets has for ours, else the route's.
    configuration_set: str
    is_mapped_set: bool
    sender: str
    #: Without private headers, with those of rules.
    content: bytes = field(repr=False)
    #: All but that of the batch.
    tags: Mapping[str, str]
    #: Waiting recipients that the fence keeps from the route.
    fenced: frozenset[int] = frozenset()
    #: Of the part's recipients in it.
    places: Mapping[int, int] = field(default_factory=dict, repr=False)


def passage_of(
    message: Message, content: bytes, settings: Settings, routes: Routes, part: Part | None = None
) -> Passage | None:
    """The passage of a part, by default the first that waits, as it is now; None when no route allows the sender.

    `content` is that of the part.
    """
    part = part or next(iter(waiting_parts(message)), Part(()))
    seat = seat_of(message, content[: header_end(content)], settings, routes.takes_mail, part)
    if seat is None:
        return None
    public, tags_in_headers = without_private_headers(content)
    ours = part.configuration_set or message.parameters.configuration_set
    mapped = settings.relay.configuration_sets.get(ours, "")
    return Passage(
        part=part,
        seat=seat,
        ses=routes.ses(seat.route),
        limits=routes.limits(seat.route),
        configuration_set=mapped or routes.settings(seat.route).ses_configuration_set,
        is_mapped_set=bool(mapped),
        sender=alias_of(message.sender, settings.relay),
        content=header_lines(part.headers) + public if part.headers else public,
        tags=_tags(ours, part.tags, _said_tags(message, tags_in_headers)),
        fenced=_fenced(message, part, settings),
        places=places_of(part) if message.verdict else {},
    )


def _said_tags(message: Message, tags_in_headers: Mapping[str, str]) -> Mapping[str, str]:
    """What the sender said when the message was accepted; a header that somebody changed later says nothing."""
    return dict(message.parameters.tags) if message.parameters.operation else tags_in_headers


def _tags(of_set: str, of_rules: Mapping[str, str], of_application: Mapping[str, str]) -> Mapping[str, str]:
    """A rule's tag stands in for one of the application. SES takes so many: ours are kept, then those of rules.

    Nobody but us says what ours are: feedback goes by them.
    """
    merged: dict[str, str] = {SET_TAG: of_set} if of_set else {}
    for tags in (of_rules, of_application):
        for name, value in tags.items():
            if name not in {BATCH_TAG, SET_TAG}:
                merged.setdefault(name, value)
    return dict(list(merged.items())[: MAX_TAGS - 1])


def _fenced(message: Message, part: Part, settings: Settings) -> frozenset[int]:
    if settings.relay.fence == "off":
        return frozenset()
    waiting = set(message.indexes(RecipientState.WAITING)).intersection(part.recipients)
    return frozenset(index for index in waiting if not is_allowed(message.recipients[index], settings.relay))


def next_step(message: Message, passage: Passage, routes: Routes) -> Batch | Condemned | None:
    """What follows for the recipients of the part that wait and may be sent to now.

    Nobody shares a batch with fenced ones.
    """
    part = passage.part
    seen = seen_by(message, part, passage.places or None)
    left_out = paused_recipients(seen, routes.paused_domains)
    at_most = routes.view(passage.seat.route).batch_limit(passage.seat.lane)
    if has_turn_at(message, passage.seat):
        at_most = min(at_most, message.turn)
    if not passage.fenced:
        return in_message(next_batch(seen, at_most, left_out), message, part)
    fenced = frozenset(place for place, index in enumerate(part.recipients) if index in passage.fenced)
    allowed = frozenset(range(len(part.recipients))) - fenced
    step = next_batch(seen, at_most, left_out | fenced) or next_batch(seen, MAX_RECIPIENTS_PER_CALL, left_out | allowed)
    return in_message(step, message, part)


def paused_recipients(message: Message, domains: AbstractSet[str]) -> frozenset[int]:
    """Recipients whose domain an operator paused."""
    if not domains:
        return frozenset()
    addresses = enumerate(message.recipients)
    return frozenset(index for index, address in addresses if address.rpartition("@")[2].lower() in domains)


def has_queue(view: RouteView, lane: str) -> bool:
    """Whether somebody waited in this lane or one before it when the gate looked last, so that a newcomer joins them.

    Those whom an operator paused keep nobody, and which of them wait the view does not tell.
    """
    for name, seen in view.lanes.items():
        if seen.messages and not seen.paused_senders:
            return True
        if name == lane:
            break
    return False


def call_for(message: Message, batch: Sequence[int], number: int, passage: Passage, settings: Settings) -> Call:
    """The call of attempt `number` for this batch; what is redirected goes to one address."""
    addresses = [message.recipients[index] for index in batch]
    content = cleaned(passage.content, addresses, settings.relay, rewrite_long=rewrites_headers(message))
    if instead := redirect_of(batch, passage, settings):
        content = redirected(content, addresses)
        addresses = [instead]
    tag = f"{message.message_id}.{number}"
    return Call(
        sender=passage.sender,
        recipients=addresses,
        content=content,
        tags={**passage.tags, BATCH_TAG: tag},
        configuration_set=passage.configuration_set,
        source_arn=message.parameters.source_arn,
        from_arn=message.parameters.from_arn,
        return_path_arn=message.parameters.return_path_arn,
        header=own_header(BATCH_HEADER, tag),
    )


def blamed(outcome: Outcome, passage: Passage) -> Outcome:
    """SES does not take the set of relay.configuration_sets: that is no trouble of the account, only the part waits."""
    if not passage.is_mapped_set or not isinstance(outcome, Unavailable):
        return outcome
    if not is_about_configuration_set(outcome.code, outcome.reason):
        return outcome
    return Unavailable(MAPPED_SET, f"{outcome.code}: {outcome.reason}"[:MAX_REASON_CHARACTERS], "rule")


def redirect_of(batch: Sequence[int], passage: Passage, settings: Settings) -> str:
    """The address that gets this batch's mail instead; "" = the recipients themselves."""
    return settings.relay.fence_redirect_to if batch[0] in passage.fenced else ""


def may_rewrite(call: Call, settings: Settings) -> bool:
    """Whether the headers of this call name more addresses than they need."""
    return cleaned(call.content, call.recipients, settings.relay, rewrite_long=True) is not call.content
