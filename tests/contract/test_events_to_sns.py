"""Events to a topic, seen in a queue that is subscribed to it; moto is SNS and SQS."""

import orjson
import pytest

from config.errors import Refused, TryLater
from sending_events.destinations.aws_targets import AwsTargets
from sending_events.destinations.sns import CONFIRMATION, confirm_topic
from tests.contract.event_services import ACCOUNT, an_event, client, opened, point_to, running_moto


@pytest.fixture
def url(monkeypatch):
    with running_moto() as url:
        point_to(url, monkeypatch)
        yield url


@pytest.fixture
def topic(url):
    arn = client("sns", url).create_topic(Name="mail-events")["TopicArn"]
    client("sqs", url).create_queue(QueueName="seen")
    queue_arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:seen"
    client("sns", url).subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn)
    return arn


def notifications(url: str) -> list[dict]:
    queue = client("sqs", url)
    queue_url = queue.get_queue_url(QueueName="seen")["QueueUrl"].replace("http://localhost:5000", url)
    found = []
    while got := queue.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages"):
        found += [orjson.loads(one["Body"]) for one in got]
        for one in got:
            queue.delete_message(QueueUrl=queue_url, ReceiptHandle=one["ReceiptHandle"])
    return found


async def test_each_event_is_a_notification_with_the_subject_of_ses(url, topic, tmp_path):
    records = [an_event(number) for number in range(23)]
    async with opened("sns", {"TopicARN": topic}, tmp_path) as one:
        await one.take(records)
    found = notifications(url)
    assert {one["Message"].encode() for one in found} == set(records)
    assert len(found) == 23
    assert {one["Subject"] for one in found} == {"Amazon SES Email Event Notification"}


async def test_an_event_beyond_the_limit_of_a_notification_is_refused_before_anything_is_sent(url, topic, tmp_path):
    async with opened("sns", {"TopicARN": topic}, tmp_path) as one:
        with pytest.raises(Refused, match="the most that SNS takes"):
            await one.take([an_event(1), an_event(2, padding="x" * 262_144)])
    assert notifications(url) == []


async def test_a_topic_is_tried_with_the_text_of_ses(url, topic):
    aws = AwsTargets()
    try:
        await confirm_topic(aws, topic)
        assert [one["Message"] for one in notifications(url)] == [CONFIRMATION]
        with pytest.raises(Refused, match="SNS answered NotFound"):
            await confirm_topic(aws, topic + "-gone")
    finally:
        await aws.close()


async def test_a_deleted_topic_keeps_its_events_waiting(url, topic, tmp_path):
    client("sns", url).delete_topic(TopicArn=topic)
    async with opened("sns", {"TopicARN": topic}, tmp_path) as one:
        with pytest.raises(TryLater, match="SNS answered NotFound"):
            await one.take([an_event()])
