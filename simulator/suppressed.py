"""The account's suppression list, by the four operations of SES v2; who is on it gets no mail and a Bounce tells so.

Nothing enters it by itself: the mailbox simulator's bounces and complaints do not, as with the real service.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import orjson
from aiohttp import web

from simulator import rest_wire
from simulator.addresses import flaw_of
from simulator.refusals import INVALID, MALFORMED, NOT_SUPPRESSED, Refused

PATH = "/v2/email/suppression/addresses"
REASONS = ("BOUNCE", "COMPLAINT")
MAX_ENTRIES = 100_000
MAX_PAGE = 1000
_NUMBER = re.compile(r"[0-9]{1,9}")
_INSTANT = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class Suppressed:
    """One address."""

    address: str
    reason: str
    #: Unix time
    updated_at: float

    def described(self) -> dict[str, object]:
        """As the API tells it."""
        return {"EmailAddress": self.address, "Reason": self.reason, "LastUpdateTime": self.updated_at}


class SuppressionList:
    """Addresses, compared in lower case; `unix_clock` dates them."""

    def __init__(self, unix_clock: Callable[[], float]) -> None:
        self._unix_clock = unix_clock
        self._entries: dict[str, Suppressed] = {}

    def __contains__(self, address: str) -> bool:
        return bool(self._entries) and address.lower() in self._entries

    def put(self, address: str, reason: str) -> None:
        """Enters or replaces; raises Refused."""
        if reason not in REASONS or flaw_of(address) is not None:
            raise Refused(INVALID, "The email address or the reason is not valid.")
        if len(self._entries) >= MAX_ENTRIES and address.lower() not in self._entries:
            raise Refused(INVALID, f"The simulator keeps {MAX_ENTRIES} suppressed addresses.")
        self._entries[address.lower()] = Suppressed(address.lower(), reason, round(self._unix_clock(), 3))

    def get(self, address: str) -> Suppressed:
        """Raises Refused."""
        if (found := self._entries.get(address.lower())) is None:
            raise Refused(NOT_SUPPRESSED, f"Email address {address[:320]} does not exist on your suppression list.")
        return found

    def delete(self, address: str) -> None:
        """Raises Refused."""
        del self._entries[self.get(address).address]

    def among(self, reasons: list[str], start: float, end: float) -> list[Suppressed]:
        """Those of the reasons (none = all) that were updated from the start to before the end."""
        return [
            one
            for one in self._entries.values()
            if start <= one.updated_at < end and (not reasons or one.reason in reasons)
        ]


def answer(request: web.Request, suppression: SuppressionList, body: bytes) -> web.Response:
    """Every request under PATH."""
    address = request.match_info.get("address")
    try:
        match request.method, address is not None:
            case "PUT", False:
                return rest_wire.good(_put(suppression, body))
            case "GET", False:
                return rest_wire.good(_page(suppression, request))
            case "GET", True:
                return rest_wire.good({"SuppressedDestination": suppression.get(str(address)).described()})
            case "DELETE", True:
                suppression.delete(str(address))
                return rest_wire.good({})
    except Refused as refused:
        return rest_wire.refused(refused)
    return rest_wire.refused(Refused(INVALID, "The simulator does not know this operation on the suppression list."))


def _put(suppression: SuppressionList, body: bytes) -> dict[str, object]:
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(MALFORMED, "The request is not valid JSON.") from error
    if not isinstance(asked, dict):
        raise Refused(MALFORMED, "The request is not a JSON object.")
    suppression.put(str(asked.get("EmailAddress")), str(asked.get("Reason")))
    return {}


def _page(suppression: SuppressionList, request: web.Request) -> dict[str, object]:
    query = request.query
    start, end = (_instant(query.get(name), default) for name, default in (("StartDate", 0.0), ("EndDate", 1e12)))
    size = min(_whole(query.get("PageSize"), MAX_PAGE) or MAX_PAGE, MAX_PAGE)
    at = _whole(query.get("NextToken"), 0)
    found = suppression.among(query.getall("Reason", []), start, end)
    answer: dict[str, object] = {"SuppressedDestinationSummaries": [one.described() for one in found[at : at + size]]}
    return {**answer, "NextToken": str(at + size)} if len(found) > at + size else answer


def _whole(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not _NUMBER.fullmatch(text):
        raise Refused(INVALID, "PageSize or NextToken is not valid.")
    return int(text)


def _instant(text: str | None, default: float) -> float:
    """SDKs write epoch seconds, or an ISO instant in a query."""
    if text is None:
        return default
    if _INSTANT.fullmatch(text):
        return float(text)
    return rest_wire.epoch_of(text)
