"""Kind `eventbridge`: one event a record to an event bus, with SES's detail types.

`aws.ses` is a source that only AWS may put; rules match ours (`mailsluice.ses` unless the destination says otherwise).
Detail types: EventBridge events reference, "Amazon Simple Email Service events".
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from config.errors import Refused, TryLater
from sending_events.destinations.aws_targets import AwsCalls, region_of, results_of
from sending_events.destinations.parts import Taken, refuse_larger, requests

DEFAULT_SOURCE = "mailsluice.ses"
#: eventType → detail-type. What only we know keeps its eventType.
DETAIL_TYPES: Mapping[str, str] = {
    "Send": "Email Sent",
    "Reject": "Email Rejected",
    "Bounce": "Email Bounced",
    "Complaint": "Email Complaint Received",
    "Delivery": "Email Delivered",
    "Open": "Email Opened",
    "Click": "Email Clicked",
    "Rendering Failure": "Email Rendering Failed",
    "DeliveryDelay": "Email Delivery Delayed",
    "Subscription": "Email Subscribed",
}
# PutEvents: ten entries, 256 KiB together: detail, source, detail type, resources and 14 bytes for the time.
_MOST_RECORDS = 10
_MOST_BYTES = 256 * 1024
_LONGEST_RESOURCE = 2048
_EXTRA_BYTES = 14 + 256 + 128 + _LONGEST_RESOURCE
#: Codes of one entry that say that it can never be put.
_NEVER = frozenset({"MalformedDetail", "InvalidArgument"})


class EventBridgeDestination:
    """Puts events on one bus."""

    def __init__(self, name: str, target: Mapping[str, Any], aws: AwsCalls) -> None:
        self.name = name
        self.part_records = 10 * _MOST_RECORDS
        self._bus = str(target["EventBusArn"])
        self._source = str(target.get("Source") or DEFAULT_SOURCE)
        self._aws = aws
        self._taken = Taken()

    async def take(self, records: Sequence[bytes]) -> None:
        refuse_larger(records, _MOST_BYTES - _EXTRA_BYTES, "EventBridge")
        rest = self._taken.rest_of(records)
        for request in requests(rest, most=_MOST_RECORDS, most_bytes=_MOST_BYTES, size_of=_size):
            await self._put(request)
        self._taken.forget(records)

    async def _put(self, request: Sequence[bytes]) -> None:
        entries = [_entry(record, self._bus, self._source) for record in request]
        answer = await self._aws.call("events", region_of(self._bus), "put_events", Entries=entries)
        results = results_of(answer, "Entries", len(request), "EventBridge")
        codes = {number: one["ErrorCode"] for number, one in enumerate(results) if one.get("ErrorCode")}
        if answer.get("FailedEntryCount") and not codes:
            raise TryLater("EventBridge did not take all events and does not say which")
        self._taken.add([record for number, record in enumerate(request) if number not in codes])
        if any(code in _NEVER for code in codes.values()):
            raise Refused("EventBridge does not take this event")
        if codes:
            raise TryLater(
                f"EventBridge did not take {len(codes)} of {len(request)} events: {next(iter(codes.values()))}"
            )


def _entry(record: bytes, bus: str, source: str) -> dict[str, Any]:
    event = orjson.loads(record)
    mail = event.get("mail", {})
    identity = str(mail.get("sourceArn") or "")
    event_type = str(event["eventType"])
    entry = {
        "Source": source,
        "DetailType": DETAIL_TYPES.get(event_type, event_type),
        "Detail": record.decode(),
        "EventBusName": bus,
    }
    return entry | ({"Resources": [identity]} if 0 < len(identity) <= _LONGEST_RESOURCE else {})


def _size(record: bytes) -> int:
    return len(record) + _EXTRA_BYTES
