"""The relay's SES client against the simulator: every way to answer, and every way not to."""

import asyncio
import hashlib
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from relay_client import LARGE, RAW, SMALL, may_always, relay_client
from simulated_ses import simulated_ses

from worker.relay.outcomes import Accepted, Rejected, Throttled, Unavailable, Unknown
from worker.relay.ses import LeaseEnded
from worker.relay.wire import Call


@pytest.fixture(scope="module")
def simulator():
    with simulated_ses() as running:
        yield running


@pytest.fixture
def ses(simulator):
    simulator.json("DELETE", "/faults")
    return simulator


#: Longer than a machine may stand still.
PATIENT = {"call_timeout_seconds": 60, "connect_timeout_seconds": 60}


async def sent(ses, call=SMALL):
    """The outcome of one call, and how often the simulator accepted."""
    before = ses.json("GET", "/ledger/count")["calls"]
    async with relay_client(ses.url, **PATIENT) as client:
        outcome = await client.send(call, may_always)
    return outcome, ses.json("GET", "/ledger/count")["calls"] - before


async def sent_without_an_answer(ses, call):
    """The same of a call whose time is over as soon as the simulator has it: the clock of the loop goes ahead."""
    before = ses.json("GET", "/ledger/count")["calls"]
    loop, limit = asyncio.get_running_loop(), time.monotonic() + 60
    async with relay_client(ses.url, **PATIENT) as client:
        sending = asyncio.create_task(client.send(call, may_always))
        while not calls_seen(ses):
            assert time.monotonic() < limit, "the simulator does not get the call"
            await asyncio.sleep(0.02)
        assert not sending.done()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "time", lambda: time.monotonic() + PATIENT["call_timeout_seconds"] + 1)
            outcome = await sending
    return outcome, ses.json("GET", "/ledger/count")["calls"] - before


def calls_seen(ses):
    return ses.json("GET", "/faults")[0]["matched"]


@pytest.mark.parametrize("call", [SMALL, LARGE], ids=["v1", "v2"])
async def test_an_accepted_call_has_ses_s_id_and_the_bytes_arrive_unchanged(ses, call):
    outcome, accepted = await sent(ses, call)
    line = ses.ledger()[-1]
    assert outcome == Accepted(line["ses_message_id"])
    assert accepted == 1
    assert line["sha256"] == hashlib.sha256(call.content).hexdigest()
    assert (line["source"], line["destinations"]) == (call.sender, call.recipients)
    assert line["tags"] == dict(call.tags)


REFUSALS = {
    "throttle": (Throttled("Throttling", "Maximum sending rate exceeded."), "TooManyRequestsException"),
    "daily_quota": (Throttled("Throttling", "Daily message quota exceeded."), "TooManyRequestsException"),
    "error_500": (Unavailable, "InternalFailure"),
    "error_503": (Unavailable, "ServiceUnavailable"),
    "reject": (Rejected, "MessageRejected"),
    "paused": (Unavailable, "SendingPausedException"),
}


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("call", [SMALL, LARGE], ids=["v1", "v2"])
async def test_a_refusal_is_known_to_be_one_and_is_asked_for_once(ses, kind, call):
    ses.json("PUT", "/faults", {"kind": kind})
    outcome, accepted = await sent(ses, call)
    expected, v2_code = REFUSALS[kind]
    if isinstance(expected, Throttled):
        assert outcome.reason == expected.reason
        expected = Throttled
    assert type(outcome) is expected
    assert call is SMALL or outcome.code == v2_code
    assert (accepted, calls_seen(ses)) == (0, 1)


@pytest.mark.parametrize(
    ("kind", "accepted"),
    [
        ("hang_before", 0),
        ("hang_after", 1),
        ("close_before", 0),
        ("close_after", 1),
        ("html_200", 1),
        ("cut_answer", 1),
    ],
)
@pytest.mark.parametrize("call", [SMALL, LARGE], ids=["v1", "v2"])
async def test_a_call_without_an_answer_is_unknown_and_is_not_repeated(ses, kind, accepted, call):
    ses.json("PUT", "/faults", {"kind": kind})
    outcome, seen = await (sent_without_an_answer if kind.startswith("hang") else sent)(ses, call)
    assert type(outcome) is Unknown
    assert (seen, calls_seen(ses)) == (accepted, 1)


async def test_an_unknown_call_does_not_spoil_the_next(ses):
    ses.json("PUT", "/faults", [{"kind": "cut_answer", "count": 1}, {"kind": "close_after", "count": 1}])
    async with relay_client(ses.url, **PATIENT) as client:
        outcomes = [type(await client.send(SMALL, may_always)) for _ in range(4)]
    assert outcomes == [Unknown, Unknown, Accepted, Accepted]


async def test_many_calls_at_once_are_each_made_once(ses):
    before = ses.json("GET", "/ledger/count")["calls"]
    async with relay_client(ses.url, **PATIENT) as client:
        outcomes = await asyncio.gather(*(client.send(SMALL, may_always) for _ in range(100)))
    assert len({outcome.ses_message_id for outcome in outcomes}) == 100
    assert ses.json("GET", "/ledger/count")["calls"] - before == 100


async def test_without_the_right_to_send_nothing_is_sent(ses):
    before = ses.json("GET", "/ledger/count")["calls"]
    async with relay_client(ses.url) as client:
        with pytest.raises(LeaseEnded):
            await client.send(SMALL, lambda: False)
    assert ses.json("GET", "/ledger/count")["calls"] == before


async def test_a_batch_of_fifty_with_a_null_sender_and_a_configuration_set(ses):
    recipients = [f"r{number}+tag=x&y@example.com" for number in range(50)]
    tags = {"sluice-batch": "m.1", "campaign": "a.b@c"}
    outcome, _ = await sent(ses, Call("", recipients, RAW, tags, "the-set"))
    line = ses.ledger()[-1]
    assert isinstance(outcome, Accepted)
    assert (line["source"], line["destinations"]) == ("ann@example.com", recipients)
    assert (line["tags"], line["configuration_set"]) == (tags, "the-set")


async def test_a_malformed_address_is_rejected_by_ses_and_not_by_us(ses):
    outcome, _ = await sent(ses, Call("ann@example.com", ["x@y"] * 51, RAW, {}))
    assert outcome == Rejected("InvalidParameterValue", "Recipient count exceeds 50.", about="count")
    outcome, _ = await sent(ses, Call("\ud800@example.com", ["ü@exämple.com"], RAW, {}))
    assert isinstance(outcome, Accepted | Rejected)


async def test_all_bytes_survive(ses):
    async with relay_client(ses.url, **PATIENT) as client:

        @settings(
            max_examples=40,
            suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
            deadline=None,
        )
        @given(
            st.one_of(st.binary(max_size=3000), st.sampled_from([bytes(range(256)) * 20, b"\0" * 999, b"\r\n.\r\n"]))
        )
        def check(body):
            content = RAW + body
            outcome = loop_run(client.send(Call("a@b", ["c@d"], content, {}), may_always))
            digests[outcome.ses_message_id] = hashlib.sha256(content).hexdigest()

        digests = {}
        loop = asyncio.get_running_loop()

        def loop_run(coroutine):
            return asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)

        await asyncio.to_thread(check)
    arrived = {line["ses_message_id"]: line["sha256"] for line in ses.ledger()}
    assert len(digests) >= 10
    assert digests.items() <= arrived.items()
