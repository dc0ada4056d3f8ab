"""Kind `cloudwatch`: each event counts 1 for the metric of its type, with all dimensions of the destination together.

SES publishes to the namespace AWS/SES, which its customers may not; ours is the destination's, `mailsluice` by default.
Events of one minute with the same dimensions are given as one datum with a count, which CloudWatch adds up to the
same. A part that is offered again because its answer was lost is counted twice: metrics have no ids.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from config.errors import Refused, TryLater
from sending_events.destinations.aws_targets import AwsCalls, AwsFailed
from sending_events.destinations.parts import requests

DEFAULT_NAMESPACE = "mailsluice"
#: eventType → (metric, the object of the event, which has its time). The others are called as their eventType is.
METRICS: Mapping[str, tuple[str, str]] = {
    "Send": ("Send", "send"),
    "Reject": ("Reject", "reject"),
    "Bounce": ("Bounce", "bounce"),
    "Complaint": ("Complaint", "complaint"),
    "Delivery": ("Delivery", "delivery"),
    "Open": ("Open", "open"),
    "Click": ("Click", "click"),
    "Rendering Failure": ("RenderingFailure", "failure"),
    "DeliveryDelay": ("DeliveryDelay", "deliveryDelay"),
    "Subscription": ("Subscription", "subscription"),
}
# PutMetricData takes 1,000 data and 1 MB; ten dimensions of 512 characters are 6 kB a datum.
_MOST_DATA = 1000
_MOST_BYTES = 800_000
_LONGEST_VALUE = 256
# CloudWatch takes no data of more than two weeks ago.
_OLDEST = timedelta(days=13, hours=23)
#: Codes that say that the data can never be taken.
_NEVER = frozenset({"InvalidParameterValue", "InvalidParameterCombination", "InvalidFormat", "MissingParameter"})

#: Metric, its dimensions as (name, value), its minute in epoch seconds.
Point = tuple[str, tuple[tuple[str, str], ...], int]


class CloudWatchDestination:
    """Counts events in one namespace."""

    def __init__(self, name: str, target: Mapping[str, Any], aws: AwsCalls) -> None:
        self.name = name
        self._dimensions: Sequence[Mapping[str, str]] = target.get("DimensionConfigurations", ())
        self._namespace = str(target.get("Namespace") or DEFAULT_NAMESPACE)
        self._region = str(target.get("Region") or "")
        self._aws = aws
        # The points of an unfinished part that were taken: a part offered again is the same part.
        self._taken: tuple[Sequence[bytes], int] = ((), 0)

    async def take(self, records: Sequence[bytes]) -> None:
        data = [_datum(point, count) for point, count in self._points(records).items()]
        done = self._taken[1] if self._taken[0] == list(records) else 0
        for request in requests(data[done:], most=_MOST_DATA, most_bytes=_MOST_BYTES, size_of=_size):
            await self._put(request)
            done += len(request)
            self._taken = (list(records), done)
        self._taken = ((), 0)

    async def _put(self, request: Sequence[Mapping[str, Any]]) -> None:
        try:
            answer = await self._aws.call(
                "cloudwatch", self._region, "put_metric_data", Namespace=self._namespace, MetricData=request
            )
        except AwsFailed as error:
            if error.code in _NEVER:
                raise Refused("CloudWatch does not take this event", detail=error.detail) from error
            raise
        if not (answer.get("ResponseMetadata") or {}).get("RequestId"):  # its answer has nothing else
            raise TryLater("CloudWatch did not say what became of the events")

    def _points(self, records: Sequence[bytes]) -> Counter[Point]:
        oldest = datetime.now(UTC) - _OLDEST
        points: Counter[Point] = Counter()
        for record in records:
            event = orjson.loads(record)
            try:
                at, dimensions = happened_at(event), dimensions_of(event, self._dimensions)
            except (LookupError, TypeError, AttributeError, OverflowError) as error:  # members of an odd shape
                raise Refused("the event is not in SES's form", detail=type(error).__name__) from error
            if at < oldest:
                raise Refused("the event is older than two weeks, the most that CloudWatch takes")
            minute = int(at.timestamp()) // 60 * 60
            points[metric_of(event), dimensions, minute] += 1
        return points


def metric_of(event: Mapping[str, Any]) -> str:
    """The name of the metric that an event counts for."""
    event_type = str(event["eventType"])
    return METRICS.get(event_type, (event_type, ""))[0]


def happened_at(event: Mapping[str, Any]) -> datetime:
    """When it happened: what its object says, else the time of the mail."""
    object_name = METRICS.get(str(event["eventType"]), ("", ""))[1]
    told = (event.get(object_name) or {}).get("timestamp") or event.get("mail", {}).get("timestamp", "")
    try:
        at = datetime.fromisoformat(told)
    except ValueError:
        return datetime.now(UTC)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def dimensions_of(event: Mapping[str, Any], configured: Sequence[Mapping[str, str]]) -> tuple[tuple[str, str], ...]:
    """Each dimension with the value that the event has for it, else its default."""
    return tuple(
        (
            one["DimensionName"],
            _value(event, one["DimensionName"], one["DimensionValueSource"]) or one["DefaultDimensionValue"],
        )
        for one in configured
    )


def _value(event: Mapping[str, Any], name: str, source: str) -> str:
    mail = event.get("mail", {})
    match source:
        case "messageTag":
            found = mail.get("tags", {}).get(name, ())
        case "emailHeader":
            found = [one["value"] for one in mail.get("headers", ()) if one["name"].lower() == name.lower()]
        case _:  # linkTag
            found = ((event.get("click") or {}).get("linkTags") or {}).get(name, ())
    value = str(found[0]).strip() if found else ""
    is_allowed = value.isascii() and value.isprintable() and len(value) <= _LONGEST_VALUE and value[:1] != ":"
    return value if is_allowed else ""


def _datum(point: Point, count: int) -> dict[str, Any]:
    name, dimensions, minute = point
    return {
        "MetricName": name,
        "Dimensions": [{"Name": one, "Value": value} for one, value in dimensions],
        "Timestamp": datetime.fromtimestamp(minute, UTC),
        "Unit": "Count",
        # Values and not Value: so many samples of 1, as SES itself gives them.
        "Values": [1.0],
        "Counts": [float(count)],
    }


def _size(datum: Mapping[str, Any]) -> int:
    return 200 + sum(80 + len(one["Name"]) + len(one["Value"]) for one in datum["Dimensions"])
