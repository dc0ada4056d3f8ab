"""POST /feedback/sns: what is believed, what is refused, and what SNS is to bring again."""

import asyncio
import base64
import datetime as dt
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs

from aws_api.feedback.certificates import Certificates, CertificatesAway
from aws_api.feedback.door import DOOR, PATH, ROUTES, SnsDoor
from aws_api.feedback.envelope import Forged, NotAnEnvelope, envelope_of, string_to_sign
from aws_api.feedback.refusals import Refusals
from aws_api.feedback.rsa_signature import NoKey, is_right, key_of
from aws_api.tools import TOOLS
from config.errors import Refused, TryLater
from spool.scripts import StoreFull, StoreUnavailable
from tests.feedback_stand import FIXTURES

TOPIC = "arn:aws:sns:us-east-1:123456789012:ses-events"
CERTIFICATE_URL = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem"
SUBSCRIBE_URL = f"https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336"
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
DIGESTS = {"1": hashes.SHA1(), "2": hashes.SHA256()}


def certificate(key: Any) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(0x1F2E3D4C5B6A)
        .not_valid_before(NOW - dt.timedelta(days=1))
        .not_valid_after(NOW + dt.timedelta(days=1))
    )
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = certificate(KEY)


def signed(values: dict[str, Any], *, version: str = "1", key: Any = KEY) -> dict[str, Any]:
    text = string_to_sign(values["Type"], values)
    signature = key.sign(text, padding.PKCS1v15(), DIGESTS[version])
    return {
        **values,
        "SignatureVersion": version,
        "Signature": base64.b64encode(signature).decode(),
        "SigningCertURL": values.get("SigningCertURL", CERTIFICATE_URL),
    }


def a_notification(**members: Any) -> dict[str, Any]:
    return {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Subject": "Amazon SES Email Event Notification",
        "Message": '{"eventType":"Delivery"}',
        "Timestamp": "2026-01-02T03:04:00.000Z",
        **members,
    }


def a_confirmation(kind: str = "SubscriptionConfirmation", **members: Any) -> dict[str, Any]:
    values = a_notification(**{"Type": kind, "Token": "2336", "SubscribeURL": SUBSCRIBE_URL, **members})
    del values["Subject"]
    return values


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""


class FakeInbox:
    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.troubles: list[TryLater] = []

    async def keep(self, event: bytes, *, after_seconds: float = 0, is_unknown: bool = False) -> None:
        if self.troubles:
            raise self.troubles.pop()
        self.kept.append(event)


@dataclass
class Report:
    is_safe: bool = True
    is_full: bool = False


class Stand:
    """The door behind a socket, with fakes for the inbox and for SNS."""

    def __init__(self) -> None:
        self.inbox, self.report = FakeInbox(), Report()
        self.asked: list[str] = []
        self.answers: dict[str, Answer | Exception] = {CERTIFICATE_URL: Answer(body=PEM), SUBSCRIBE_URL: Answer()}
        self.door = SnsDoor(self.inbox, (TOPIC,), self._get, clock=lambda: NOW)  # type: ignore[arg-type]  # a fake
        self.app = web.Application()
        self.app[DOOR] = self.door
        self.app[TOOLS] = self  # type: ignore[assignment,misc]  # all that the handler asks of it is the watch
        self.app.add_routes(ROUTES)

    @property
    def watch(self) -> "Stand":
        return self

    async def _get(self, url: str, seconds: float, most_bytes: int) -> Answer:
        self.asked.append(url)
        found = self.answers.get(url, Answer(404))
        if isinstance(found, Exception):
            raise found
        return found


class OneBody:
    """A request that is nothing but its body."""

    def __init__(self, body: bytes) -> None:
        self.headers: dict[str, str] = {}
        self.content = self
        self._body = [body]

    async def read(self, _: int) -> bytes:
        return self._body.pop() if self._body else b""


@pytest.fixture
async def stand() -> Stand:
    return Stand()


async def post(stand: Stand, values: Any, **headers: str) -> tuple[int, str]:
    body = io.BytesIO(values if isinstance(values, bytes) else json.dumps(values).encode())
    async with TestClient(TestServer(stand.app)) as client:
        answer = await client.post(PATH, data=body, headers={"Content-Type": "text/plain; charset=UTF-8", **headers})
        return answer.status, await answer.text()


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("without", ["", "Subject"])
async def test_a_signed_notification_is_kept_and_then_answered(stand: Stand, version: str, without: str):
    values = a_notification(Message='{"eventType":"Delivery","mail":"ü"}')
    values.pop(without, None)
    assert await post(stand, signed(values, version=version)) == (200, "taken\n")
    assert stand.inbox.kept == ['{"eventType":"Delivery","mail":"ü"}'.encode()]


async def test_the_certificate_is_fetched_once(stand: Stand):
    for _ in range(3):
        assert (await post(stand, signed(a_notification())))[0] == 200
    assert stand.asked == [CERTIFICATE_URL]


def _raw(values: dict[str, Any]) -> dict[str, Any]:
    return {**values, "Message": values["Message"] + " "}


@pytest.mark.parametrize(
    "forge",
    [
        lambda: _raw(signed(a_notification())),
        lambda: signed(a_notification(), key=OTHER_KEY),
        lambda: {**signed(a_notification()), "Signature": "EXAMPLEw6JRN..."},
        lambda: {**signed(a_notification()), "Signature": base64.b64encode(b"x" * 256).decode()},
        lambda: {**signed(a_notification()), "SignatureVersion": "2"},
        lambda: signed(a_notification(TopicArn="arn:aws:sns:us-east-1:123456789012:another")),
        lambda: signed(a_notification(SigningCertURL="https://sns.us-east-1.amazonaws.com.evil.example/x.pem")),
        lambda: signed(a_notification(SigningCertURL=CERTIFICATE_URL.replace("https", "http"))),
        lambda: signed(a_notification(SigningCertURL=CERTIFICATE_URL.replace("sns.us", "s3.us"))),
        lambda: signed(a_notification(SigningCertURL=CERTIFICATE_URL.replace("us-east-1", "us-east-2"))),
        lambda: signed(a_notification(SigningCertURL=CERTIFICATE_URL.replace("https://", "https://evil@"))),
        lambda: signed(a_notification(SigningCertURL=CERTIFICATE_URL.replace("f3ec", "0000"))),
        lambda: signed(a_notification(SigningCertURL=CERTIFICATE_URL + "\n")),
        lambda: signed(a_notification(Timestamp="2026-01-01T00:00:00.000Z"), key=OTHER_KEY),
        lambda: signed(a_confirmation(SubscribeURL="https://evil.example/?Action=ConfirmSubscription")),
    ],
)
async def test_what_is_forged_is_refused_for_good(stand: Stand, forge: Callable[[], dict[str, Any]]):
    assert (await post(stand, forge()))[0] == 403
    assert stand.inbox.kept == []
    assert all(url.startswith("https://sns.us-east-1.amazonaws.com/SimpleNotificationService-") for url in stand.asked)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b'{"Type":"Other"}',
        b'{"Type":[]}',
        b'{"Type":{}}',
        json.dumps(a_notification()).encode(),
        json.dumps({**signed(a_notification()), "SignatureVersion": "3"}).encode(),
        json.dumps({**signed(a_notification()), "Timestamp": "yesterday"}).encode(),
        json.dumps({**signed(a_notification()), "Message": {"eventType": "Send"}}).encode(),
        b"x" * (1024 * 1024 + 1),
    ],
)
async def test_what_is_no_message_of_sns_is_refused(stand: Stand, body: bytes):
    assert (await post(stand, body))[0] == 400
    assert stand.asked == []


async def test_raw_delivery_is_refused(stand: Stand):
    status, words = await post(stand, signed(a_notification()), **{"x-amz-sns-rawdelivery": "true"})
    assert (status, "Raw delivery" in words) == (403, True)


@pytest.mark.parametrize("trouble", [StoreUnavailable("away"), StoreFull("full")])
async def test_a_spool_that_cannot_keep_it_lets_sns_come_again(stand: Stand, trouble: TryLater):
    stand.inbox.troubles = [trouble]
    assert (await post(stand, signed(a_notification())))[0] == 503
    assert (await post(stand, signed(a_notification())))[0] == 200


async def test_a_spool_that_is_not_safe_or_full_keeps_nothing(stand: Stand):
    for report in (Report(is_safe=False), Report(is_full=True)):
        stand.report = report
        assert (await post(stand, signed(a_notification())))[0] == 503
    assert stand.inbox.kept == []


@pytest.mark.parametrize("timestamp", ["2026-01-01T00:00:00.000Z", "2026-01-02T04:04:00.000Z"])
async def test_a_clock_that_is_wrong_loses_nothing_that_sns_signed(stand: Stand, timestamp: str):
    assert stand.door.refusals.notes() == ()
    status, words = await post(stand, signed(a_notification(Timestamp=timestamp)))
    assert (status, "clock of this machine" in words) == (503, True)
    assert stand.inbox.kept == []
    (note,) = stand.door.refusals.notes()
    assert "clock of this machine" in note


@pytest.mark.parametrize("answer", [Answer(500), TryLater("away"), Refused("not allowed")])
async def test_a_certificate_that_cannot_be_fetched_now_lets_sns_come_again(stand: Stand, answer: Any):
    stand.answers[CERTIFICATE_URL] = answer
    assert (await post(stand, signed(a_notification())))[0] == 503
    stand.answers[CERTIFICATE_URL] = Answer(body=PEM)
    assert (await post(stand, signed(a_notification())))[0] == 200


async def test_a_certificate_without_a_key_of_rsa_verifies_nothing_and_loses_nothing(stand: Stand):
    for pem in (b"", b"no certificate", certificate(ec.generate_private_key(ec.SECP256R1())), PEM[:400]):
        stand = Stand()
        stand.answers[CERTIFICATE_URL] = Answer(body=pem)
        assert (await post(stand, signed(a_notification())))[0] == 503
        assert stand.inbox.kept == []


@pytest.mark.parametrize("hiccup", [Answer(body=b"<html>"), Answer(403)])
async def test_a_certificate_that_came_wrong_is_asked_for_again_soon(hiccup: Answer):
    answers, now = [hiccup, Answer(body=PEM)], [0.0]

    async def get(url: str, seconds: float, most_bytes: int) -> Answer:
        return answers.pop(0)

    certificates = Certificates(get, clock=lambda: now[0])
    for now[0] in (0.0, 1.0):  # it is remembered for a moment
        with pytest.raises(CertificatesAway):
            await certificates.key(CERTIFICATE_URL)
    now[0] = 60.0
    assert await certificates.key(CERTIFICATE_URL)


class SlowSns:
    """Answers when it is let; counts what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.goes = asyncio.Event()

    async def get(self, url: str, seconds: float, most_bytes: int) -> Answer:
        self.asked.append(url)
        await self.goes.wait()
        return Answer(body=PEM) if url == CERTIFICATE_URL else Answer(404)


async def settled(tasks: list[asyncio.Task[Any]], *, until: int) -> int:
    """How many are done, once that many are, and nothing more can be."""
    async with asyncio.timeout(60):
        while sum(task.done() for task in tasks) < until:
            await asyncio.sleep(0)
    return sum(task.done() for task in tasks)


async def test_many_forged_messages_wait_for_no_certificate_and_hold_no_memory():
    inbox, sns = FakeInbox(), SlowSns()
    door = SnsDoor(inbox, (TOPIC,), sns.get, clock=lambda: NOW)  # type: ignore[arg-type]  # a fake
    door._certificates = Certificates(sns.get, clock=lambda: 0.0)
    bodies = [
        json.dumps(signed(a_notification(SigningCertURL=CERTIFICATE_URL.replace("f3ec", f"{number:04}")))).encode()
        for number in range(100)
    ]
    tasks = [asyncio.create_task(door.take(OneBody(body), Report())) for body in bodies]  # type: ignore[arg-type]
    # One asks, twenty wait, the others may come again.
    assert await settled(tasks, until=79) == 79
    assert len(sns.asked) == 1
    assert door.held_bytes == sum(map(len, bodies[:21]))
    sns.goes.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert door.held_bytes == 0
    assert {type(end) for end in ends} == {Forged, CertificatesAway}
    assert len(sns.asked) == 10  # at once; then one a second, and none goes by here


async def test_a_certificate_that_verified_stands_behind_no_forged_one():
    sns, now = SlowSns(), [0.0]
    certificates = Certificates(sns.get, clock=lambda: now[0])
    sns.goes.set()
    await certificates.key(CERTIFICATE_URL)
    certificates.note_verified(CERTIFICATE_URL)
    sns.goes.clear()
    now[0] = 100_000.0
    forged = [asyncio.create_task(certificates.key(f"forged {number}")) for number in range(30)]
    await settled(forged, until=9)
    ours = asyncio.create_task(certificates.key(CERTIFICATE_URL))
    async with asyncio.timeout(60):
        while CERTIFICATE_URL not in sns.asked[1:]:
            await asyncio.sleep(0)
    sns.goes.set()
    assert await ours
    await asyncio.gather(*forged, return_exceptions=True)


def test_junk_fills_no_log():
    now = [0.0]
    refusals = Refusals(lambda: now[0])
    with capture_logs() as lines:
        for _ in range(1000):
            refusals.note(400, NotAnEnvelope("The body is no JSON."))
        refusals.note(403, Forged("The signature is wrong."))
        now[0] = 11.0
        refusals.note(400, NotAnEnvelope("The body is no JSON."))
    assert [(line["status"], line["times"]) for line in lines] == [(400, 1), (403, 1), (400, 1000)]


@pytest.mark.parametrize(("version", "words"), [("1", "set SignatureVersion 2"), ("2", "OpenSSL")])
def test_a_machine_without_the_algorithm_lets_sns_come_again(version: Any, words: str):
    class Hardened:
        def verify(self, *_: object) -> None:
            raise UnsupportedAlgorithm("SHA-1 is off")

    with pytest.raises(TryLater, match=words):
        is_right(Hardened(), version, b"text", "AAAA")  # type: ignore[arg-type]  # a fake


async def test_a_subscription_to_our_topic_is_confirmed(stand: Stand):
    assert (await post(stand, signed(a_confirmation())))[0] == 200
    assert stand.asked == [CERTIFICATE_URL, SUBSCRIBE_URL]
    assert stand.inbox.kept == []


@pytest.mark.parametrize("answer", [Answer(403), TryLater("away"), Refused("not allowed")])
async def test_a_confirmation_that_fails_is_tried_again(stand: Stand, answer: Any):
    stand.answers[SUBSCRIBE_URL] = answer
    assert (await post(stand, signed(a_confirmation())))[0] == 503


async def test_the_end_of_a_subscription_is_noted_and_not_undone(stand: Stand):
    assert (await post(stand, signed(a_confirmation("UnsubscribeConfirmation"))))[0] == 200
    assert stand.asked == [CERTIFICATE_URL]


@pytest.mark.parametrize("name", ["notification", "subscriptionconfirmation", "unsubscribeconfirmation"])
def test_the_documented_messages_are_understood(name: str):
    envelope = envelope_of((FIXTURES / "sns" / f"http_{name}.json").read_bytes())
    assert envelope.kind.lower() == name
    assert envelope.topic == "arn:aws:sns:us-west-2:123456789012:MyTopic"


@pytest.mark.parametrize("name", ["notification", "subscription"])
def test_the_documented_strings_to_sign_come_out(name: str):
    expected = (FIXTURES / "sns" / f"string_to_sign_{name}.txt").read_text("utf-8").rstrip("\n")
    lines = expected.split("\n")
    values = dict(zip(lines[::2], lines[1::2], strict=True))
    assert string_to_sign(values["Type"], values).decode().rstrip("\n") == expected  # type: ignore[arg-type]  # a kind


def test_keys_of_other_sizes_work_and_small_ones_do_not():
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    signature = base64.b64encode(key.sign(b"text", padding.PKCS1v15(), hashes.SHA256())).decode()
    assert is_right(key_of(certificate(key)), "2", b"text", signature)
    assert not is_right(key_of(certificate(key)), "2", b"texts", signature)
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.raises(NoKey):
        key_of(certificate(small))


def test_a_missing_member_is_named():
    values = signed(a_notification())
    del values["MessageId"]
    with pytest.raises(NotAnEnvelope, match="MessageId"):
        envelope_of(json.dumps(values).encode())
