"""Which route, which lane and whose turn a message is: its seat. Pure, on raw bytes and settings.

Theory of operation
1. Lane: the header X-Sluice-Lane (a name that is no lane means the default one), else the SMTP user's, else the last
   lane for a message with many recipients, else the default. The header never leaves the house (mime.py).
2. A route is allowed when the From domain and the SMTP user both fit its lists; an empty list fits everybody. That is
   static: no trouble and no quota changes who may use a route.
3. Of the allowed routes the most specific come first: one that names the user, then one that names the domain, then
   the longest *.domain, then those for all. Among equals the weights decide by a hash of the message id and the name
   of the route (weighted rendezvous): the same message makes the same choice in every process, and when a route is
   away only its own mail moves. Routes of weight 0 come after their equals.
4. The first of that order that is open (routes.py) is taken. When none is, the first is, and the mail waits there.
5. A message that has a turn keeps the route and the lane that gave it, if they are still its to use, whatever happens
   there: it may be the probe. Without a turn it chooses as a newcomer does, by the same hash.
6. What a rule says about a part of the message comes before all that: its lane, and its route if it is allowed for the
   sender, open or not. A turn is for those parts whose seat it is.
"""

import hashlib
import math
import re
from collections.abc import Callable

from config.settings import LanesSettings, RouteSettings, Settings
from spool.header_addresses import mailboxes
from spool.records import Message
from spool.sending_quota import Seat, sender_key
from spool.verdicts import Part
from worker.relay.hygiene import alias_of

IsOpen = Callable[[str], bool]

# The name of the route when none is named (config/settings.py).
_ALONE = ("default",)

_VALUE = rb"[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)"
_LANE = re.compile(rb"(?im)^x-sluice-lane" + _VALUE)
_FROM = re.compile(rb"(?im)^from" + _VALUE)
# So much of From is looked at; the first address stands there in all mail that means well.
_MAX_FROM_BYTES = 10_000
_LONGEST_DOMAIN = 253
# No more is asked of a domain than that it is one word: a literal such as [192.0.2.1] is none.
_DOMAIN = re.compile(r"[^\s@,;:<>()\[\]\"\\]+")


def seat_of(
    message: Message, content_head: bytes, settings: Settings, is_open: IsOpen, part: Part | None = None
) -> Seat | None:
    """Where the message, or a part of it, waits for its turn; None when no route allows its sender.

    `content_head` is the raw header section; `is_open` says whether mail can be given to a route now.
    """
    from_domain = _sender_domain(message, content_head, settings)
    order = routes_for(message.message_id, message.user, from_domain, settings)
    if not order:
        return None
    wanted = part.route if part and part.route in order else ""
    lane = part.lane if part and part.lane in settings.lanes.shares else lane_of(message, content_head, settings.lanes)
    route, _, turn_lane = message.turn_at.partition(":") if message.turn > 0 else ("", "", "")
    has_turn = route in (order if not wanted else (wanted,)) and turn_lane in settings.lanes.shares
    if has_turn and (message.verdict is None or turn_lane == lane):
        lane = turn_lane
    else:
        route = wanted or next((name for name in order if is_open(name)), order[0])
    sender = fairness_key(message)
    return Seat(route, lane, sender, weight_of(sender, settings.lanes), from_domain, is_fixed=bool(wanted))


def has_turn_at(message: Message, seat: Seat) -> bool:
    """Whether the message has a turn there."""
    return message.turn > 0 and message.turn_at in {"", f"{seat.route}:{seat.lane}"}


def has_other_route(message_id: str, seat: Seat, settings: Settings, is_open: IsOpen) -> bool:
    """Whether a message that waits in a lane could go by another route that is open.

    All that is known here is the seat. Its sender stands for the user: for mail without a user that is an address,
    which a route for certain users does not name.
    """
    if seat.is_fixed:
        return False
    order = routes_for(message_id, seat.sender, seat.from_domain, settings)
    return any(name != seat.route and is_open(name) for name in order)


# -- routes


def routes_for(message_id: str, user: str, from_domain: str, settings: Settings) -> tuple[str, ...]:
    """The allowed routes, the best first."""
    if not settings.routes:
        return _ALONE
    ranked = []
    for name, route in settings.routes.items():
        fit = _fit(route, user, from_domain)
        if fit is not None:
            ranked.append((fit, route.weight > 0, _drawn(message_id, name, route.weight), name))
    return tuple(name for *_, name in sorted(ranked, reverse=True))


def _fit(route: RouteSettings, user: str, from_domain: str) -> tuple[bool, int] | None:
    """How specific the route is for this sender, comparable; None when it is not allowed."""
    if route.users and user not in route.users:
        return None
    by_domain = max((domain_fit(pattern, from_domain) for pattern in route.from_domains), default=0)
    if route.from_domains and not by_domain:
        return None
    return bool(route.users), by_domain


def domain_fit(pattern: str, domain: str) -> int:
    """0 = no; *.domain (its subdomains only) counts by its length, the domain itself more than any of those."""
    pattern = plain_domain(pattern)
    if pattern.startswith("*."):
        return len(pattern) if domain.endswith(pattern[1:]) and len(domain) >= len(pattern) else 0
    return 1 << 16 if domain and domain == pattern else 0


def _drawn(message_id: str, route: str, weight: float) -> float:
    """A number that is the largest of several routes' with a probability in proportion to its weight."""
    digest = hashlib.blake2b(f"{message_id} {route}".encode(), digest_size=8).digest()
    chance = (int.from_bytes(digest) + 0.5) / 2**64
    return (weight or 1.0) / -math.log(min(chance, 1 - 2**-53))


# -- lanes


def lane_of(message: Message, content_head: bytes, lanes: LanesSettings) -> str:
    """The lane that the header, the user or the number of recipients chooses."""
    if lanes.header and (wanted := lane_header(content_head)) is not None:
        return wanted if wanted in lanes.shares else lanes.default
    if message.user in lanes.by_user:
        return lanes.by_user[message.user]
    if lanes.large_recipients and len(message.recipients) > lanes.large_recipients:
        return list(lanes.shares)[-1]
    return lanes.default


def lane_header(content_head: bytes) -> str | None:
    """What X-Sluice-Lane says, in lower case; None without one. The first of several counts."""
    found = _LANE.search(content_head)
    return found[1].decode("ascii", "replace").strip().lower() if found else None


# -- senders


def fairness_key(message: Message) -> str:
    """Who takes turns: the SMTP user, else the envelope sender without its +label; "" for the null sender."""
    return message.user or sender_key(message.sender)


def weight_of(sender: str, lanes: LanesSettings) -> float:
    """The weight of this sender's turns; addresses are compared without regard to case."""
    if sender in lanes.weights:
        return lanes.weights[sender]
    return next((weight for name, weight in lanes.weights.items() if name.lower() == sender.lower()), 1.0)


def _sender_domain(message: Message, content_head: bytes, settings: Settings) -> str:
    """The domain that SES will see in From, else that of the envelope sender."""
    address = header_from_address(content_head) or message.sender
    return _domain_of(alias_of(address, settings.relay))


def header_from_domain(head: bytes) -> str:
    """The domain of the first address in From, as it is compared; "" without one."""
    return _domain_of(header_from_address(head))


def header_from_address(head: bytes) -> str:
    """The first address in From, as it is written; "" without one. Names and comments may say what they like."""
    found = _FROM.search(head)
    boxes = mailboxes(found[1][:_MAX_FROM_BYTES]) if found else []
    return next((box.address.decode("utf-8", "replace") for box in boxes if box.address), "")


def _domain_of(address: str) -> str:
    domain = address.rpartition("@")[2].strip()
    return plain_domain(domain) if _DOMAIN.fullmatch(domain) else ""


def plain_domain(domain: str) -> str:
    """For comparing: lower case, no final dot, international names as A-labels where that is possible."""
    domain = domain.strip().rstrip(".").lower()
    if domain.isascii() or len(domain) > _LONGEST_DOMAIN:  # the codec takes microseconds for each character
        return domain
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError:
        return domain
