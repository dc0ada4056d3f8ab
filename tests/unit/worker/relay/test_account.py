"""Reading SES's answer about the account, and what becomes of it."""

import asyncio
import inspect
import math

import pytest
import structlog

from config.errors import TryLater
from spool.sending_quota import Gate, RouteView
from spool.store import Spool
from tests.unit.worker.stand import AnsweringSes, stand
from worker.relay.account import NOT_KNOWN, QuotaKeeper, SendQuota, quota_of
from worker.relay.credentials import NoCredentials
from worker.relay.ses import NoAnswer, SesClient

FORBIDDEN = 403, b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"


def answer(rate="14.0", daily="50000.0", sent="7.0"):
    return (
        200,
        f"<GetSendQuotaResponse><GetSendQuotaResult><SentLast24Hours>{sent}</SentLast24Hours>"
        f"<Max24HourSend>{daily}</Max24HourSend><MaxSendRate>{rate}</MaxSendRate></GetSendQuotaResult>"
        "</GetSendQuotaResponse>".encode(),
    )


@pytest.mark.parametrize(
    ("rate", "daily", "sent", "quota"),
    [
        ("14.0", "50000.0", "7.0", SendQuota(14.0, 50_000.0, 7.0)),
        ("1", "200", "0", SendQuota(1.0, 200.0, 0.0)),
        (" 1.5E2 ", "-1.0", "-3.0", SendQuota(150.0, -1.0, 0.0)),
        ("-1", "-1", "0", SendQuota(-1.0, -1.0, 0.0)),
    ],
)
def test_the_figures_are_read_as_they_are(rate, daily, sent, quota):
    assert quota_of(*answer(rate, daily, sent)) == quota


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (*FORBIDDEN, "the worker's credentials may not call ses:GetSendQuota; allow it or set max_send_rate"),
        (200, answer(rate="NaN")[1], "BadAnswer: "),
        (200, answer(daily="inf")[1], "BadAnswer: "),
        (200, b"<html>hello</html>", "BadAnswer: "),
        (200, b"<MessageId>0100-1</MessageId>", "HTTP 200 without the account's limits"),
        (502, b"", "HTTP502: "),
        (400, b"<Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error>", "Throttling: Rate exceeded"),
    ],
)
def test_an_answer_without_figures_says_why(status, body, words):
    assert quota_of(status, body).startswith(words)


class QuotaSpool:
    """Gives the right to ask, as often as `rights` says, and remembers what was noted."""

    def __init__(self, rights=1):
        self.rights = rights
        self.noted = []
        self.errors = []
        self.away = None

    async def may_ask_quota(self, route, distance_seconds):
        if self.away:
            raise self.away
        self.rights -= 1
        return 1000 if self.rights >= 0 else None

    async def note_quota(self, route, *, max_send_rate, max_24_hour_send, sent_last_24_hours, asked_at_ms):
        self.noted.append((route, max_send_rate, max_24_hour_send, sent_last_24_hours, asked_at_ms))

    async def note_quota_error(self, route, words):
        self.errors.append((route, words))


class AskedSes(AnsweringSes):
    """Answers questions from a list."""

    def __init__(self, *answers):
        super().__init__()
        self.answers = list(answers)

    async def ask(self, action):
        assert action == "GetSendQuota"
        given = self.answers.pop(0)
        if isinstance(given, Exception):
            raise given
        if given is None:
            await asyncio.Event().wait()
        return given


@pytest.mark.parametrize(
    ("fake", "real", "name"),
    [
        (QuotaSpool, Spool, "may_ask_quota"),
        (QuotaSpool, Spool, "note_quota"),
        (QuotaSpool, Spool, "note_quota_error"),
        (AskedSes, SesClient, "ask"),
    ],
)
def test_the_fakes_have_the_signatures_of_what_they_stand_for(fake, real, name):
    assert list(inspect.signature(getattr(fake, name)).parameters) == list(
        inspect.signature(getattr(real, name)).parameters
    )


class Looking:
    """A gate whose looks bring the views of a list, the last one again and again; its clock goes on with each."""

    def __init__(self, tools, *views):
        self.tools = tools
        self.views = list(views) or [RouteView("default", fetched_at_ms=1)]
        self.looks = 0

    async def __call__(self):
        self.looks += 1
        view = self.views.pop(0) if len(self.views) > 1 else self.views[0]
        self.tools.routes.saw(Gate((), 1000, {"default": view}))

    def clock(self):
        return float(self.looks)


async def first(ses, spool, *views, seconds=3.0):
    tools = stand(ses, spool)
    looking = Looking(tools, *views)
    await QuotaKeeper(tools, first_seconds=seconds, clock=looking.clock).first(looking)
    return tools, looking


async def test_the_figures_go_into_the_spool_and_the_gate_looks_again():
    spool = QuotaSpool()
    tools, looking = await first(AskedSes(answer()), spool)
    assert spool.noted == [("default", 14.0, 50_000.0, 7.0, 1000)]
    assert looking.looks == 1
    assert tools.gate_wanted.is_set()


async def test_who_may_not_ask_waits_for_the_answer_that_another_worker_gets():
    spool = QuotaSpool(rights=0)
    unknown = RouteView("default")
    _, looking = await first(AskedSes(), spool, unknown, unknown, RouteView("default", rate=13.86, fetched_at_ms=1000))
    assert looking.looks == 3
    assert (spool.noted, spool.errors) == ([], [])


@pytest.mark.parametrize(
    "known",
    [
        RouteView("default", rate=5.0),
        RouteView("default", rate=math.inf, fetched_at_ms=1000),
        RouteView("default", quota_error="forbidden"),
    ],
)
async def test_a_cap_an_answer_without_a_limit_or_a_refusal_is_enough_to_begin(known):
    _, looking = await first(AskedSes(), QuotaSpool(rights=0), known)
    assert looking.looks == 1


async def test_an_answer_that_never_comes_is_no_licence_to_send_without_a_limit():
    spool = QuotaSpool(rights=0)
    _, looking = await first(AskedSes(), spool, RouteView("default"))
    assert looking.looks < 6
    assert spool.errors == [("default", NOT_KNOWN)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (FORBIDDEN, "the worker's credentials may not call"),
        (NoAnswer("SES cannot be reached", detail="refused"), "SES cannot be reached: refused"),
        (NoCredentials("no AWS credentials; set them"), "no AWS credentials; set them"),
        (None, "SES did not answer within 0.05 seconds"),
    ],
)
async def test_no_answer_is_noted_in_words(given, words):
    spool = QuotaSpool()
    await first(AskedSes(given), spool, seconds=0.05)
    assert spool.noted == []
    assert spool.errors[0][1].startswith(words)


async def test_a_change_is_logged_once():
    tools = stand(AskedSes(FORBIDDEN, FORBIDDEN, answer(), answer("15"), FORBIDDEN), QuotaSpool(rights=9))
    keeper, looking = QuotaKeeper(tools), Looking(tools)
    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            await keeper.first(looking)
    assert [line["event"] for line in lines] == ["quota.unknown", "quota.known", "quota.unknown"]


async def test_a_spool_that_is_away_does_not_stop_the_start():
    spool = QuotaSpool()
    spool.away = TryLater("the spool does not answer")
    await first(AskedSes(), spool)
    assert spool.noted == []
