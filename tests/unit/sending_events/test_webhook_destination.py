"""The webhook: what is posted, what each answer means, and that nothing secret is told."""

import hashlib
import hmac

import orjson
import pytest
from aiohttp import web

from config.errors import Refused, TryLater
from sending_events.destinations.destination import part_records
from sending_events.destinations.outbound_http import AllowedTargets, HttpAnswer, OutboundHttp
from sending_events.destinations.signature import Secrets, signature
from sending_events.destinations.webhook import WebhookDestination
from tests.unit.sending_events.receivers import receiving

SECRET = "a secret of 24 letters.."
AT = 1_700_000_000.5
RECORDS = [b'{"eventType":"Send","eventId":"%d-0"}' % number for number in range(5)]


class Posts:
    """OutboundHttp that answers what it is told; the last answer stays."""

    def __init__(self, *answers):
        self.answers = list(answers) or [200]
        self.posted = []

    async def post(self, url, body, headers, *, time_limit_seconds=10, max_answer_bytes=4096):
        self.posted.append((body, headers))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        status, told = answer if isinstance(answer, tuple) else (answer, {})
        return HttpAnswer(status, told, b"")


def webhook(http, tmp_path, environ=None, **target):
    target = {"Url": "https://hooks.example.com/token-in-path", "Secret": SECRET} | target
    target = {name: value for name, value in target.items() if value is not None}
    return WebhookDestination("set:hook", target, Secrets(target, tmp_path, environ or {}), http, clock=lambda: AT)


def events_of(posted):
    return [[event["eventId"] for event in orjson.loads(body)] for body, _ in posted]


async def test_events_are_posted_signed_in_order(tmp_path):
    arrived = []

    async def answer(request):
        arrived.append((await request.read(), dict(request.headers), request.path))
        return web.Response(status=204)

    async with receiving(answer) as port:
        http = OutboundHttp(AllowedTargets.of(["127.0.0.1"]))
        await webhook(http, tmp_path, Url=f"http://127.0.0.1:{port}/here").take(RECORDS)
        await http.close()
    [(body, headers, path)] = arrived
    assert path == "/here"
    assert orjson.loads(body) == [orjson.loads(record) for record in RECORDS]
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Sluice-Event-Count"] == "5"
    assert headers["X-Sluice-Attempt"] == "1"
    assert headers["X-Sluice-Destination"] == "set:hook"
    expected = hmac.new(SECRET.encode(), b"1700000000." + body, hashlib.sha256).hexdigest()
    assert headers["X-Sluice-Signature"] == f"t=1700000000,v1={expected}"


async def test_lines_are_posted_when_asked_for(tmp_path):
    http = Posts()
    await webhook(http, tmp_path, Format="ndjson").take(RECORDS)
    [(body, headers)] = http.posted
    assert body.splitlines() == RECORDS
    assert body.endswith(b"\n")
    assert headers["Content-Type"] == "application/x-ndjson"


async def test_batches_have_their_size_and_their_bytes(tmp_path):
    http = Posts()
    one = webhook(http, tmp_path, BatchSize=2)
    assert part_records(one, 500) == 2
    await one.take(RECORDS)
    assert events_of(http.posted) == [["0-0", "1-0"], ["2-0", "3-0"], ["4-0"]]
    http = Posts()
    await webhook(http, tmp_path, BatchBytes=3 * (len(RECORDS[0]) + 1)).take(RECORDS)
    assert [len(events) for events in events_of(http.posted)] == [3, 2]


async def test_what_was_taken_of_a_part_is_not_posted_again(tmp_path):
    http = Posts(200, 500, 200)
    one = webhook(http, tmp_path, BatchSize=2)
    with pytest.raises(TryLater, match="HTTP 500"):
        await one.take(RECORDS)
    await one.take(RECORDS)
    assert events_of(http.posted) == [["0-0", "1-0"], ["2-0", "3-0"], ["2-0", "3-0"], ["4-0"]]
    assert [headers["X-Sluice-Attempt"] for _, headers in http.posted] == ["1", "1", "2", "1"]
    await one.take(RECORDS)  # a replay
    assert len(http.posted) == 7


@pytest.mark.parametrize("status", [413, 422])
async def test_content_that_is_refused_is_no_reason_to_wait(tmp_path, status):
    with pytest.raises(Refused, match=f"HTTP {status}"):
        await webhook(Posts(status), tmp_path).take(RECORDS)


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 405, 408, 410, 429, 500, 502, 503, 599])
async def test_everything_else_is_tried_again(tmp_path, status):
    with pytest.raises(TryLater, match=f"HTTP {status}"):
        await webhook(Posts(status), tmp_path).take(RECORDS)


@pytest.mark.parametrize(
    ("status", "told", "seconds"),
    [
        (503, {"retry-after": "120"}, 120),
        (429, {"retry-after": "Tue, 14 Nov 2023 22:14:00 GMT"}, 39.5),
        (503, {"retry-after": "Tue, 14 Nov 2000 22:14:00 GMT"}, 0),
        (503, {"retry-after": "soon"}, None),
        (503, {"retry-after": "Mon, 01 Jan 2026 00:00:00 +9999999999999999999"}, None),
        (503, {"retry-after": "Mon, 01 Jan 9999 00:00:00 -9999"}, None),
        (503, {"retry-after": "-5"}, None),
        (503, {}, None),
        (410, {}, 300),
    ],
)
async def test_the_receiver_says_when_to_come_again(tmp_path, status, told, seconds):
    with pytest.raises(TryLater) as caught:
        await webhook(Posts((status, told)), tmp_path).take(RECORDS)
    assert caught.value.after_seconds == seconds


async def test_a_url_that_may_not_be_called_blames_no_event(tmp_path):
    with pytest.raises(TryLater, match="the URL cannot be called"):
        await webhook(Posts(Refused("the URL cannot be called")), tmp_path).take(RECORDS)


async def test_secrets_come_from_a_file_or_a_variable_and_are_read_anew(tmp_path):
    http = Posts()
    one = webhook(http, tmp_path, Secret=None, SecretFile="hook.secret")
    with pytest.raises(TryLater, match="file with the webhook's secret cannot be read"):
        await one.take(RECORDS)
    (tmp_path / "hook.secret").write_text("the first secret 12345\n\nthe second secret 1234\n")
    await one.take(RECORDS)
    body, headers = http.posted[-1]
    assert headers["X-Sluice-Signature"] == signature(
        [b"the first secret 12345", b"the second secret 1234"], int(AT), body
    )
    assert headers["X-Sluice-Signature"].count("v1=") == 2
    (tmp_path / "hook.secret").write_text("short\n")
    with pytest.raises(TryLater, match="shorter than 16"):
        await one.take(RECORDS)

    one = webhook(http, tmp_path, {"HOOK": SECRET}, Secret=None, SecretEnvironment="HOOK")
    await one.take(RECORDS)
    body, headers = http.posted[-1]
    assert headers["X-Sluice-Signature"] == signature([SECRET.encode()], int(AT), body)
    with pytest.raises(TryLater, match="the variable HOOK"):
        await webhook(http, tmp_path, {"OTHER": SECRET}, Secret=None, SecretEnvironment="HOOK").take(RECORDS)


async def test_nothing_secret_is_in_a_repr_or_a_reason(tmp_path):
    one = webhook(Posts(500), tmp_path)
    with pytest.raises(TryLater) as caught:
        await one.take(RECORDS)
    told = f"{one!r} {vars(one)!r} {caught.value!r} {caught.value.reason} {caught.value.detail}"
    assert SECRET not in told
    assert "token" not in f"{one!r} {caught.value!r} {caught.value.detail}"
