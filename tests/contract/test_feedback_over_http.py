"""POST /feedback/sns on the whole application and a real server: on the disk before the answer, then applied once."""

import base64
import datetime as dt
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import structlog
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from aws_api.app import make_app
from aws_api.feedback.door import DOOR, SnsDoor
from aws_api.feedback.envelope import string_to_sign
from config.failpoints import Failpoints
from config.settings import Settings
from spool.feedback_inbox import FeedbackInbox
from spool.store import Spool
from tests.api_tools import tools_of
from tests.feedback_stand import FeedbackStand, a_bounce
from tests.servers import RedisServer
from tests.store.messages import open_test_spool
from worker.feedback.horizon import Horizon
from worker.feedback.inbox_reader import InboxReader
from worker.feedback.surroundings import Surroundings

TOPIC = "arn:aws:sns:eu-central-1:123456789012:ses-events"
URL = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key()).serial_number(7)
    made = made.not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    return made.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def signed(event: Any) -> dict[str, str]:
    values = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Message": json.dumps(event),
        "Timestamp": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    signature = KEY.sign(string_to_sign("Notification", values), padding.PKCS1v15(), hashes.SHA256())
    more = {"SignatureVersion": "2", "SigningCertURL": URL, "Signature": base64.b64encode(signature).decode()}
    return {**values, **more}


@pytest.fixture
async def spool(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Spool]:
    async with open_test_spool(redis_server.url, tmp_path) as spool:
        yield spool


async def test_a_notification_is_kept_by_the_door_and_applied_by_the_reader(spool: Spool, tmp_path: Path):
    async def get(url: str, _seconds: float, _most_bytes: int) -> Any:
        assert url == URL
        return SimpleNamespace(status=200, body=pem())

    stand = FeedbackStand(spool)
    message_id = await stand.sent()
    tools = tools_of(Settings(data={"dir": tmp_path}), spool.redis, spool)
    await tools.watch.check()
    app = make_app(tools)
    app[DOOR] = SnsDoor(FeedbackInbox(spool.redis), (TOPIC,), get)
    async with TestServer(app) as server, aiohttp.ClientSession() as client:
        headers = {"Content-Type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": "Notification"}
        body = json.dumps(signed(a_bounce(message_id)))
        for _ in range(2):
            async with client.post(server.make_url("/feedback/sns"), data=body, headers=headers) as answer:
                assert (answer.status, await answer.text()) == (200, "taken\n")
        forged = json.dumps({**signed(a_bounce(message_id)), "Message": "{}"})
        async with client.post(server.make_url("/feedback/sns"), data=forged, headers=headers) as answer:
            assert answer.status == 403
    assert await stand.inbox.waiting() == 1
    assert await stand.letters(message_id) == "", "the door applies nothing"

    async def clock_ms() -> int:
        return 1_700_000_000_000

    around = Surroundings(stand.tally, Failpoints(""), structlog.get_logger(), clock_ms)
    reader = InboxReader(stand.inbox, stand.applier, Horizon(spool, []), around, keep_unknown_seconds=600)
    assert await reader.read_page() == 1
    assert await stand.letters(message_id) == "b"
    assert await stand.inbox.waiting() == 0
