"""Events as metrics; moto is CloudWatch."""

from datetime import UTC, datetime, timedelta

import pytest

from config.errors import Refused
from tests.contract.event_services import an_event, client, opened, point_to, running_moto

DIMENSIONS = [
    {"DimensionName": "team", "DimensionValueSource": "messageTag", "DefaultDimensionValue": "none"},
    {"DimensionName": "x-campaign", "DimensionValueSource": "emailHeader", "DefaultDimensionValue": "none"},
]


def an_event_of_now(number: int, event_type: str = "Send") -> bytes:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return an_event(number, event_type, **{event_type.lower(): {"timestamp": now}})


def sums(url: str, namespace: str, metric: str, dimensions: dict[str, str]) -> float:
    now = datetime.now(UTC)
    found = client("cloudwatch", url).get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
        Period=60,
        Statistics=["Sum"],
    )
    return sum(one["Sum"] for one in found["Datapoints"])


async def test_events_count_in_our_namespace_with_all_dimensions_together(monkeypatch, tmp_path):
    with running_moto() as url:
        point_to(url, monkeypatch)
        values = {"team": "shop", "x-campaign": "spring"}
        assert sums(url, "mailsluice", "Send", values) == 0
        records = [an_event_of_now(number) for number in range(7)] + [an_event_of_now(8, "Bounce")]
        async with opened("cloudwatch", {"DimensionConfigurations": DIMENSIONS}, tmp_path) as one:
            await one.take(records)
        assert sums(url, "mailsluice", "Send", values) == 7
        assert sums(url, "mailsluice", "Bounce", values) == 1


async def test_another_namespace_may_be_named_and_old_events_are_refused(monkeypatch, tmp_path):
    with running_moto() as url:
        point_to(url, monkeypatch)
        assert sums(url, "Shop/Mail", "Send", {"team": "shop"}) == 0
        target = {"DimensionConfigurations": DIMENSIONS[:1], "Namespace": "Shop/Mail", "Region": "us-east-1"}
        async with opened("cloudwatch", target, tmp_path) as one:
            await one.take([an_event_of_now(1)])
            with pytest.raises(Refused, match="older than two weeks"):
                await one.take([an_event(1, send={"timestamp": "2016-10-14T05:02:16.645Z"})])
        assert sums(url, "Shop/Mail", "Send", {"team": "shop"}) == 1
