"""The simulator's queue through the unmodified SQS client: events of accepted calls, and a queue's own rules."""

import contextlib
import hashlib
import http.client
import socket
import threading
import time
from urllib.parse import urlsplit

import orjson
import pytest
from botocore.exceptions import ClientError
from simulated_ses import simulated_ses

from config.settings import Settings
from mailsluice.upstream import simulator_queue_url

RAW = b"From: Ann <ann@example.com>\r\nTo: bob@example.com\r\nSubject: hi\r\n\r\nbody\r\n"
ALL_NUMBERS = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]


@pytest.fixture(scope="module")
def running():
    with simulated_ses() as ses:
        yield ses


@pytest.fixture
def sqs(running):
    return running.client("sqs")


@pytest.fixture
def queue(sqs, request):
    """A queue of the test's own."""
    return sqs.create_queue(QueueName=f"q-{hashlib.md5(request.node.name.encode()).hexdigest()}")["QueueUrl"]


def send(ses, to="bob@example.com", **parameters):
    client = ses.client("ses")
    return client.send_raw_email(RawMessage={"Data": RAW}, Destinations=[to], **parameters)["MessageId"]


def refused(code, call, **parameters):
    with pytest.raises(ClientError) as error:
        call(**parameters)
    assert error.value.response["Error"]["Code"] == code


def test_the_events_of_a_call_come_as_notifications_of_a_topic():
    with simulated_ses() as ses:
        sqs = ses.client("sqs")
        url = sqs.get_queue_url(QueueName="ses-events")["QueueUrl"]
        assert url == f"{ses.url}/sqs/123456789012/ses-events"
        ses_message_id = send(ses, "complaint@simulator.amazonses.com", ConfigurationSetName="any")
        found = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"], WaitTimeSeconds=5
        )["Messages"]
        envelopes = [orjson.loads(message["Body"]) for message in found]
        assert {one["TopicArn"] for one in envelopes} == {"arn:aws:sns:us-east-1:123456789012:ses-events"}
        assert {one["Subject"] for one in envelopes} == {"Amazon SES Email Event Notification"}
        events = [orjson.loads(one["Message"]) for one in envelopes]
        assert [event["eventType"] for event in events] == ["Send", "Delivery", "Complaint"]
        assert {event["mail"]["messageId"] for event in events} == {ses_message_id}
        assert ses.events()[0] == events  # the feed tells the same
        assert abs(int(found[0]["Attributes"]["SentTimestamp"]) / 1000 - time.time()) < 60
        assert found[0]["Attributes"]["ApproximateReceiveCount"] == "1"


def test_bare_events_come_when_that_is_switched_on():
    with simulated_ses(events_raw=True) as ses:
        sqs = ses.client("sqs")
        send(ses, "bounce@simulator.amazonses.com")
        url = sqs.get_queue_url(QueueName="ses-events")["QueueUrl"]
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
        assert [orjson.loads(message["Body"])["eventType"] for message in found] == ["Send", "Bounce"]


def test_a_long_poll_waits_for_an_event_and_for_its_delay():
    with simulated_ses(events_delay_seconds=0.3) as ses:
        sqs = ses.client("sqs")
        url = sqs.get_queue_url(QueueName="ses-events")["QueueUrl"]
        begun = time.monotonic()
        timer = threading.Timer(0.2, send, (ses,))
        timer.start()
        found = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=15)["Messages"]
        timer.join()
        assert 0.5 <= time.monotonic() - begun < 15
        assert len(found) == 1
        assert sqs.receive_message(QueueUrl=url)["Messages"]  # the Delivery
        assert "Messages" not in sqs.receive_message(QueueUrl=url)


def test_a_queue_that_is_switched_off_answers_503():
    with simulated_ses(events_unavailable=True) as ses:
        sqs = ses.client("sqs")
        url = sqs.get_queue_url(QueueName="ses-events")["QueueUrl"]
        with pytest.raises(ClientError) as error:
            sqs.receive_message(QueueUrl=url)
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503


def test_what_is_received_is_hidden_until_its_time_and_gone_when_deleted(sqs, queue):
    sent = sqs.send_message(QueueUrl=queue, MessageBody="héllo")
    assert sent["MD5OfMessageBody"] == hashlib.md5("héllo".encode()).hexdigest()
    begun = time.monotonic()
    (first,) = sqs.receive_message(QueueUrl=queue, VisibilityTimeout=1)["Messages"]
    assert (first["Body"], first["MessageId"]) == ("héllo", sent["MessageId"])
    (second,) = sqs.receive_message(
        QueueUrl=queue,
        WaitTimeSeconds=15,
        VisibilityTimeout=600,
        MessageSystemAttributeNames=["ApproximateReceiveCount"],
    )["Messages"]
    assert time.monotonic() - begun >= 0.99
    assert second["Attributes"] == {"ApproximateReceiveCount": "2"}
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=first["ReceiptHandle"])  # an old receipt: done, to no effect
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=second["ReceiptHandle"], VisibilityTimeout=0)
    (third,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=third["ReceiptHandle"])
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=ALL_NUMBERS)["Attributes"]
    assert attributes == dict.fromkeys(ALL_NUMBERS, "0")
    refused(
        "AWS.SimpleQueueService.MessageNotInflight", sqs.change_message_visibility,
        QueueUrl=queue, ReceiptHandle=third["ReceiptHandle"], VisibilityTimeout=5,
    )  # fmt: skip


def test_a_batch_is_deleted_entry_by_entry(sqs, queue):
    sqs.send_message_batch(
        QueueUrl=queue, Entries=[{"Id": str(number), "MessageBody": f"message {number}"} for number in range(3)]
    )
    found = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert [message["Body"] for message in found] == ["message 0", "message 1", "message 2"]
    entries = [{"Id": "good", "ReceiptHandle": found[0]["ReceiptHandle"]}, {"Id": "bad", "ReceiptHandle": "nonsense"}]
    answer = sqs.delete_message_batch(QueueUrl=queue, Entries=entries)
    assert [one["Id"] for one in answer["Successful"]] == ["good"]
    assert [(one["Id"], one["Code"]) for one in answer["Failed"]] == [("bad", "ReceiptHandleIsInvalid")]
    assert sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"][ALL_NUMBERS[1]] == "2"
    sqs.purge_queue(QueueUrl=queue)
    assert sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"][ALL_NUMBERS[1]] == "0"


def test_attributes_are_set_and_told(sqs, queue):
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "7", "Policy": "{}"})
    told = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["VisibilityTimeout", "Policy", "QueueArn"])
    name = queue.rpartition("/")[2]
    assert told["Attributes"] == {
        "VisibilityTimeout": "7", "Policy": "{}", "QueueArn": f"arn:aws:sqs:us-east-1:123456789012:{name}",
    }  # fmt: skip
    assert queue in sqs.list_queues()["QueueUrls"]


def test_calls_that_cannot_be_are_refused_as_the_service_does(sqs, queue):
    refused("AWS.SimpleQueueService.NonExistentQueue", sqs.get_queue_url, QueueName="none")
    refused("AWS.SimpleQueueService.NonExistentQueue", sqs.receive_message, QueueUrl=queue + "x")
    refused("ReceiptHandleIsInvalid", sqs.delete_message, QueueUrl=queue, ReceiptHandle="nonsense")
    refused("InvalidParameterValue", sqs.receive_message, QueueUrl=queue, MaxNumberOfMessages=11)
    refused("InvalidAttributeName", sqs.set_queue_attributes, QueueUrl=queue, Attributes={"Colour": "red"})
    refused("InvalidAttributeValue", sqs.set_queue_attributes, QueueUrl=queue, Attributes={"VisibilityTimeout": "-1"})
    refused("AWS.SimpleQueueService.EmptyBatchRequest", sqs.delete_message_batch, QueueUrl=queue, Entries=[])
    refused("AWS.SimpleQueueService.UnsupportedOperation", sqs.list_queue_tags, QueueUrl=queue)


def test_a_reader_that_went_away_in_its_long_poll_takes_nothing_with_it(running, sqs, queue):
    asked = {"X-Amz-Target": "AmazonSQS.ReceiveMessage", "Content-Type": "application/x-amz-json-1.0"}
    with contextlib.closing(http.client.HTTPConnection(urlsplit(running.url).netloc, timeout=0.3)) as impatient:
        impatient.request("POST", "/", orjson.dumps({"QueueUrl": queue, "WaitTimeSeconds": 20}), asked)
        with pytest.raises(TimeoutError):
            impatient.sock.recv(1)
        impatient.sock.settimeout(60)
        impatient.sock.shutdown(socket.SHUT_WR)
        assert impatient.sock.recv(1) == b"", "the simulator knows that it went"
    sqs.send_message(QueueUrl=queue, MessageBody="one")
    assert len(sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"]) == 1


def test_mailsluice_up_knows_where_the_queue_is():
    with simulated_ses() as ses:
        address = urlsplit(ses.url)
        settings = Settings.model_validate({"simulator": {"host": address.hostname, "port": address.port}})
        url = ses.client("sqs").get_queue_url(QueueName="ses-events")["QueueUrl"]
        assert simulator_queue_url(settings) == url
