"""SES v2's operations on the suppression list: Put, Get, List and DeleteSuppressedDestination.

The list is the installation's own (spool/suppression.py); a key reads and changes all of it, or nothing when it is
limited to some senders. A page has at most 1,000 addresses, oldest first, and may have fewer although others follow:
NextToken alone says whether they do.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from aws_api.tools import TOOLS
from aws_api.wire.failures import OperationRefused
from aws_api.wire.services import Call, Offer
from spool.suppression import Entry, NewEntry, Suppression, address_key, is_address

_LARGEST_PAGE: Final = 1000


async def put_suppressed_destination(call: Call) -> Mapping[str, Any]:
    """Enters an address; one that is there gets this reason and instant."""
    address, reason = _address(call), call.parameters["Reason"]
    if not is_address(address):
        raise _invalid(address)
    await _list_of(call).put([NewEntry(address, reason, "api")])
    return {}


async def get_suppressed_destination(call: Call) -> Mapping[str, Any]:
    """What is known of an address."""
    address = _address(call)
    entry = await _list_of(call).get(address)
    if entry is None:
        raise _not_there(address)
    about = {"MessageId": entry.message_id, "FeedbackId": entry.feedback_id}
    attributes = {name: value for name, value in about.items() if value}
    more = {"Attributes": attributes} if attributes else {}
    return {"SuppressedDestination": {**_summary(entry), **more}}


async def list_suppressed_destinations(call: Call) -> Mapping[str, Any]:
    """A page of the list."""
    parameters = call.parameters
    limit = parameters.get("PageSize", _LARGEST_PAGE)
    if not 1 <= limit <= _LARGEST_PAGE:
        raise OperationRefused("BadRequestException", f"PageSize must be between 1 and {_LARGEST_PAGE}.")
    page = await _list_of(call).page(
        reasons=parameters.get("Reasons", ()),
        start_ms=_ms(parameters["StartDate"]) if "StartDate" in parameters else 0,
        end_ms=_ms(parameters["EndDate"]) if "EndDate" in parameters else None,
        after=_position(parameters["NextToken"]) if parameters.get("NextToken") else None,
        limit=limit,
    )
    following = {"NextToken": _token(page.after)} if page.after else {}
    return {"SuppressedDestinationSummaries": [_summary(one) for one in page.entries], **following}


async def delete_suppressed_destination(call: Call) -> Mapping[str, Any]:
    """Takes an address off the list."""
    address = _address(call)
    [was_there] = await _list_of(call).remove([address])
    if not was_there:
        raise _not_there(address)
    return {}


def _list_of(call: Call) -> Suppression:
    return Suppression(call.request.app[TOOLS].spool.redis)


def _address(call: Call) -> str:
    address: str = call.parameters["EmailAddress"]
    if not address_key(address):
        raise _invalid(address)
    return address


def _invalid(address: str) -> OperationRefused:
    return OperationRefused("BadRequestException", f"Invalid email address <{address[:320]}>.")


def _not_there(address: str) -> OperationRefused:
    return OperationRefused("NotFoundException", f"Email address {address} does not exist on your suppression list.")


def _summary(entry: Entry) -> dict[str, Any]:
    at = datetime.fromtimestamp(entry.at_ms / 1000, UTC)
    return {"EmailAddress": entry.address, "Reason": entry.reason, "LastUpdateTime": at}


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _token(after: tuple[int, str]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(after)).decode()


def _position(token: str) -> tuple[int, str]:
    try:
        at_ms, address = orjson.loads(base64.b64decode(token, altchars=b"-_", validate=True))
        return int(at_ms), str(address)
    except (binascii.Error, ValueError, TypeError) as error:
        raise OperationRefused("InvalidNextTokenException", "The NextToken is not valid.") from error


#: What of the input its model does not allow is refused so.
_BAD: Final = "BadRequestException"

SUPPRESSION_OFFERS: Final[Mapping[str, Offer]] = {
    "PutSuppressedDestination": Offer(put_suppressed_destination, refusal=_BAD, is_about_all=True),
    "GetSuppressedDestination": Offer(get_suppressed_destination, refusal=_BAD, is_about_all=True),
    "ListSuppressedDestinations": Offer(list_suppressed_destinations, refusal=_BAD, is_about_all=True),
    "DeleteSuppressedDestination": Offer(delete_suppressed_destination, refusal=_BAD, is_about_all=True),
}
