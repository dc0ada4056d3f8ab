"""Events to an event bus, seen in a queue that a rule sends them to; moto is EventBridge and SQS."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import orjson
import pytest

from tests.contract.event_services import ACCOUNT, an_event, client, opened, point_to, running_moto


class PathIntoEvent:
    """What moto needs of jsonpath-ng, which is not installed: `$.name` and `$`."""

    def __init__(self, path: str) -> None:
        self.names = path.removeprefix("$").strip(".").split(".") if path != "$" else []

    def find(self, event: Any) -> list[SimpleNamespace]:
        for name in self.names:
            event = event.get(name)
        return [] if event is None else [SimpleNamespace(value=event)]


@pytest.fixture
def url(monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonpath_ng", ModuleType("jsonpath_ng"))
    monkeypatch.setitem(sys.modules, "jsonpath_ng.ext", SimpleNamespace(parse=PathIntoEvent))
    with running_moto() as url:
        point_to(url, monkeypatch)
        yield url


def a_rule(url: str, name: str, source: str, bus: str = "default") -> str:
    """Sends the events of a source to a queue of that name; the queue's URL."""
    events = client("events", url)
    queue_url: str = client("sqs", url).create_queue(QueueName=name)["QueueUrl"]
    events.put_rule(Name=name, EventBusName=bus, EventPattern=f'{{"source": ["{source}"]}}')
    queue_arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"
    events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "1", "Arn": queue_arn}])
    return queue_url


def seen(url: str, queue_url: str) -> list[dict[str, Any]]:
    queue, found = client("sqs", url), []
    while got := queue.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages"):
        found += [orjson.loads(one["Body"]) for one in got]
        for one in got:
            queue.delete_message(QueueUrl=queue_url, ReceiptHandle=one["ReceiptHandle"])
    return found


async def test_each_event_has_the_detail_type_of_ses(url, tmp_path):
    bus = client("events", url).create_event_bus(Name="mail")["EventBusArn"]
    queue_url = a_rule(url, "all", "mailsluice.ses", "mail")
    sent = [an_event(number) for number in range(11)] + [an_event(99, "Complaint")]
    async with opened("eventbridge", {"EventBusArn": bus}, tmp_path) as one:
        await one.take(sent)
    found = seen(url, queue_url)
    assert sorted(one["detail-type"] for one in found) == ["Email Complaint Received"] + ["Email Sent"] * 11
    by_id = {one["detail"]["eventId"]: one["detail"] for one in found}
    assert by_id == {orjson.loads(record)["eventId"]: orjson.loads(record) for record in sent}


async def test_another_source_may_be_named(url, tmp_path):
    queue_url = a_rule(url, "ours", "shop.mail")
    bus = f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/default"
    async with opened("eventbridge", {"EventBusArn": bus, "Source": "shop.mail"}, tmp_path) as one:
        await one.take([an_event()])
    assert len(seen(url, queue_url)) == 1
