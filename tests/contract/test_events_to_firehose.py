"""Events to a delivery stream, seen in the bucket that it writes to; moto is Firehose and S3."""

import pytest

from config.errors import Refused, TryLater
from tests.contract.event_services import ACCOUNT, an_event, client, opened, point_to, running_moto

ARN = f"arn:aws:firehose:us-east-1:{ACCOUNT}:deliverystream/mail-events"


@pytest.fixture
def url(monkeypatch):
    with running_moto() as url:
        point_to(url, monkeypatch)
        yield url


def bucket_lines(url: str) -> list[bytes]:
    bucket = client("s3", url)
    names = sorted(one["Key"] for one in bucket.list_objects_v2(Bucket="kept").get("Contents", []))
    return b"".join(bucket.get_object(Bucket="kept", Key=name)["Body"].read() for name in names).splitlines()


async def test_each_event_is_a_line_in_the_stream(url, tmp_path):
    client("s3", url).create_bucket(Bucket="kept")
    client("firehose", url).create_delivery_stream(
        DeliveryStreamName="mail-events",
        ExtendedS3DestinationConfiguration={
            "RoleARN": f"arn:aws:iam::{ACCOUNT}:role/any",
            "BucketARN": "arn:aws:s3:::kept",
        },
    )
    records = [an_event(number) for number in range(501)]
    async with opened("firehose", {"DeliveryStreamARN": ARN, "IAMRoleARN": "arn:aws:iam::1:role/r"}, tmp_path) as one:
        await one.take(records)
        assert sorted(bucket_lines(url)) == sorted(records)
        with pytest.raises(Refused, match="larger than 1023 kB"):
            await one.take([an_event(1, padding="x" * 1_100_000)])


async def test_a_stream_that_is_not_there_keeps_its_events_waiting(url, tmp_path):
    async with opened("firehose", {"DeliveryStreamARN": ARN + "-gone"}, tmp_path) as one:
        with pytest.raises(TryLater, match="Firehose answered ResourceNotFoundException"):
            await one.take([an_event()])
