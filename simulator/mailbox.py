"""The addresses of SES's mailbox simulator, and what becomes of the recipients of a call.

`success@`, `bounce@`, `complaint@`, `ooto@` and `suppressionlist@simulator.amazonses.com`, each also with a label
(`bounce+anything@`). They count against the rate and not against the daily quota. Everybody else gets the mail.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

DOMAIN = "simulator.amazonses.com"


class Kind(Enum):
    """What SES tells of a call, each in one event for all recipients that it befell."""

    SEND = "Send"
    DELIVERY = "Delivery"
    BOUNCE = "Bounce"
    SUPPRESSED = "Suppressed"
    ON_ACCOUNT_LIST = "OnAccountSuppressionList"
    COMPLAINT = "Complaint"


#: local part without label: what befalls the recipient, in this order
FATES: Mapping[str, tuple[Kind, ...]] = {
    "success": (Kind.DELIVERY,),
    "bounce": (Kind.BOUNCE,),
    "complaint": (Kind.DELIVERY, Kind.COMPLAINT),
    "ooto": (Kind.DELIVERY,),
    "suppressionlist": (Kind.SUPPRESSED,),
}
_EVERYBODY_ELSE = (Kind.DELIVERY,)
_ON_ACCOUNT_LIST = (Kind.ON_ACCOUNT_LIST,)


@dataclass(frozen=True, slots=True)
class Happening:
    """One event of a call."""

    kind: Kind
    recipients: tuple[str, ...]


def is_simulated(address: str) -> bool:
    """Whether the mailbox simulator answers for this address."""
    return _name_of(address) in FATES


def happenings(destinations: Sequence[str], suppressed: Collection[str] = ()) -> Iterator[Happening]:
    """What SES has to tell of an accepted call, the Send first; `suppressed` are on the account's own list."""
    yield Happening(Kind.SEND, tuple(destinations))
    fates = [
        (address, _ON_ACCOUNT_LIST if address in suppressed else FATES.get(_name_of(address), _EVERYBODY_ELSE))
        for address in destinations
    ]
    for kind in (Kind.DELIVERY, Kind.BOUNCE, Kind.SUPPRESSED, Kind.ON_ACCOUNT_LIST, Kind.COMPLAINT):
        if befallen := tuple(address for address, kinds in fates if kind in kinds):
            yield Happening(kind, befallen)


def _name_of(address: str) -> str:
    """The local part without its label, or "" for an address elsewhere."""
    local, _, domain = address.rpartition("@")
    return local.partition("+")[0].lower() if domain.lower() == DOMAIN else ""
