"""SES's events out of moto's SQS, as SNS puts them there and bare: applied, then deleted, never lost on the way."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from moto.server import ThreadedMotoServer
from moto.sqs.models import SQSBackend

from config.failpoints import Failpoint, Failpoints
from spool.scripts import StoreUnavailable
from spool.store import Spool
from tests.feedback_stand import FeedbackStand, a_bounce, a_delivery, as_notification
from tests.servers import RedisServer
from tests.store.messages import open_test_spool
from worker.feedback.horizon import Horizon
from worker.feedback.queue_reader import QueueReader
from worker.feedback.sqs_queue import QueueAway, SqsQueue, endpoint_of, region_of, remedy_of, url_mistake
from worker.feedback.surroundings import Surroundings


def one_by_one(method: Callable[..., Any]) -> Callable[..., Any]:
    """Calls of it wait for each other."""
    lock = threading.Lock()

    def alone(*arguments: Any, **named: Any) -> Any:
        with lock:
            return method(*arguments, **named)

    return alone


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        # Side by side its threads give a message twice, and a deletion undoes another.
        for name in ("receive_message", "delete_message_batch"):
            patch.setattr(SQSBackend, name, one_by_one(getattr(SQSBackend, name)))
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


@pytest.fixture
def sqs(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    client: Any = boto3.client("sqs", endpoint_url=moto, region_name="us-east-1")
    yield client
    client.close()


@pytest.fixture
def url(sqs: Any, request: pytest.FixtureRequest) -> str:
    made = sqs.create_queue(QueueName=f"events-{abs(hash(request.node.name)) % 10**9}")
    return str(made["QueueUrl"])


@pytest.fixture
async def spool(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Spool]:
    async with open_test_spool(redis_server.url, tmp_path) as spool:
        yield spool


class Stand:
    """A reader of a queue of moto's."""

    def __init__(self, spool: Spool, url: str) -> None:
        self.feedback = FeedbackStand(spool)
        self.queue = SqsQueue(url, wait_seconds=0)
        self.now_ms = 1_700_000_000_000
        self.anew()

    def anew(self, failpoints: str = "") -> QueueReader:
        async def clock_ms() -> int:
            return self.now_ms

        around = Surroundings(self.feedback.tally, Failpoints(failpoints), structlog.get_logger(), clock_ms)
        horizon = Horizon(self.feedback.spool, [self.queue.source])
        self.reader = QueueReader(self.queue, self.feedback.applier, self.feedback.inbox, horizon, around)
        return self.reader


@pytest.fixture
async def stand(spool: Spool, url: str) -> AsyncIterator[Stand]:
    stand = Stand(spool, url)
    yield stand
    await stand.queue.close()


def left(sqs: Any, url: str) -> tuple[int, int]:
    """How many messages are in the queue, and how many of them hidden."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return int(found[names[0]]), int(found[names[1]])


def enveloped(event: Any) -> str:
    return json.dumps(
        {
            "Type": "Notification",
            "MessageId": "dc1e94d9-56c5-5e96-808d-cc7f68faa162",
            "TopicArn": "arn:aws:sns:us-east-1:123456789012:events",
            "Subject": "Amazon SES Email Event Notification",
            "Message": json.dumps(event),
        }
    )


async def test_events_are_applied_and_deleted_bare_and_in_their_envelope(stand: Stand, sqs: Any, url: str):
    message_id = await stand.feedback.sent(recipients=3)
    bodies = [
        enveloped(a_delivery(message_id)),
        json.dumps(as_notification(a_delivery(message_id, "user1@example.net"))),
        enveloped(a_bounce(message_id, "user2@example.net")),
        enveloped(a_bounce(message_id, "user2@example.net")),
        "garbage",
        "Successfully validated SNS topic for Amazon SES event publishing.",
    ]
    for body in bodies:
        await asyncio.to_thread(sqs.send_message, QueueUrl=url, MessageBody=body)
    assert await stand.reader.read_page() == 6
    assert await stand.feedback.letters(message_id) == "ddb"
    assert stand.feedback.counted == {
        "feedback_events:written": 3,
        "feedback_events:repeated": 1,
        "feedback_events:garbage": 1,
        "feedback_events:foreign": 1,
    }
    assert await asyncio.to_thread(left, sqs, url) == (0, 0)


async def test_a_full_page_brings_more_at_once(stand: Stand, sqs: Any, url: str):
    message_id = await stand.feedback.sent()
    for start in range(0, 50, 10):
        entries = [
            {"Id": str(n), "MessageBody": enveloped(a_delivery(message_id, f"other{n}@example.net"))}
            for n in range(start, start + 10)
        ]
        await asyncio.to_thread(sqs.send_message_batch, QueueUrl=url, Entries=entries)
    brought = 0
    for _ in range(5):
        brought += await stand.reader.read_page()
    assert brought == 50
    assert len(await stand.feedback.records()) == 50
    assert await asyncio.to_thread(left, sqs, url) == (0, 0)


async def test_a_crash_before_the_deletion_shows_the_events_again_and_changes_nothing(stand: Stand, sqs: Any, url: str):
    message_id = await stand.feedback.sent()
    await asyncio.to_thread(sqs.send_message, QueueUrl=url, MessageBody=enveloped(a_bounce(message_id)))
    with pytest.raises(Failpoint):
        await stand.anew("feedback.before_delete=raise").read_page()
    assert await asyncio.to_thread(left, sqs, url) == (0, 1)
    await asyncio.to_thread(_show_again, sqs, url, enveloped(a_bounce(message_id)))
    assert await stand.anew().read_page() == 1
    assert len(await stand.feedback.records()) == 1
    assert stand.feedback.suppression.entered == [("user0@example.net", "BOUNCE")]
    assert await asyncio.to_thread(left, sqs, url) == (0, 0)


def _show_again(sqs: Any, url: str, body: str) -> None:
    """As if the time of hiding were over."""
    sqs.purge_queue(QueueUrl=url)
    sqs.send_message(QueueUrl=url, MessageBody=body)


async def test_a_spool_that_is_away_leaves_everything_in_the_queue(stand: Stand, sqs: Any, url: str):
    message_id = await stand.feedback.sent()
    stand.feedback.suppression.troubles = [StoreUnavailable("the spool does not answer")]
    await asyncio.to_thread(sqs.send_message, QueueUrl=url, MessageBody=enveloped(a_bounce(message_id)))
    with pytest.raises(StoreUnavailable):
        await stand.reader.read_page()
    assert await asyncio.to_thread(left, sqs, url) == (0, 1)


async def test_an_unknown_send_moves_to_the_inbox_and_stays_when_that_is_full(stand: Stand, sqs: Any, url: str):
    unknown = json.dumps(as_notification(a_delivery()))
    await asyncio.to_thread(sqs.send_message, QueueUrl=url, MessageBody=unknown)
    assert await stand.reader.read_page() == 1
    assert await stand.feedback.inbox.waiting() == 1
    assert await asyncio.to_thread(left, sqs, url) == (0, 0)
    stand.feedback.inbox._most_events = 1
    other = json.dumps(as_notification(a_bounce()))
    await asyncio.to_thread(sqs.send_message, QueueUrl=url, MessageBody=other)
    assert await stand.reader.read_page() == 1
    assert await asyncio.to_thread(left, sqs, url) == (0, 1)


async def test_reads_without_a_backlog_prove_that_everything_was_read(stand: Stand):
    await stand.reader.read_page()
    assert await stand.feedback.spool.feedback_seen_at_ms() == 0
    stand.now_ms += 31_000
    await stand.reader.read_page()
    assert await stand.feedback.spool.feedback_seen_at_ms() == stand.now_ms - 30_000


async def test_an_event_that_meets_a_bug_is_tried_again_from_the_inbox_and_holds_up_no_call_in_doubt(
    stand: Stand, sqs: Any, url: str
):
    message_id = await stand.feedback.sent()
    stand.feedback.suppression.troubles = [RuntimeError("a bug")]
    await asyncio.to_thread(sqs.send_message, QueueUrl=url, MessageBody=enveloped(a_bounce(message_id)))
    assert await stand.reader.read_page() == 1
    assert await asyncio.to_thread(left, sqs, url) == (0, 0)
    assert await stand.feedback.inbox.waiting() == 1
    assert await stand.feedback.inbox.oldest_at_ms() is None


async def test_a_page_that_failed_or_stays_begins_the_quiet_anew(stand: Stand, sqs: Any, url: str):
    message_id = await stand.feedback.sent()
    await stand.reader.read_page()
    stand.now_ms += 31_000
    await stand.reader.read_page()
    seen_at_ms = await stand.feedback.spool.feedback_seen_at_ms()
    for trouble in (1, 2):  # alone in its page, then beside one that is applied
        stand.feedback.suppression.troubles = [StoreUnavailable("the spool does not answer")]
        await asyncio.to_thread(sqs.send_message, QueueUrl=url, MessageBody=enveloped(a_bounce(message_id)))
        if trouble == 2:
            await asyncio.to_thread(sqs.send_message, QueueUrl=url, MessageBody="garbage")
        with pytest.raises(StoreUnavailable):
            await stand.reader.read_page()
        stand.now_ms += 10_000
        await stand.reader.read_page()
        assert await stand.feedback.spool.feedback_seen_at_ms() == seen_at_ms


@pytest.mark.parametrize("body", [b"<html>proxy login</html>", b""])
async def test_a_page_of_a_proxy_is_not_an_empty_queue(body: bytes):
    async def answered(_: web.BaseRequest) -> web.Response:
        return web.Response(body=body, content_type="text/html")

    async with RawTestServer(answered) as server:
        queue = SqsQueue(str(server.make_url("/123456789012/events")), "us-east-1", wait_seconds=0)
        with pytest.raises(QueueAway, match="not SQS"):
            await queue.receive()
        await queue.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://sqs.us-east-1.amazonaws.com/123456789012/events", ""),
        ("http://[::1]:2581/sqs/123456789012/ses-events", ""),
        ("arn:aws:sqs:us-east-1:123456789012:events", "the queue's URL"),
        ("https://sqs.us-east-1.amazonaws.com:99999/1/q", "no URL"),
        ("http://[::1", "no URL"),
        ("https://", "name of a host"),
        ("https://sqs.us_east_1!.amazonaws.com/1/q", "name of a host"),
        ("https://sqs.us-east-1.amazonaws.com/events", "account and the queue's name"),
    ],
)
def test_what_cannot_be_the_url_of_a_queue_is_named(url: str, words: str):
    assert words in url_mistake(url)
    assert bool(url_mistake(url)) is bool(words)


def test_errors_of_sqs_say_what_to_do():
    assert "queue_url" in remedy_of("QueueDoesNotExist")
    assert "sqs:ReceiveMessage" in remedy_of("AccessDeniedException")
    assert "clock" in remedy_of("InvalidSignatureException")
    assert remedy_of("ServiceUnavailable") == ""


async def test_a_queue_that_is_not_there_or_not_reached_is_away(moto: str):
    for url in (f"{moto}/123456789012/no-such-queue", "http://127.0.0.1:9/123456789012/queue"):
        queue = SqsQueue(url, "us-east-1", wait_seconds=0)
        with pytest.raises(QueueAway, match="does not answer"):
            await queue.receive()
        await queue.close()


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.eu-central-1.amazonaws.com/123456789012/events", "eu-central-1"),
        ("https://sqs-fips.us-gov-west-1.amazonaws.com/123456789012/events", "us-gov-west-1"),
        ("https://vpce-1a2b-xyz.sqs.us-east-1.vpce.amazonaws.com/123456789012/events", "us-east-1"),
        ("https://eu-west-1.queue.amazonaws.com/123456789012/events", "eu-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/events", "cn-north-1"),
        ("http://127.0.0.1:2581/sqs/123456789012/events", ""),
        ("http://localhost:4566/000000000000/events", ""),
    ],
)
def test_region_and_endpoint_follow_from_the_url(url: str, region: str):
    assert region_of(url) == region
    assert url.startswith(f"{endpoint_of(url)}/")
    assert endpoint_of(url).count("/") == 2
