"""An application makes a configuration set with boto3 and sends with it: its destinations are told, nobody else is.

Topic and queue are the simulator's, as beside `mailsluice up`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import Config
from botocore.exceptions import ClientError

from mailsluice.sets import run
from tests.contract.simulated_ses import simulated_ses
from tests.line import Line, wait_until
from tests.servers import free_port

pytestmark = pytest.mark.processes

WRITTEN = """
[[configuration_sets.written.EventDestinations]]
Name = "file"
Enabled = true
MatchingEventTypes = ["send", "sluice:Accepted"]
FileDestination = { Path = "written.ndjson" }
"""
MIME = b"From: app@example.com\r\nTo: ann@example.net\r\nSubject: hello\r\n\r\nHello.\r\n"


def client_of(service: str, url: str) -> Any:
    # Repeats, since a store that is silent for two seconds has an answer of its own: try again.
    config = Config(retries={"total_max_attempts": 6}, proxies={}, read_timeout=60)
    return boto3.client(service, endpoint_url=url, config=config)


class Topic:
    """An SNS topic with a queue behind it."""

    def __init__(self, url: str) -> None:
        self._sqs, sns = client_of("sqs", url), client_of("sns", url)
        self.arn = sns.create_topic(Name="events")["TopicArn"]
        self._queue = self._sqs.create_queue(QueueName="seen")["QueueUrl"]
        told = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        queue_arn = told["Attributes"]["QueueArn"]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue_arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": self.arn}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._sqs.set_queue_attributes(QueueUrl=self._queue, Attributes={"Policy": policy})
        sns.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=queue_arn, Attributes={"RawMessageDelivery": "true"})
        self._ids: set[str] = set()
        self.events: list[tuple[str, str]] = []

    def seen(self) -> list[tuple[str, str]]:
        """Type and message id of all events so far, each once: it may be told again, with the same id."""
        answer = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        for one in answer.get("Messages", []):
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=one["ReceiptHandle"])
            if one["Body"].startswith("{"):
                event = json.loads(one["Body"])
                if event["eventId"] not in self._ids:
                    self._ids.add(event["eventId"])
                    self.events.append((event["eventType"], event["mail"]["messageId"]))
        return self.events


@pytest.fixture
def simulator() -> Iterator[str]:
    with simulated_ses() as running:
        yield running.url


def test_the_events_of_a_sets_messages_go_where_the_set_says(simulator: str, tmp_path: Path, capsys) -> None:
    file = tmp_path / "mailsluice.toml"
    file.write_text(WRITTEN)
    port = free_port()
    with Line(
        SLUICE_CONFIG=str(file),
        SLUICE_API_PORT=str(port),
        SLUICE_API_TRUST_LOOPBACK="true",
        AWS_ENDPOINT_URL_SNS=simulator,
    ) as line:
        line.start("api")
        line.worker()
        topic, ses = Topic(simulator), client_of("ses", f"http://127.0.0.1:{port}")

        def send(**set_name: str) -> str:
            return ses.send_raw_email(RawMessage={"Data": MIME}, **set_name)["MessageId"]

        shape = {"Name": "topic", "MatchingEventTypes": ["send"], "SNSDestination": {"TopicARN": topic.arn}}
        ses.create_configuration_set(ConfigurationSet={"Name": "orders"})
        ses.create_configuration_set_event_destination(
            ConfigurationSetName="orders", EventDestination={**shape, "Enabled": True}
        )
        ours = [send(ConfigurationSetName="orders")]
        others = [send(ConfigurationSetName="written"), send()]
        wait_until(lambda: topic.seen() == [("Send", ours[0])], "the topic is told of the message of its set")
        path = line.folder / "written.ndjson"
        written = wait_until(
            lambda: path.exists() and len(lines := path.read_text().split("\n")) == 3 and lines[:2], "file"
        )
        told = {(event["eventType"], event["mail"]["messageId"]) for event in map(json.loads, written)}
        assert told == {("sluice:Accepted", others[0]), ("Send", others[0])}

        def update(*, is_enabled: bool) -> None:
            ses.update_configuration_set_event_destination(
                ConfigurationSetName="orders", EventDestination={**shape, "Enabled": is_enabled}
            )

        update(is_enabled=False)
        untold = send(ConfigurationSetName="orders")
        line.wait_for([untold])
        line.wait_for_events([untold])
        update(is_enabled=True)
        ours.append(send(ConfigurationSetName="orders"))
        wait_until(lambda: len(topic.seen()) >= 2, "the topic is told again")
        assert [message_id for _, message_id in topic.seen()] == ours

        assert run(line.settings, None) == 0
        shown = capsys.readouterr().out
        assert f"topic: sns {topic.arn}, enabled" in shown
        assert "written: 1 destination, in mailsluice.toml" in shown

        ses.delete_configuration_set(ConfigurationSetName="orders")
        with pytest.raises(ClientError) as refused:
            wait_until(lambda: send(ConfigurationSetName="orders") is None, "the set is unknown")
        assert refused.value.response["Error"]["Code"] == "ConfigurationSetDoesNotExist"
        everything = [*ours, *others, untold]
        line.wait_for(everything)
        line.account(everything).assert_clean()
